"""The SVID service, JWT: tokens for the workloads of agents, and for whomever an operator names.

A token is a secret: it goes into the reply, and nowhere else.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final, Protocol

from finial.core import base64url
from finial.core.ids import SpiffeID
from finial.core.jwtsvid import JWTSVID, JWTRequest
from finial.rpc.status import RpcError, StatusCode
from finial.runtime.chance import Chance
from finial.runtime.log import fields
from finial.runtime.metrics import Counter
from finial.server.api.audiences import AudienceWatch, brief, read_audience
from finial.server.api.chain import Caller, Endpoint, unary
from finial.server.api.replies import named, unix
from finial.server.api.svid import Ground, wished
from finial.server.limits import Limiter
from finial.server.signing import WAITED_FOR
from finial.wire.gen import spire_api_server_svid_v1 as svid_pb
from finial.wire.gen import spire_api_types as types

_log = logging.getLogger("finial.server")

_JTI_BYTES: Final = 16


class JWTSigner(Protocol):
    """What signs."""

    def sign_jwt(self, request: JWTRequest, ttl: timedelta) -> JWTSVID:
        """A new JWT-SVID."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the operator decided about JWT-SVIDs.

    Args:
        ttl: Lifetime where an entry says none.
        longest: No lifetime is longer; None for as long as the key lives.
        issuer: What they name as their issuer; empty for none.
    """

    ttl: timedelta
    longest: timedelta | None = None
    issuer: str = ""

    def life(self, wish: timedelta) -> timedelta:
        """The lifetime that is granted.

        Args:
            wish: Zero for the default.
        """
        life = wish or self.ttl
        return life if self.longest is None else min(life, self.longest)


class JWTService:
    """Serves the JWT methods of `spire.api.server.svid.v1.SVID`.

    Args:
        ground: What all kinds stand on.
        signer: Signs; None where JWT-SVIDs are disabled.
        terms: What the operator decided.
        watch: Looks at audiences.
        limit: Of signing for agents; None for none.
        chance: Gives tokens that are to be unique their identifiers.
        signed: Counts what has been signed.
    """

    def __init__(
        self,
        ground: Ground,
        signer: JWTSigner | None,
        *,
        terms: Terms,
        watch: AudienceWatch,
        limit: Limiter | None,
        chance: Chance,
        signed: Counter,
    ) -> None:
        self._ground = ground
        self._signer = signer
        self._terms = terms
        self._watch = watch
        self._limit = limit
        self._chance = chance
        self._signed = signed

    def endpoints(self) -> tuple[Endpoint, ...]:
        """What is served."""
        return unary(svid_pb.SVID.NewJWTSVID, self.new), unary(svid_pb.SVID.MintJWTSVID, self.mint)

    async def new(self, request: svid_pb.NewJWTSVIDRequest, caller: Caller) -> svid_pb.NewJWTSVIDResponse:
        """A JWT-SVID for an entry of the calling agent. Clauses: JWT-13, JWT-15."""
        signer = self._enabled()
        entry = self._ground.entry(caller, request.entry_id)
        audience = read_audience(request.audience)
        del request  # it may be large, and whoever waits keeps only what is needed
        turns = self._ground.turns
        due = turns.due(WAITED_FOR)
        if self._limit is not None:
            await self._limit.wait(caller)
        item = partial(self._new, entry.id, audience, signer=signer, caller=caller)
        reply = svid_pb.NewJWTSVIDResponse()
        _fill(reply.svid, await turns.one(item, owner=caller.agent_id.text, due=due))
        return reply

    def _new(self, entry_id: str, audience: tuple[str, ...], *, signer: JWTSigner, caller: Caller) -> JWTSVID:
        caller.recheck()  # it may have been banned, and the entry deleted, while others had their turn
        entry = self._ground.entry(caller, entry_id)
        jti = base64url.encode(self._chance.token(_JTI_BYTES)) if entry.jwt_svid_include_jti else ""
        order = self._order(entry.spiffe_id, audience, jti=jti)
        return self._sign(signer, order, entry.jwt_svid_ttl)

    async def mint(self, request: svid_pb.MintJWTSVIDRequest, caller: Caller) -> svid_pb.MintJWTSVIDResponse:
        """A JWT-SVID for any workload of the trust domain. Clauses: JWT-13, JWT-15."""
        signer = self._enabled()
        spiffe_id = self._ground.workload(request.id, given=request.HasField("id"))
        audience = read_audience(request.audience)
        ttl = wished(request.ttl, self._terms.ttl)
        made = self._sign(signer, self._order(spiffe_id, audience), ttl)
        _log.info("JWT-SVID minted", extra=fields(id=spiffe_id, audience=brief(audience), by=named(caller)))
        reply = svid_pb.MintJWTSVIDResponse()
        _fill(reply.svid, made)
        return reply

    def _enabled(self) -> JWTSigner:
        if self._signer is None:
            raise RpcError(StatusCode.UNIMPLEMENTED, "JWT functionality is disabled")
        return self._signer

    def _order(self, spiffe_id: SpiffeID, audience: tuple[str, ...], *, jti: str = "") -> JWTRequest:
        return JWTRequest(spiffe_id=spiffe_id, audience=audience, issuer=self._terms.issuer, jti=jti)

    def _sign(self, signer: JWTSigner, order: JWTRequest, ttl: timedelta) -> JWTSVID:
        self._watch.look(order.audience, order.spiffe_id)
        svid = signer.sign_jwt(order, self._terms.life(ttl))
        self._signed.inc()
        return svid


def _fill(place: types.JWTSVID, svid: JWTSVID) -> None:
    """Put a token into the reply, in its place: a message that is made before would be copied."""
    place.token = svid.token
    place.id.trust_domain, place.id.path = svid.id.trust_domain.name, svid.id.path
    place.expires_at, place.issued_at = unix(svid.expires_at), unix(svid.issued_at)
