"""The SVID service, X.509: certificates for the workloads of agents, and for whomever an operator names."""

from __future__ import annotations

import logging
from datetime import timedelta
from functools import partial

from finial.core.csr import read_csr, read_mint_request
from finial.core.errors import FinialError
from finial.core.x509_profile import SVIDRequest
from finial.runtime.log import fields
from finial.runtime.metrics import Counter
from finial.server.api.chain import Caller, Endpoint, unary
from finial.server.api.replies import failure, invalid, named, svid
from finial.server.api.svid import MOST_BYTES, Ground, wished
from finial.server.identity import Signer
from finial.server.limits import Limiter
from finial.wire import statuses
from finial.wire.gen import spire_api_server_svid_v1 as svid_pb
from finial.wire.gen import spire_api_types as types

_log = logging.getLogger("finial.server")

_Result = svid_pb.BatchNewX509SVIDResponse.Result


class X509Service:
    """Serves the X.509 methods of `spire.api.server.svid.v1.SVID`.

    Args:
        ground: What all kinds stand on.
        signer: Signs.
        limit: Of signing for agents; None for none.
        ttl: Lifetime where an entry says none.
        signed: Counts what has been signed.
    """

    def __init__(
        self, ground: Ground, signer: Signer, *, limit: Limiter | None, ttl: timedelta, signed: Counter
    ) -> None:
        self._ground = ground
        self._signer = signer
        self._limit = limit
        self._ttl = ttl
        self._signed = signed

    def endpoints(self) -> tuple[Endpoint, ...]:
        """What is served."""
        return (
            unary(svid_pb.SVID.BatchNewX509SVID, self.batch_new, most=MOST_BYTES),
            unary(svid_pb.SVID.MintX509SVID, self.mint),
        )

    async def batch_new(
        self, request: svid_pb.BatchNewX509SVIDRequest, caller: Caller
    ) -> svid_pb.BatchNewX509SVIDResponse:
        """Certificates for entries of the calling agent; each item succeeds or fails on its own."""
        if not request.params:
            raise invalid("missing parameters")
        turns = self._ground.turns
        due = turns.due(caller.remaining)
        if self._limit is not None:
            await self._limit.wait(caller, len(request.params))
        item = partial(self._item, caller=caller)
        results = await turns.each(request.params, item, owner=caller.agent_id.text, due=due)
        return svid_pb.BatchNewX509SVIDResponse(results=results)

    def _item(self, params: svid_pb.NewX509SVIDParams, caller: Caller) -> _Result:
        caller.recheck()  # not only this item ends when it was banned while others had their turn
        try:
            return _Result(status=statuses.ok(), svid=self._new(params, caller))
        except FinialError as error:
            return _Result(status=failure(error, "failed to sign X509-SVID"))

    def _new(self, params: svid_pb.NewX509SVIDParams, caller: Caller) -> types.X509SVID:
        for what, given in (("entry ID", params.entry_id), ("CSR", params.csr)):
            if not given:
                raise invalid(f"missing {what}")
        entry = self._ground.entry(caller, params.entry_id)
        try:
            key = read_csr(params.csr)
        except FinialError as error:
            raise invalid(f"malformed CSR: {error}") from error
        order = SVIDRequest(spiffe_id=entry.spiffe_id, public_key=key, dns_names=entry.dns_names)
        return self._sign(order, entry.x509_svid_ttl or self._ttl)

    async def mint(
        self, request: svid_pb.MintX509SVIDRequest, caller: Caller
    ) -> svid_pb.MintX509SVIDResponse:
        """A certificate for any workload of the trust domain, as an operator's request describes it."""
        if not request.csr:
            raise invalid("missing CSR")
        try:
            asked = read_mint_request(request.csr)
        except FinialError as error:
            raise invalid(f"malformed CSR: {error}") from error
        ttl = wished(request.ttl, self._ttl)
        self._ground.check_workload(asked.spiffe_id, "CSR URI SAN is invalid")
        order = SVIDRequest(
            spiffe_id=asked.spiffe_id,
            public_key=asked.public_key,
            dns_names=asked.dns_names,
            subject=asked.subject,
        )
        made = self._sign(order, ttl)
        _log.info("X509-SVID minted", extra=fields(id=asked.spiffe_id, by=named(caller)))
        return svid_pb.MintX509SVIDResponse(svid=made)

    def _sign(self, order: SVIDRequest, ttl: timedelta) -> types.X509SVID:
        chain = self._signer.sign_svid(order, ttl)
        self._signed.inc()
        return svid(order.spiffe_id, chain)
