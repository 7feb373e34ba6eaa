"""Making a server's registration entries those that the file of `finial dev` asks for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from finial.cli.session import PAGE_SIZE, BatchError, Session, refused
from finial.core.entry import RegistrationEntry
from finial.core.errors import Finding
from finial.core.ids import SpiffeID
from finial.wire.gen import spire_api_server_entry_v1 as entry_pb
from finial.wire.gen import spire_api_types as types
from finial.wire.registry import entry_message, id_message, read_entry
from finial.wire.statuses import error_of

ID_PREFIX = "dev-"
"""How the ids of entries begin that come from the file; all others are left alone."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What was done to entries.

    Args:
        created: Those that are new.
        updated: Those that say something else now.
        deleted: Those that are gone.
    """

    created: tuple[RegistrationEntry, ...] = ()
    updated: tuple[RegistrationEntry, ...] = ()
    deleted: tuple[RegistrationEntry, ...] = ()


async def bring_about(session: Session, parent: SpiffeID, wanted: Iterable[RegistrationEntry]) -> Changes:
    """Create, update and delete until the entries from the file, under a parent, are the wanted ones.

    Args:
        session: With the server.
        parent: Of all of them.
        wanted: What is to be there.

    Raises:
        FinialError: The server refuses something; what it did not refuse is done.
    """
    there = await _ours(session, parent)
    target = {entry.id: entry for entry in wanted}
    changes = Changes(
        tuple(entry for entry in target.values() if entry.id not in there),
        tuple(entry for entry in target.values() if entry.id in there and there[entry.id] != entry),
        tuple(entry for entry in there.values() if entry.id not in target),
    )
    findings: list[Finding] = []
    # New ones first: a process whose entry gives way to another is never without.
    if changes.created:
        create = entry_pb.BatchCreateEntryRequest(entries=map(entry_message, changes.created))
        created = await session.call(entry_pb.Entry.BatchCreateEntry, create)
        findings += _refused(changes.created, [each.status for each in created.results])
    if changes.updated:
        update = entry_pb.BatchUpdateEntryRequest(entries=map(entry_message, changes.updated))
        updated = await session.call(entry_pb.Entry.BatchUpdateEntry, update)
        findings += _refused(changes.updated, [each.status for each in updated.results])
    if changes.deleted:
        delete = entry_pb.BatchDeleteEntryRequest(ids=[entry.id for entry in changes.deleted])
        deleted = await session.call(entry_pb.Entry.BatchDeleteEntry, delete)
        findings += _refused(changes.deleted, [each.status for each in deleted.results])
    if findings:
        raise BatchError(findings)
    return changes


async def _ours(session: Session, parent: SpiffeID) -> Mapping[str, RegistrationEntry]:
    """The entries from the file that the server has, as they were written, by their ids."""
    found: dict[str, RegistrationEntry] = {}
    asked = entry_pb.ListEntriesRequest.Filter(by_parent_id=id_message(parent))
    token = ""
    while True:
        request = entry_pb.ListEntriesRequest(filter=asked, page_size=PAGE_SIZE, page_token=token)
        page = await session.call(entry_pb.Entry.ListEntries, request)
        for message in page.entries:
            if message.id.startswith(ID_PREFIX):
                found[message.id] = replace(read_entry(message), created_at=None, revision=0)
        token = page.next_page_token
        if not token:
            return found


def _refused(entries: Sequence[RegistrationEntry], statuses: Sequence[types.Status]) -> list[Finding]:
    errors = [(entry, error_of(status)) for entry, status in zip(entries, statuses, strict=True)]
    return [refused(error, entry.spiffe_id.text) for entry, error in errors if error is not None]
