"""The SVID service, WIT: tokens for a key that their holder proves to have. An incubating standard.

A token goes into the reply and nowhere else, though it is worth nothing without the key.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from functools import partial
from typing import Final, Protocol

from finial.core import base64url
from finial.core.algorithms import Algorithm, algorithm_of, fits
from finial.core.errors import FinialError, shown
from finial.core.ids import SpiffeID
from finial.core.keys import PublicKey, read_public_key
from finial.core.witsvid import WITSVID, WITRequest
from finial.rpc.status import RpcError, StatusCode
from finial.runtime.chance import Chance
from finial.runtime.log import fields
from finial.runtime.metrics import Counter
from finial.server.api.chain import Caller, Endpoint, unary
from finial.server.api.replies import failure, invalid, named, unix
from finial.server.api.svid import MOST_BYTES, Ground, wished
from finial.server.limits import Limiter
from finial.wire import registry, statuses
from finial.wire.gen import spire_api_server_svid_v1 as svid_pb
from finial.wire.gen import spire_api_types as types

_log = logging.getLogger("finial.server")

_Result = svid_pb.BatchNewWITSVIDResponse.Result
_JTI_BYTES: Final = 16
_MAX_KEY_BYTES: Final = 4096  # twice what the largest key that is accepted has


class WITSigner(Protocol):
    """What signs."""

    def sign_wit(self, request: WITRequest, ttl: timedelta) -> WITSVID:
        """A new WIT-SVID."""


class WITService:
    """Serves the WIT methods of `spire.api.server.svid.v1.SVID`.

    Args:
        ground: What all kinds stand on.
        signer: Signs; None where nobody has opted in.
        ttl: Lifetime where an entry says none.
        limit: Of signing for agents; None for none.
        chance: Gives each token its identifier, by which records of it find each other.
        signed: Counts what has been signed.
    """

    def __init__(
        self,
        ground: Ground,
        signer: WITSigner | None,
        *,
        ttl: timedelta,
        limit: Limiter | None,
        chance: Chance,
        signed: Counter,
    ) -> None:
        self._ground = ground
        self._signer = signer
        self._ttl = ttl
        self._limit = limit
        self._chance = chance
        self._signed = signed

    def endpoints(self) -> tuple[Endpoint, ...]:
        """What is served."""
        return (
            unary(svid_pb.SVID.BatchNewWITSVID, self.batch_new, most=MOST_BYTES),
            unary(svid_pb.SVID.MintWITSVID, self.mint),
        )

    async def batch_new(
        self, request: svid_pb.BatchNewWITSVIDRequest, caller: Caller
    ) -> svid_pb.BatchNewWITSVIDResponse:
        """WIT-SVIDs for entries of the calling agent; each item succeeds or fails on its own."""
        signer = self._enabled()
        if not request.params:
            raise invalid("missing parameters")
        turns = self._ground.turns
        due = turns.due(caller.remaining)
        if self._limit is not None:
            await self._limit.wait(caller, len(request.params))
        item = partial(self._item, signer=signer, caller=caller)
        results = await turns.each(request.params, item, owner=caller.agent_id.text, due=due)
        return svid_pb.BatchNewWITSVIDResponse(results=results)

    def _item(self, params: svid_pb.NewWITSVIDParams, *, signer: WITSigner, caller: Caller) -> _Result:
        caller.recheck()  # not only this item ends when it was banned while others had their turn
        try:
            return _Result(status=statuses.ok(), svid=self._new(params, signer=signer, caller=caller))
        except FinialError as error:
            return _Result(status=failure(error, "failed to sign WIT-SVID"))

    def _new(self, params: svid_pb.NewWITSVIDParams, *, signer: WITSigner, caller: Caller) -> types.WITSVID:
        for what, given in (("entry ID", params.entry_id), ("public key", params.public_key)):
            if not given:
                raise invalid(f"missing {what}")
        entry = self._ground.entry(caller, params.entry_id)
        key = _read_key(params.public_key, "malformed public key")
        order = self._order(entry.spiffe_id, key, _algorithm(params.signing_algorithm, key))
        return self._sign(signer, order, entry.x509_svid_ttl or self._ttl)

    async def mint(self, request: svid_pb.MintWITSVIDRequest, caller: Caller) -> svid_pb.MintWITSVIDResponse:
        """A WIT-SVID for any workload of the trust domain and any key."""
        signer = self._enabled()
        spiffe_id = self._ground.workload(request.id, given=request.HasField("id"))
        key = _read_key(request.public_key, "invalid public key")
        order = self._order(spiffe_id, key, _algorithm(request.signing_algorithm, key))
        made = self._sign(signer, order, wished(request.ttl, self._ttl))
        _log.info("WIT-SVID minted", extra=fields(id=spiffe_id, jti=order.jti, by=named(caller)))
        return svid_pb.MintWITSVIDResponse(svid=made)

    def _enabled(self) -> WITSigner:
        if self._signer is None:
            raise RpcError(StatusCode.UNIMPLEMENTED, "WIT functionality is disabled")
        return self._signer

    def _order(self, spiffe_id: SpiffeID, key: PublicKey, algorithm: Algorithm) -> WITRequest:
        # No issuer: what OpenID Connect discovers must not stand in a WIT-SVID. Clauses: WIT-29
        jti = base64url.encode(self._chance.token(_JTI_BYTES))
        return WITRequest(spiffe_id=spiffe_id, public_key=key, algorithm=algorithm, jti=jti)

    def _sign(self, signer: WITSigner, order: WITRequest, ttl: timedelta) -> types.WITSVID:
        svid = signer.sign_wit(order, ttl)
        self._signed.inc()
        return types.WITSVID(
            token=svid.token,
            id=registry.id_message(svid.id),
            expires_at=unix(svid.expires_at),
            issued_at=unix(svid.issued_at),
        )


def _read_key(der: bytes, what: str) -> PublicKey:
    if len(der) > _MAX_KEY_BYTES:
        raise invalid(f"{what}: {len(der)} bytes, at most {_MAX_KEY_BYTES} are read")
    try:
        return read_public_key(der)
    except FinialError as error:
        raise invalid(f"{what}: {error}") from error


def _algorithm(name: str, key: PublicKey) -> Algorithm:
    """How the holder will sign; SPIRE wants it said, though of most keys there is one way.

    Raises:
        RpcError: INVALID_ARGUMENT, tokens are not signed so, or not with this key.
    """
    what = "invalid signing algorithm or key type"
    try:
        algorithm = Algorithm(name) if name else algorithm_of(key)
    except ValueError as error:
        raise invalid(f"{what}: {shown(name)} is none of {', '.join(Algorithm)}") from error
    except FinialError as error:
        raise invalid(f"{what}: {error}") from error
    if not fits(algorithm, key):
        raise invalid(f"{what}: {algorithm} does not go with a key of this type")
    return algorithm
