"""The Entry service: operators keep the entries, agents learn which of them they serve."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from finial.core.entry import RegistrationEntry
from finial.core.errors import FinialError, RefusedError
from finial.core.ids import TrustDomain
from finial.rpc.status import RpcError, StatusCode
from finial.runtime.chance import Chance
from finial.runtime.clock import Clock
from finial.runtime.log import fields
from finial.server.api import entryfilter, entrysync
from finial.server.api.authorized import Authorized
from finial.server.api.chain import LARGE, Caller, Endpoint, bidi, unary
from finial.server.api.entryfilter import EntryFilter
from finial.server.api.entryids import new_id
from finial.server.api.replies import encoded, failure, invalid, named
from finial.server.api.slices import Slices, parts
from finial.server.index.index import Index
from finial.server.store import entries
from finial.server.store.entries import EntryExistsError, Revision
from finial.server.store.errors import MissingError
from finial.server.store.records import EntryRecord
from finial.server.store.writer import Store
from finial.wire import entryframes, masks, paging, registry, statuses
from finial.wire.gen import spire_api_server_entry_v1 as entry_pb
from finial.wire.gen import spire_api_types as types
from finial.wire.paging import Page

_log = logging.getLogger("finial.server")

_PART = 500  # entries that are encoded between two looks at the time

_GONE = MissingError("entry not found")

_Created = entry_pb.BatchCreateEntryResponse.Result
_Updated = entry_pb.BatchUpdateEntryResponse.Result
_Deleted = entry_pb.BatchDeleteEntryResponse.Result


class EntryService:
    """Serves `spire.api.server.entry.v1.Entry`.

    Args:
        index: Answers every question.
        store: Takes writes.
        clock: Judges which entries have ended; measures slices.
        chance: Makes ids.
    """

    def __init__(self, index: Index, store: Store, *, clock: Clock, chance: Chance) -> None:
        self._index = index
        self._store = store
        self._clock = clock
        self._chance = chance

    def endpoints(self) -> tuple[Endpoint, ...]:
        """What is served."""
        service = entry_pb.Entry
        return (
            unary(service.CountEntries, self.count),
            unary(encoded(service.ListEntries), self.list),
            unary(encoded(service.GetEntry), self.get),
            unary(service.BatchCreateEntry, self.batch_create, most=LARGE),
            unary(service.BatchUpdateEntry, self.batch_update, most=LARGE),
            unary(service.BatchDeleteEntry, self.batch_delete, most=LARGE),
            unary(encoded(service.GetAuthorizedEntries), self.get_authorized),
            bidi(service.SyncAuthorizedEntries, self.sync_authorized, most=entrysync.MOST_BYTES),
        )

    # For operators.

    async def count(self, request: entry_pb.CountEntriesRequest, _: Caller) -> entry_pb.CountEntriesResponse:
        """How many entries match."""
        wanted = entryfilter.read(request.filter, self._index.trust_domain)
        count = len(self._index.entries) if wanted.empty else len(await self._found(wanted, Page()))
        return entry_pb.CountEntriesResponse(count=count)

    async def list(self, request: entry_pb.ListEntriesRequest, _: Caller) -> bytes:
        """A page of the entries that match, in the order of creation."""
        wanted = entryfilter.read(request.filter, self._index.trust_domain)
        page = paging.read(request.page_size, request.page_token)
        form = entryframes.former(masks.output_mask(request))
        found = await self._found(wanted, page)
        forms, slices = [], Slices(self._clock)
        for record in found:
            forms.append(form(record))
            if slices.over():
                await slices.turn()
        return entryframes.list_reply(forms, page.token([record.seq for record in found]))

    async def get(self, request: entry_pb.GetEntryRequest, _: Caller) -> bytes:
        """One entry."""
        if not request.id:
            raise invalid("missing ID")
        record = self._index.entries.get(request.id)
        if record is None:
            raise RpcError(StatusCode.NOT_FOUND, "entry not found")
        return entryframes.former(masks.output_mask(request))(record)

    async def batch_create(
        self, request: entry_pb.BatchCreateEntryRequest, caller: Caller
    ) -> entry_pb.BatchCreateEntryResponse:
        """Create entries; each item succeeds or fails on its own."""
        mask = masks.output_mask(request)
        response = entry_pb.BatchCreateEntryResponse()
        slices = Slices(self._clock)
        for part in parts(request.entries):
            read = []
            for message in part:
                read.append(self._read_new(message))
                if slices.over():
                    await slices.turn()
            made = iter(await self._create([entry for entry in read if isinstance(entry, RegistrationEntry)]))
            for entry in read:
                if isinstance(entry, FinialError):
                    response.results.add(status=failure(entry, "failed to convert entry"))
                else:
                    response.results.append(_created(entry, next(made), mask))
        _note("entries created", [result.status for result in response.results], caller)
        return response

    async def batch_update(
        self, request: entry_pb.BatchUpdateEntryRequest, caller: Caller
    ) -> entry_pb.BatchUpdateEntryResponse:
        """Change what the input mask selects of each entry; each item succeeds or fails on its own."""
        input_mask = request.input_mask if request.HasField("input_mask") else None
        trust_domain = self._index.trust_domain

        def change(message: types.Entry) -> tuple[str, Revision]:
            return message.id, lambda old: _changed(old, message, input_mask, trust_domain)

        outcomes: list[EntryRecord | FinialError] = []
        for part in parts(request.entries):
            outcomes += await self._revise([change(message) for message in part])
        mask = masks.output_mask(request)
        response = entry_pb.BatchUpdateEntryResponse(results=[_updated(each, mask) for each in outcomes])
        _note("entries updated", [result.status for result in response.results], caller)
        return response

    async def batch_delete(
        self, request: entry_pb.BatchDeleteEntryRequest, caller: Caller
    ) -> entry_pb.BatchDeleteEntryResponse:
        """Delete entries; each item succeeds or fails on its own."""
        outcomes: list[types.Status] = []
        for part in parts(request.ids):
            outcomes += await self._delete(part)
        results = [
            _Deleted(status=status, id=entry_id)
            for status, entry_id in zip(outcomes, request.ids, strict=True)
        ]
        _note("entries deleted", outcomes, caller)
        return entry_pb.BatchDeleteEntryResponse(results=results)

    # For agents.

    async def get_authorized(self, request: entry_pb.GetAuthorizedEntriesRequest, caller: Caller) -> bytes:
        """All entries that the calling agent may serve, in one message."""
        form = entryframes.former(masks.output_mask(request))
        authorized = Authorized(caller, self._index, self._clock)
        records = list(authorized.records())
        pieces, slices = [], Slices(self._clock, look_every=1)
        for at in range(0, len(records), _PART):
            pieces.append(entryframes.authorized_reply(map(form, records[at : at + _PART])))
            if slices.over():
                await slices.turn()
        authorized.check()
        return b"".join(pieces)  # encoded messages in sequence are one with the items of all

    async def sync_authorized(self, call: entrysync.SyncCall, caller: Caller) -> None:
        """What the calling agent may serve, in pages, and only what it does not have."""
        await entrysync.serve(call, Authorized(caller, self._index, self._clock), self._clock)

    # What these are made of.

    async def _found(self, wanted: EntryFilter, page: Page) -> Sequence[EntryRecord]:
        found: list[EntryRecord] = []
        slices = Slices(self._clock)
        for record in wanted.rows(self._index.entries, page.after):
            if wanted.wants(record):
                found.append(record)
                if len(found) == page.size:
                    break
            if slices.over():
                await slices.turn()
        return found

    def _read_new(self, message: types.Entry) -> RegistrationEntry | FinialError:
        message.id = message.id or new_id(self._clock, self._chance)
        try:
            return _read(message, self._index.trust_domain)
        except FinialError as error:
            return error

    async def _create(self, wanted: Sequence[RegistrationEntry]) -> Sequence[EntryRecord | FinialError]:
        if not wanted:
            return ()
        try:
            return await self._store.write(lambda tx: entries.create(tx, wanted))
        except FinialError as error:  # of the database: it took none of them
            return [error] * len(wanted)

    async def _revise(self, wanted: Sequence[tuple[str, Revision]]) -> Sequence[EntryRecord | FinialError]:
        try:
            return await self._store.write(lambda tx: entries.revise_all(tx, wanted))
        except FinialError as error:  # of the database: it took none of them
            return [error] * len(wanted)

    async def _delete(self, ids: Sequence[str]) -> Sequence[types.Status]:
        named = tuple(entry_id for entry_id in ids if entry_id)
        try:
            left = set(await self._store.write(lambda tx: entries.remove_all(tx, named)))
        except FinialError as error:
            return [_deleted(entry_id, error) for entry_id in ids]
        outcomes = []
        for entry_id in ids:
            outcomes.append(_deleted(entry_id, None if entry_id in left else _GONE))
            left.discard(entry_id)  # named twice, it is not there the second time
        return outcomes


def _read(message: types.Entry, trust_domain: TrustDomain) -> RegistrationEntry:
    """The entry that a caller describes; what only the server says of an entry is passed over."""
    message.created_at = message.revision_number = 0
    entry = registry.read_entry(message)
    entry.check_domain(trust_domain)
    return entry


def _changed(
    old: RegistrationEntry, message: types.Entry, mask: types.EntryMask | None, trust_domain: TrustDomain
) -> RegistrationEntry:
    return _read(masks.merged(registry.entry_message(old), message, mask), trust_domain)


def _created(
    entry: RegistrationEntry, outcome: EntryRecord | FinialError, mask: types.EntryMask | None
) -> _Created:
    if isinstance(outcome, EntryRecord):
        return _Created(status=statuses.ok(), entry=_shown(outcome, mask))
    if isinstance(outcome, EntryExistsError):
        existing = outcome.existing
        if registry.decode_entry(existing.data).similar(entry):
            status = statuses.status(StatusCode.ALREADY_EXISTS, outcome.message)
            return _Created(status=status, entry=_shown(existing, mask))
    return _Created(status=failure(outcome, "failed to create entry"))


def _deleted(entry_id: str, error: FinialError | None) -> types.Status:
    if not entry_id:
        return statuses.status(StatusCode.INVALID_ARGUMENT, "missing entry ID")
    return statuses.ok() if error is None else failure(error, "failed to delete entry")


def _updated(outcome: EntryRecord | FinialError, mask: types.EntryMask | None) -> _Updated:
    if isinstance(outcome, EntryRecord):
        return _Updated(status=statuses.ok(), entry=_shown(outcome, mask))
    if isinstance(outcome, MissingError):
        return _Updated(status=statuses.status(StatusCode.NOT_FOUND, "failed to update entry"))
    doing = "failed to convert entry" if isinstance(outcome, RefusedError) else "failed to update entry"
    return _Updated(status=failure(outcome, doing))


def _shown(record: EntryRecord, mask: types.EntryMask | None) -> types.Entry:
    return masks.cut(entryframes.message_of(record), mask)


def _note(event: str, outcomes: Iterable[types.Status], caller: Caller) -> None:
    """Log how a batch went."""
    codes = [status.code for status in outcomes]
    good = codes.count(0)
    _log.info(event, extra=fields(count=good, refused=len(codes) - good, by=named(caller)))
