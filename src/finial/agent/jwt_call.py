"""Has one JWT-SVID signed by the server, and believes nothing of it that the own bundle does not prove."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, Protocol

from finial.agent.cache import Cache
from finial.agent.encode import jwt_svid
from finial.agent.identity import NodeIdentity
from finial.agent.jwtcache import Proven, Wanted
from finial.agent.node import Node
from finial.core.bundle import BundleSet
from finial.core.errors import FinialError, Kind, Reason, TokenVerifyError
from finial.core.jwtsvid import VerifiedJWT, validate_jwt
from finial.core.reasons import token as reasons
from finial.runtime.clock import Clock, wait_at_most
from finial.wire.gen import spire_api_server_svid_v1 as svid_pb

_DEADLINE: Final = timedelta(seconds=15)
_BUNDLE_PATIENCE: Final = timedelta(seconds=10)
_BETWEEN_QUESTIONS: Final = timedelta(seconds=2)

_FOREIGN: Final = Reason("agent-jwt-foreign", Kind.UNTRUSTED)
_KEY_TO_COME: Final = frozenset({reasons.TOKEN_UNKNOWN_KEY, reasons.TOKEN_NO_KEYS})


class JWTAnswerError(FinialError):
    """The server signed another token than the one that it was asked for."""


class Asked(Protocol):
    """Whoever brings bundles."""

    def soon(self) -> None:
        """A token needs a bundle that is not here yet, or an entry may be gone."""


class JWTCall:
    """The way to the server's signature.

    Args:
        node: The agent's standing and its connection.
        cache: Has the own bundle.
        sync: Is asked for the bundle when a token does not verify under the one that is here.
        clock: Time.
    """

    def __init__(self, node: Node, cache: Cache, sync: Asked, *, clock: Clock) -> None:
        self._node = node
        self._cache = cache
        self._sync = sync
        self._clock = clock

    async def sign(self, wanted: Wanted) -> Proven:
        """A token that has just been signed.

        Args:
            wanted: For which entry, for whom.

        Raises:
            RpcError: The server cannot be reached, or refuses.
            TokenParseError: What it sent is no token.
            TokenVerifyError: The own bundle does not prove it, and no newer one does.
            JWTAnswerError: It says something else than what was asked for.
            ExpelledError: The server does not count the agent as attested any more.
        """
        token = await self._token(wanted)
        proof = await self._proof(token, wanted)
        if proof.id != wanted.entry.spiffe_id:
            message = f"the server signed a token of {proof.id}, not of {wanted.entry.spiffe_id}"
            raise JWTAnswerError(_FOREIGN, message, subject=wanted.entry.id)
        if set(proof.svid.audience) != set(wanted.asked):
            message = "the server signed a token for other audiences than it was asked for"
            raise JWTAnswerError(_FOREIGN, message, subject=wanted.entry.id)
        return Proven(proof.svid, jwt_svid(wanted.entry, token), proof.authority)

    def look_again(self) -> None:
        """Something was refused: the entry may be gone."""
        self._sync.soon()

    async def _token(self, wanted: Wanted) -> str:
        request = svid_pb.NewJWTSVIDRequest(entry_id=wanted.entry.id, audience=wanted.asked)
        method, coped = svid_pb.SVID.NewJWTSVID, False
        while True:
            shown: NodeIdentity | None = None
            try:
                async with self._node.link.use() as lease:
                    shown = lease.identity
                    reply = await lease.channel.unary(method, request, timeout=_DEADLINE)
                return reply.svid.token
            except FinialError as error:
                if not await self._node.cope(error, shown) or coped:
                    raise
                coped = True

    async def _proof(self, token: str, wanted: Wanted) -> VerifiedJWT:
        """What the own bundle proves; the server may have a newer one, which is waited for."""
        until = self._clock.monotonic() + _BUNDLE_PATIENCE.total_seconds()
        while True:
            news, own = self._cache.next_bundle(), BundleSet([self._cache.book.bundle])
            try:
                return validate_jwt(token, own, wanted.asked, now=self._clock.now())
            except TokenVerifyError as error:
                left = timedelta(seconds=until - self._clock.monotonic())
                if error.reason not in _KEY_TO_COME or left <= timedelta(0) or self._cache.wiped:
                    raise
            self._cache.bundle_awaited += 1
            try:
                self._sync.soon()
                await wait_at_most(self._clock, news, min(left, _BETWEEN_QUESTIONS))
            finally:
                self._cache.bundle_awaited -= 1
