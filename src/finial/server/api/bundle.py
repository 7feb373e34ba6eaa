"""The Bundle service: the own bundle for everybody, foreign ones for whom they concern."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from finial.core.bundle_change import difference
from finial.core.entry import RegistrationEntry
from finial.core.errors import FinialError, Kind, Reason, SpiffeIDError
from finial.core.ids import TrustDomain
from finial.rpc.status import RpcError, StatusCode
from finial.runtime.log import fields
from finial.server.api.chain import LARGE, Caller, Endpoint, unary
from finial.server.api.replies import encoded, failure, invalid, named
from finial.server.api.slices import each
from finial.server.fleet import Fleet
from finial.server.index.index import Index
from finial.server.store import bundles, entries
from finial.server.store.records import BundleRecord
from finial.server.store.writer import Store, Tx
from finial.wire import bundles as wire
from finial.wire import masks, paging, registry, statuses
from finial.wire.bundles import KeptBundle
from finial.wire.gen import spire_api_server_bundle_v1 as bundle_pb
from finial.wire.gen import spire_api_types as types

_log = logging.getLogger("finial.server")

_FEDERATED = Reason(
    "bundle-federated",
    Kind.CONFLICT,
    hint="Change those entries first, or delete the bundle in mode DISSOCIATE or DELETE.",
    meaning="Entries name the trust domain whose bundle is to be deleted.",
)

_Mode = bundle_pb.BatchDeleteFederatedBundleRequest
_Work = Callable[[Tx], BundleRecord]


class BundleService:
    """Serves `spire.api.server.bundle.v1.Bundle`, as far as operators keep foreign bundles by hand.

    Args:
        index: Answers every question; says which trust domain is the own one.
        store: Takes writes.
        fleet: Is told which agent has fetched which own bundle; None where nobody asks for it.
        wit: Whether foreign bundles keep their authorities for WIT-SVIDs.
    """

    def __init__(self, index: Index, store: Store, fleet: Fleet | None = None, *, wit: bool = False) -> None:
        self._index = index
        self._fleet = fleet
        self._wit = wit
        self._store = store
        self._own = index.trust_domain

    def endpoints(self) -> tuple[Endpoint, ...]:
        """What is served."""
        service = bundle_pb.Bundle
        return (
            unary(encoded(service.GetBundle), self.get),
            unary(service.CountBundles, self.count),
            unary(encoded(service.AppendBundle), self.append, most=LARGE),
            unary(service.ListFederatedBundles, self.list_federated),
            unary(encoded(service.GetFederatedBundle), self.get_federated),
            unary(service.BatchCreateFederatedBundle, self.batch_create, most=LARGE),
            unary(service.BatchUpdateFederatedBundle, self.batch_update, most=LARGE),
            unary(service.BatchSetFederatedBundle, self.batch_set, most=LARGE),
            unary(service.BatchDeleteFederatedBundle, self.batch_delete, most=LARGE),
        )

    async def get(self, request: bundle_pb.GetBundleRequest, caller: Caller) -> bytes:
        """The own bundle."""
        mask = masks.output_mask(request)
        data = self._kept(self._own.name, mask)
        own = self._index.bundle
        whole = mask is None or mask.x509_authorities
        agent = caller.expires_at is not None  # and not just somebody who bears, or bore, its ID
        if self._fleet is not None and agent and own is not None and whole:
            self._fleet.has_bundle(caller.agent_id.text, own.sequence)
        return data

    async def count(
        self, _request: bundle_pb.CountBundlesRequest, _: Caller
    ) -> bundle_pb.CountBundlesResponse:
        """How many bundles there are, the own one among them."""
        return bundle_pb.CountBundlesResponse(count=len(self._index.bundles))

    async def append(self, request: bundle_pb.AppendBundleRequest, caller: Caller) -> bytes:
        """Add authorities to the own bundle; what it has already changes nothing."""
        if not request.x509_authorities and not request.jwt_authorities:
            raise invalid("no authorities to append")

        def work(tx: Tx) -> str:
            old = bundles.get(tx, self._own.name)
            more = wire.extended(old.data, request.x509_authorities, request.jwt_authorities)
            if more is None:
                return "nothing"
            bundles.put(tx, more.bundle, more.data)
            return str(difference(old.bundle, more.bundle))

        changed = await self._store.write(work)
        _log.info("authorities appended to the bundle", extra=fields(changed=changed, by=named(caller)))
        return self._kept(self._own.name, masks.output_mask(request))

    async def list_federated(
        self, request: bundle_pb.ListFederatedBundlesRequest, _: Caller
    ) -> bundle_pb.ListFederatedBundlesResponse:
        """A page of the foreign bundles, in the order of creation."""
        page = paging.read(request.page_size, request.page_token)
        mask = masks.output_mask(request)
        rows = self._index.bundles.after(page.after)
        found = page.take(record for record in rows if record.bundle.trust_domain != self._own)
        return bundle_pb.ListFederatedBundlesResponse(
            bundles=[_shown(record, mask) for record in found],
            next_page_token=page.token([record.seq for record in found]),
        )

    async def get_federated(self, request: bundle_pb.GetFederatedBundleRequest, _: Caller) -> bytes:
        """One foreign bundle."""
        domain = self._foreign(request.trust_domain, "getting")
        return self._kept(domain.name, masks.output_mask(request))

    async def batch_create(
        self, request: bundle_pb.BatchCreateFederatedBundleRequest, caller: Caller
    ) -> bundle_pb.BatchCreateFederatedBundleResponse:
        """Create foreign bundles; each item succeeds or fails on its own."""

        def create(message: types.Bundle) -> _Work:
            kept = wire.accept(message, wit=self._wit)
            return lambda tx: _create(tx, kept)

        outcomes = await self._each(request.bundle, ("creating", "create"), create)
        mask, result = masks.output_mask(request), bundle_pb.BatchCreateFederatedBundleResponse.Result
        _note("bundles created", outcomes, caller)
        return bundle_pb.BatchCreateFederatedBundleResponse(
            results=[result(status=each.status, bundle=each.shown(mask)) for each in outcomes]
        )

    async def batch_update(
        self, request: bundle_pb.BatchUpdateFederatedBundleRequest, caller: Caller
    ) -> bundle_pb.BatchUpdateFederatedBundleResponse:
        """Change what the input mask selects of foreign bundles; each item succeeds or fails on its own."""
        input_mask = request.input_mask if request.HasField("input_mask") else None

        def update(message: types.Bundle) -> _Work:
            kept = wire.accept(masks.cut(message, input_mask), wit=self._wit)
            return lambda tx: _update(tx, kept, input_mask)

        outcomes = await self._each(request.bundle, ("updating", "update"), update)
        mask, result = masks.output_mask(request), bundle_pb.BatchUpdateFederatedBundleResponse.Result
        _note("bundles updated", outcomes, caller)
        return bundle_pb.BatchUpdateFederatedBundleResponse(
            results=[result(status=each.status, bundle=each.shown(mask)) for each in outcomes]
        )

    async def batch_set(
        self, request: bundle_pb.BatchSetFederatedBundleRequest, caller: Caller
    ) -> bundle_pb.BatchSetFederatedBundleResponse:
        """Create or replace foreign bundles; each item succeeds or fails on its own."""

        def put(message: types.Bundle) -> _Work:
            kept = wire.accept(message, wit=self._wit)
            return lambda tx: bundles.put(tx, kept.bundle, kept.data)

        outcomes = await self._each(request.bundle, ("setting", "set"), put)
        mask, result = masks.output_mask(request), bundle_pb.BatchSetFederatedBundleResponse.Result
        _note("bundles set", outcomes, caller)
        return bundle_pb.BatchSetFederatedBundleResponse(
            results=[result(status=each.status, bundle=each.shown(mask)) for each in outcomes]
        )

    async def batch_delete(
        self, request: bundle_pb.BatchDeleteFederatedBundleRequest, caller: Caller
    ) -> bundle_pb.BatchDeleteFederatedBundleResponse:
        """Delete foreign bundles, with what refers to them as the mode says."""
        release = _RELEASES.get(request.mode)
        if release is None:
            raise invalid(f"unhandled delete mode {request.mode}")
        outcomes = await each(request.trust_domains, lambda name: self._delete(name, release))
        _note("bundles deleted", outcomes, caller)
        return bundle_pb.BatchDeleteFederatedBundleResponse(
            results=[
                bundle_pb.BatchDeleteFederatedBundleResponse.Result(status=outcome.status, trust_domain=name)
                for outcome, name in zip(outcomes, request.trust_domains, strict=True)
            ]
        )

    # What these are made of.

    def _kept(self, trust_domain: str, mask: types.BundleMask | None) -> bytes:
        """The encoded bundle of a trust domain; whole, it is sent as it is kept."""
        record = self._index.bundles.get(trust_domain)
        if record is None:
            raise RpcError(StatusCode.NOT_FOUND, "bundle not found")
        return record.data if mask is None else _shown(record, mask).SerializeToString()

    def _foreign(self, text: str, doing: str) -> TrustDomain:
        try:
            domain = registry.read_domain(text, "")
        except SpiffeIDError as error:
            raise invalid(f"trust domain argument is not valid: {error}") from error
        if domain == self._own:
            raise invalid(f"{doing} a federated bundle for the server's own trust domain is not allowed")
        return domain

    async def _each(
        self,
        messages: Sequence[types.Bundle],
        words: tuple[str, str],
        prepare: Callable[[types.Bundle], _Work],
    ) -> list[_Outcome]:
        """Do the same with each of some foreign bundles.

        Args:
            messages: As they came.
            words: For what is being done: `creating`, `create`.
            prepare: Judges a bundle, and returns the unit of work.
        """
        doing, verb = words

        async def one(message: types.Bundle) -> _Outcome:
            try:
                self._foreign(message.trust_domain, doing)
                work = prepare(message)
            except RpcError as error:
                return _Outcome(failure(error, ""))
            except FinialError as error:
                return _Outcome(failure(error, "failed to convert bundle"))
            try:
                return _Outcome(statuses.ok(), await self._store.write(work))
            except FinialError as error:
                return _Outcome(failure(error, f"failed to {verb} bundle"))

        return await each(messages, one)

    async def _delete(self, text: str, release: _Release) -> _Outcome:
        try:
            domain = registry.read_domain(text, "")
        except SpiffeIDError as error:
            message = f"trust domain argument is not valid: {error}"
            return _Outcome(statuses.status(StatusCode.INVALID_ARGUMENT, message))
        if domain == self._own:
            message = "removing the bundle for the server trust domain is not allowed"
            return _Outcome(statuses.status(StatusCode.INVALID_ARGUMENT, message))

        def work(tx: Tx) -> None:
            bundles.get(tx, domain.name)
            release(tx, domain, entries.federating(tx, domain.name))
            bundles.remove(tx, domain.name)

        try:
            await self._store.write(work)
        except FinialError as error:
            return _Outcome(failure(error, "failed to delete federated bundle"))
        return _Outcome(statuses.ok())


@dataclass(frozen=True, slots=True)
class _Outcome:
    """How an item ended, and with which bundle."""

    status: types.Status
    record: BundleRecord | None = None

    def shown(self, mask: types.BundleMask | None) -> types.Bundle | None:
        return None if self.record is None else _shown(self.record, mask)


def _shown(record: BundleRecord, mask: types.BundleMask | None) -> types.Bundle:
    return masks.cut(wire.message_of(record.data), mask)


def _create(tx: Tx, kept: KeptBundle) -> BundleRecord:
    if bundles.find(tx, kept.bundle.trust_domain.name) is not None:
        raise RpcError(StatusCode.ALREADY_EXISTS, "bundle already exists")
    return bundles.put(tx, kept.bundle, kept.data)


def _update(tx: Tx, kept: KeptBundle, mask: types.BundleMask | None) -> BundleRecord:
    old = bundles.get(tx, kept.bundle.trust_domain.name)
    new = wire.replaced(old.data, kept, mask)
    return bundles.put(tx, new.bundle, new.data)


_Release = Callable[[Tx, TrustDomain, Sequence[str]], None]


def _refuse(_tx: Tx, domain: TrustDomain, referring: Sequence[str]) -> None:
    if referring:
        message = f"cannot delete bundle; federated with {len(referring)} registration entries"
        raise FinialError(_FEDERATED, message, subject=domain.name)


def _delete_entries(tx: Tx, _domain: TrustDomain, referring: Sequence[str]) -> None:
    for entry_id in referring:
        entries.remove(tx, entry_id)


def _dissociate(tx: Tx, domain: TrustDomain, referring: Sequence[str]) -> None:
    """Drop the reference; the revision rises, so that agents that sync by it learn of it."""

    def without(entry: RegistrationEntry) -> RegistrationEntry:
        left = tuple(each for each in entry.federates_with if each != domain)
        return replace(entry, federates_with=left)

    for entry_id in referring:
        entries.revise(tx, entry_id, without)


_RELEASES: Final[Mapping[int, _Release]] = MappingProxyType(
    {_Mode.RESTRICT: _refuse, _Mode.DELETE: _delete_entries, _Mode.DISSOCIATE: _dissociate}
)


def _note(event: str, outcomes: Sequence[_Outcome], caller: Caller) -> None:
    """Log how a batch went."""
    good = sum(outcome.status.code == 0 for outcome in outcomes)
    _log.info(event, extra=fields(count=good, refused=len(outcomes) - good, by=named(caller)))
