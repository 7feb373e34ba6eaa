"""Node attestation, the agent's half of the conversation."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from finial.agent.identity import Key, NodeIdentity, make_csr
from finial.agent.translate import read_svid
from finial.core.errors import FinialError, Kind, Reason
from finial.plugin.node import NodeAttestorAgent
from finial.rpc import Channel, ClientCall, RpcError, StatusCode
from finial.runtime import files
from finial.runtime.workers import Workers
from finial.wire.gen import spire_api_server_agent_v1 as agent_pb
from finial.wire.gen import spire_api_types as types

_log = logging.getLogger("finial.agent")

JOIN_TOKEN = "join_token"  # noqa: S105 - a name
_NEW_TOKEN = "Make a new token with finial server token generate, and start the agent with it."  # noqa: S105
_NO_TOKEN = Reason(
    "agent-token-missing",
    Kind.INVALID,
    hint="Make a token with finial server token generate; give it by --join-token-file.",
)
_TOKEN_REFUSED = Reason("agent-token-refused", Kind.DENIED, hint=_NEW_TOKEN)
_REFUSED = Reason(
    "agent-attestation-refused", Kind.DENIED, hint="Look into the server's log for what it found wrong."
)
_NO_RESULT = Reason("agent-attestation-cut", Kind.UNAVAILABLE)

# A server may let a whole fleet queue for its attestation limit of one a second.
_DEADLINE = timedelta(minutes=5)
_GOODBYE_SECONDS = 1.0
_MAX_TOKEN_BYTES = 4_096

TRANSIENT = frozenset(
    {
        StatusCode.UNAVAILABLE,
        StatusCode.DEADLINE_EXCEEDED,
        StatusCode.RESOURCE_EXHAUSTED,
        StatusCode.ABORTED,
        StatusCode.CANCELLED,
        StatusCode.INTERNAL,
        StatusCode.UNKNOWN,
    }
)
"""What may go well at the next try."""

_Call = ClientCall[agent_pb.AttestAgentRequest, agent_pb.AttestAgentResponse]


class AttestationError(FinialError):
    """The node cannot be attested."""


class TokenSource:
    """Where the join token comes from; read when it is needed, since a node that has joined needs none.

    Args:
        token: Given outright; None when it is not.
        file: Holds it, `-` for standard input; None when there is no such file.
    """

    def __init__(self, token: str | None, file: Path | None) -> None:
        self._token = token
        self._file = file

    @property
    def given(self) -> bool:
        """Whether there is one to be read."""
        return self._token is not None or self._file is not None

    async def payload(self) -> bytes:
        """The token.

        Raises:
            AttestationError: There is none.
            FileError: The file cannot be read.
        """
        if self._token is None:
            if self._file is None:
                raise AttestationError(_NO_TOKEN, "there is no join token, and no identity from earlier")
            self._token = await self._read(self._file)
        token = self._token.strip()
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise AttestationError(_NO_TOKEN, "the join token is empty, or holds what no token holds")
        return token.encode()

    async def _read(self, file: Path) -> str:
        # A pipe may stay silent for ever, and the agent must be able to end all the same.
        workers = Workers("token", threads=1, most_waiting=1)
        if str(file) != "-":
            data = await workers.submit(None, lambda: files.read(file, _MAX_TOKEN_BYTES))
        elif sys.stdin is None:
            raise AttestationError(
                _NO_TOKEN, "the join token shall come from standard input, which is closed"
            )
        else:
            descriptor = sys.stdin.fileno()
            _log.info("the join token is awaited on standard input")
            data = await workers.submit(None, lambda: _first_line(descriptor))
        return data.decode("utf-8", "replace")

    async def respond(self, challenge: bytes) -> bytes:
        """Join tokens know no challenges.

        Raises:
            AttestationError: Always.
        """
        raise AttestationError(_REFUSED, "the server challenges a join token, which has no answer")


def _first_line(descriptor: int) -> bytes:
    """What comes before the first line break or the end: whoever types a token does not end the input."""
    data = b""
    while b"\n" not in data and len(data) < _MAX_TOKEN_BYTES:
        piece = os.read(descriptor, _MAX_TOKEN_BYTES)
        if not piece:
            break
        data += piece
    return data.partition(b"\n")[0]


@dataclass(frozen=True, slots=True)
class Proof:
    """How this node proves what it is.

    Args:
        type: Name of the attestor.
        attestor: Its half on this side.
    """

    type: str
    attestor: NodeAttestorAgent

    @property
    def repeatable(self) -> bool:
        """Whether there is something to show at all, now and later."""
        return not isinstance(self.attestor, TokenSource) or self.attestor.given


async def attest(channel: Channel, proof: Proof, key: Key) -> NodeIdentity:
    """Attest the node.

    Args:
        channel: To the server, showing nothing.
        proof: What the node has to show.
        key: The agent's, durable already.

    Returns:
        The identity that the server gave; its chain keeps the rules but has not been verified.

    Raises:
        RpcError: The server cannot be reached, or failed in a way that may pass.
        AttestationError: It refuses.
        FinialError: The attestor has nothing to show, or the result is unusable.
    """
    payload = await proof.attestor.payload()
    params = agent_pb.AttestAgentRequest.Params(
        data=types.AttestationData(type=proof.type, payload=payload),
        params=agent_pb.AgentX509SVIDParams(csr=make_csr(key)),
    )
    try:
        async with channel.call(agent_pb.Agent.AttestAgent, timeout=_DEADLINE) as call:
            await call.send(agent_pb.AttestAgentRequest(params=params))
            result = await _converse(call, proof)
    except RpcError as error:
        if error.code in TRANSIENT:
            raise
        reason = _TOKEN_REFUSED if proof.type == JOIN_TOKEN else _REFUSED
        message = f"the server refused to attest this node: {error.message}"
        raise AttestationError(reason, message) from error
    return NodeIdentity(read_svid(result.svid, key), result.reattestable)


async def _converse(call: _Call, proof: Proof) -> agent_pb.AttestAgentResponse.Result:
    while (reply := await call.receive()) is not None:
        match reply.WhichOneof("step"):
            case "result":
                await _finish(call)
                return reply.result
            case "challenge":
                response = await proof.attestor.respond(reply.challenge)
                await call.send(agent_pb.AttestAgentRequest(challenge_response=response))
            case _:
                raise AttestationError(_NO_RESULT, "the server sent neither a challenge nor a result")
    raise AttestationError(_NO_RESULT, "the server ended the attestation without a result")


async def _finish(call: _Call) -> None:
    """Let the server end the call; the result counts, however it does that."""
    with contextlib.suppress(RpcError, TimeoutError):
        async with asyncio.timeout(_GOODBYE_SECONDS):
            await call.half_close()
            await call.receive()
