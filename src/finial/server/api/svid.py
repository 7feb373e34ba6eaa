"""The SVID service: certificates for the workloads of agents, and for whomever an operator names."""

from __future__ import annotations

import logging
from datetime import timedelta
from functools import partial

from finial.core.csr import read_csr, read_mint_request
from finial.core.errors import FinialError
from finial.core.ids import SpiffeID
from finial.core.x509_profile import SVIDRequest
from finial.rpc.status import RpcError, StatusCode
from finial.runtime.clock import Clock
from finial.runtime.log import fields
from finial.server.api.chain import Caller, Endpoint, unary
from finial.server.api.replies import named, svid
from finial.server.identity import Signer
from finial.server.index.index import Index
from finial.server.limits import Limiter
from finial.server.signing import Turns
from finial.wire import registry, statuses
from finial.wire.gen import spire_api_server_svid_v1 as svid_pb

_log = logging.getLogger("finial.server")

_Result = svid_pb.BatchNewX509SVIDResponse.Result


class SVIDService:
    """Serves `spire.api.server.svid.v1.SVID`, its X.509 half.

    Args:
        index: Says what an agent is authorised for.
        signer: Signs.
        turns: Where agents wait for signatures.
        clock: Judges entries.
        limit: Of signing for agents; None for none.
        ttl: Lifetime where an entry says none.
    """

    def __init__(
        self,
        index: Index,
        signer: Signer,
        turns: Turns,
        *,
        clock: Clock,
        limit: Limiter | None,
        ttl: timedelta,
    ) -> None:
        self._index = index
        self._signer = signer
        self._turns = turns
        self._clock = clock
        self._limit = limit
        self._ttl = ttl

    def endpoints(self) -> tuple[Endpoint, ...]:
        """What is served."""
        return (
            unary(svid_pb.SVID.BatchNewX509SVID, self.batch_new),
            unary(svid_pb.SVID.MintX509SVID, self.mint),
        )

    async def batch_new(
        self, request: svid_pb.BatchNewX509SVIDRequest, caller: Caller
    ) -> svid_pb.BatchNewX509SVIDResponse:
        """Certificates for entries of the calling agent; each item succeeds or fails on its own."""
        if not request.params:
            raise RpcError(StatusCode.INVALID_ARGUMENT, "missing parameters")
        due = self._turns.due(caller.remaining)
        if self._limit is not None:
            await self._limit.wait(caller, len(request.params))
        item = partial(self._item, caller=caller)
        results = await self._turns.each(request.params, item, owner=caller.agent_id.text, due=due)
        return svid_pb.BatchNewX509SVIDResponse(results=results)

    def _item(self, params: svid_pb.NewX509SVIDParams, caller: Caller) -> _Result:
        # Asked each time: the agent may be banned, or an entry deleted, while others have their turn.
        caller.recheck()
        for what, given in (("entry ID", params.entry_id), ("CSR", params.csr)):
            if not given:
                return _Result(status=statuses.status(StatusCode.INVALID_ARGUMENT, f"missing {what}"))
        now = self._clock.now().timestamp()
        record = self._index.authorized_entry(caller.agent_id.text, params.entry_id, now)
        if record is None:
            return _Result(status=statuses.status(StatusCode.NOT_FOUND, "entry not found or not authorized"))
        try:
            key = read_csr(params.csr)
        except FinialError as error:
            return _Result(status=statuses.status(StatusCode.INVALID_ARGUMENT, f"malformed CSR: {error}"))
        try:
            entry = registry.decode_entry(record.data)
            order = SVIDRequest(spiffe_id=entry.spiffe_id, public_key=key, dns_names=entry.dns_names)
            chain = self._signer.sign_svid(order, entry.x509_svid_ttl or self._ttl)
        except FinialError as error:
            return _Result(status=statuses.status_of(error, "failed to sign X509-SVID"))
        return _Result(status=statuses.ok(), svid=svid(entry.spiffe_id, chain))

    async def mint(
        self, request: svid_pb.MintX509SVIDRequest, caller: Caller
    ) -> svid_pb.MintX509SVIDResponse:
        """A certificate for any workload of the trust domain, as an operator's request describes it."""
        if not request.csr:
            raise RpcError(StatusCode.INVALID_ARGUMENT, "missing CSR")
        try:
            asked = read_mint_request(request.csr)
        except FinialError as error:
            raise RpcError(StatusCode.INVALID_ARGUMENT, f"malformed CSR: {error}") from error
        if request.ttl < 0:
            raise RpcError(StatusCode.INVALID_ARGUMENT, "ttl is negative")
        self._check_workload(asked.spiffe_id)
        order = SVIDRequest(
            spiffe_id=asked.spiffe_id,
            public_key=asked.public_key,
            dns_names=asked.dns_names,
            subject=asked.subject,
        )
        chain = self._signer.sign_svid(order, timedelta(seconds=request.ttl) or self._ttl)
        _log.info("X509-SVID minted", extra=fields(id=asked.spiffe_id, by=named(caller)))
        return svid_pb.MintX509SVIDResponse(svid=svid(asked.spiffe_id, chain))

    def _check_workload(self, spiffe_id: SpiffeID) -> None:
        if not spiffe_id.member_of(self._index.trust_domain):
            why = f'"{spiffe_id}" is not a member of trust domain "{self._index.trust_domain}"'
        elif not spiffe_id.path:
            why = "path is empty"
        elif spiffe_id.reserved:
            why = f'"{spiffe_id}" is not a workload: path is in the reserved namespace'
        else:
            return
        raise RpcError(StatusCode.INVALID_ARGUMENT, f"CSR URI SAN is invalid: {why}")
