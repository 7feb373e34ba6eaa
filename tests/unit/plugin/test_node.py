from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest

from finial.core.errors import FinialError, Kind, Reason
from finial.core.ids import SpiffeID, TrustDomain
from finial.core.selectors import Selector
from finial.plugin.catalog import PluginContext
from finial.plugin.guard import PluginError
from finial.plugin.node import (
    NODE_ATTESTORS_AGENT,
    NODE_ATTESTORS_SERVER,
    AttestedNode,
    Exchange,
    NodeAttestorAgent,
    NodeAttestorServer,
)
from support.clock import FixedChance, ManualClock

DENIED = Reason("test-denied", Kind.DENIED)
GONE = Reason("test-gone", Kind.UNAVAILABLE)
AGENT = SpiffeID("spiffe://a.test/spire/agent/rack/7")


def node(agent_id: str = AGENT.text, selector: str = "rack:7") -> AttestedNode:
    return AttestedNode(SpiffeID(agent_id), (Selector.parse(selector),), can_reattest=True)


class Server:
    """Asks for a response and returns whatever it was given, or raises it."""

    def __init__(self, answer: object, challenge: object = b"which rack?") -> None:
        self.answer = answer
        self.challenge: Any = challenge
        self.seen: list[bytes] = []

    async def attest(self, payload: bytes, exchange: Exchange) -> Any:
        self.seen = [payload, await exchange(self.challenge)]
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Agent:
    """Shows and answers whatever it was given."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    async def payload(self) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def respond(self, challenge: bytes) -> Any:
        return await self.payload()


@pytest.fixture
def context(tmp_path: Path) -> PluginContext:
    return PluginContext(
        trust_domain=TrustDomain("a.test"), clock=ManualClock(), chance=FixedChance(), data_dir=tmp_path
    )


def server(inner: Server, context: PluginContext) -> NodeAttestorServer:
    return NODE_ATTESTORS_SERVER.guard(inner, "rack", context)


async def answer_seven(challenge: bytes) -> bytes:
    assert challenge == b"which rack?"
    return b"7"


def refusal(inner: Server, context: PluginContext, exchange: Exchange = answer_seven) -> FinialError:
    with pytest.raises(FinialError) as caught:
        asyncio.run(server(inner, context).attest(b"hello", exchange))
    return caught.value


def test_a_node_is_attested(context: PluginContext) -> None:
    inner = Server(node())
    assert asyncio.run(server(inner, context).attest(b"hello", answer_seven)) == node()
    assert inner.seen == [b"hello", b"7"]


def test_a_node_is_refused(context: PluginContext) -> None:
    error = refusal(Server(FinialError(DENIED, "not in the rack")), context)
    assert (error.message, error.reason) == ("nodeattestor(rack): not in the rack", DENIED)
    assert refusal(Server(KeyError("x")), context).message == "nodeattestor(rack): raised KeyError"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, "returned a NoneType, which is no attested node"),
        (
            node("spiffe://b.test/spire/agent/rack/7"),
            "returned spiffe://b.test/spire/agent/rack/7, which is no agent",
        ),
        (node("spiffe://a.test/spire/server"), "returned spiffe://a.test/spire/server, which is no agent"),
        (node("spiffe://a.test/web"), "returned spiffe://a.test/web, which is no agent"),
        (node(selector="unix:uid:0"), "returned what is no selector of type rack"),
        (AttestedNode("rack/7", (), can_reattest=True), "returned a str as the agent's ID"),  # type: ignore[arg-type]
        (AttestedNode(AGENT, ["rack:7"], can_reattest=True), "returned a list, which is no tuple"),  # type: ignore[arg-type]
        (AttestedNode(AGENT, ("rack:7",), can_reattest=True), "returned what is no selector"),  # type: ignore[arg-type]
    ],
)
def test_what_no_attestor_may_return(context: PluginContext, answer: object, message: str) -> None:
    error = refusal(Server(answer), context)
    assert error.message.startswith(f"nodeattestor(rack): {message}")
    assert error.reason.id == "plugin-answer"


def test_a_challenge_is_bytes(context: PluginContext) -> None:
    error = refusal(Server(node(), challenge="text"), context)
    assert error.message == "nodeattestor(rack): sent a challenge that is not bytes"


def test_what_happens_to_the_agent_is_not_the_plugins_fault(context: PluginContext) -> None:
    gone = FinialError(GONE, "the agent has gone")

    async def exchange(challenge: bytes) -> bytes:
        raise gone

    assert refusal(Server(node()), context, exchange) is gone


def test_a_plugin_that_catches_it_attests_nobody_by_it(context: PluginContext) -> None:
    gone = FinialError(GONE, "the agent has gone")

    class Careless(Server):
        async def attest(self, payload: bytes, exchange: Exchange) -> Any:
            with contextlib.suppress(FinialError):
                await exchange(b"which rack?")
            return self.answer

    async def exchange(challenge: bytes) -> bytes:
        raise gone

    assert refusal(Careless(node()), context, exchange) is gone


def test_the_agents_half(context: PluginContext) -> None:
    agent = NODE_ATTESTORS_AGENT.guard(Agent(b"seven"), "rack", context)
    assert asyncio.run(agent.payload()) == b"seven"
    assert asyncio.run(agent.respond(b"?")) == b"seven"
    for answer in (b"", "text", None):
        agent = NODE_ATTESTORS_AGENT.guard(Agent(answer), "rack", context)
        with pytest.raises(PluginError, match=r"^nodeattestor\(rack\): returned a payload that is empty"):
            asyncio.run(agent.payload())
        with pytest.raises(PluginError, match=r"^nodeattestor\(rack\): returned a response that is empty"):
            asyncio.run(agent.respond(b"?"))
    agent = NODE_ATTESTORS_AGENT.guard(Agent(FinialError(GONE, "no rack")), "rack", context)
    with pytest.raises(PluginError, match=r"^nodeattestor\(rack\): no rack$"):
        asyncio.run(agent.payload())


def test_something_else_than_a_half(context: PluginContext) -> None:
    with pytest.raises(PluginError, match=r"^nodeattestor\(rack\): made a Agent, which is no server's half"):
        NODE_ATTESTORS_SERVER.guard(Agent(b""), "rack", context)
    with pytest.raises(PluginError, match=r"^nodeattestor\(rack\): made a Server, which is no agent's half"):
        NODE_ATTESTORS_AGENT.guard(Server(None), "rack", context)
    assert isinstance(Server(None), NodeAttestorServer)
    assert isinstance(Agent(b""), NodeAttestorAgent)
