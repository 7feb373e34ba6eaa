"""What differs between the index and the store's content, as changes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from finial.server.index.entries import EntryIndex
from finial.server.index.ordered import Ordered
from finial.server.store.records import BundleRecord, Change, ChangeKind, EntryRecord, NodeRecord
from finial.server.store.snapshot import Snapshot


class Held(Protocol):
    """What the index has."""

    entries: EntryIndex
    nodes: Ordered[NodeRecord]
    bundles: Ordered[BundleRecord]


def differences(held: Held, snapshot: Snapshot) -> list[Change]:
    """The changes that make the content of the index that of the store.

    Args:
        held: The index.
        snapshot: The store's content.
    """
    bundles = {record.bundle.trust_domain.name: record for record in snapshot.bundles}
    nodes = {record.id: record for record in snapshot.nodes}
    entries = {record.id: record for record in snapshot.entries}
    return [
        *_gone(ChangeKind.ENTRY, held.entries.ids(), entries),
        *_gone(ChangeKind.NODE, held.nodes.keys(), nodes),
        *_gone(ChangeKind.BUNDLE, held.bundles.keys(), bundles),
        *(
            Change(ChangeKind.BUNDLE, name, record)
            for name, record in bundles.items()
            if held.bundles.get(name) != record
        ),
        *(
            Change(ChangeKind.NODE, name, record)
            for name, record in nodes.items()
            if held.nodes.get(name) != record
        ),
        *(
            Change(ChangeKind.ENTRY, name, record, record.revision)
            for name, record in entries.items()
            if not _same(held.entries.get(name), record)
        ),
    ]


def _gone(kind: ChangeKind, held: Iterable[str], there: Mapping[str, object]) -> Iterator[Change]:
    return (Change(kind, key, None) for key in held if key not in there)


def _same(old: EntryRecord | None, new: EntryRecord) -> bool:
    """Whether two records say the same; all that an entry says is in its encoded form."""
    return old is not None and (old.seq, old.data) == (new.seq, new.data)
