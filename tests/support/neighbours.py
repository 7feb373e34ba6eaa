"""Several stores over one file, each with a plain mirror of what it was told."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from finial.core.bundle import Bundle
from finial.core.entry import RegistrationEntry
from finial.core.ids import TrustDomain
from finial.server.store import bundles, database, entries, pruning, snapshot
from finial.server.store.records import BundleRecord, Change, ChangeKind, EntryRecord, NodeRecord, Record
from finial.server.store.snapshot import Snapshot
from finial.server.store.transaction import Tx
from finial.server.store.writer import Store
from finial.wire import bundles as wire
from support.clock import FixedChance, ManualClock
from support.server_store import DOMAIN

NODE = NodeRecord(
    seq=0, id="spiffe://example.org/spire/agent/test/one", attestation_type="test", serial="1", expires_at=9
)

Contents = dict[tuple[str, str], object]


@dataclass
class Mirror:
    """An index without an index: what is so, and each thing that it was told, in order."""

    contents: Contents = field(default_factory=dict)
    position: int = 0
    told: list[tuple[list[tuple[str, bool]], int]] = field(default_factory=list)
    reloads: int = 0

    def apply(self, changes: Sequence[Change], position: int) -> None:
        assert position > self.position
        for change in changes:
            key = (change.kind.value, change.key)
            if change.record is None:
                self.contents.pop(key, None)
            else:
                self.contents[key] = plain(change.record)
        self.position = position
        self.told.append(([(change.key, change.record is not None) for change in changes], position))

    def reload(self, found: Snapshot) -> None:
        self.contents = contents_of(found)
        self.reloads += 1


@dataclass
class Neighbour:
    """One server's store."""

    store: Store
    mirror: Mirror
    path: Path

    async def create(self, *wanted: RegistrationEntry) -> None:
        """Create entries, each of which must be accepted."""
        results = await self.store.write(lambda tx: entries.create(tx, wanted))
        assert all(isinstance(result, EntryRecord) for result in results), results

    async def bundle(self, name: str, sequence: int) -> None:
        """Set the bundle of a trust domain."""
        bundle = Bundle(trust_domain=TrustDomain(name), sequence=sequence)
        await self.store.write(lambda tx: bundles.put(tx, bundle, wire.encode(bundle)))

    async def revise(self, name: str, hint: str) -> None:
        """Give an entry another hint."""
        await self.store.write(lambda tx: entries.revise(tx, name, lambda entry: replace(entry, hint=hint)))

    async def remove(self, name: str) -> None:
        """Delete an entry."""
        await self.store.write(lambda tx: entries.remove(tx, name))

    async def prune(self) -> None:
        """Remove what has ended, rows of the log too."""
        await self.store.write(lambda tx: pruning.prune(tx, DOMAIN.name))

    def up_to_date(self) -> bool:
        """Whether it has been told everything that the file says."""
        return self.mirror.contents == truth(self.path)


@asynccontextmanager
async def neighbour(
    path: Path, name: str = "one", *, clock: ManualClock | None = None
) -> AsyncIterator[Neighbour]:
    """A server's store over this file, which others may have open too."""
    engine = database.open_engine(path)
    database.prepare(engine, path, DOMAIN, chance=FixedChance())
    store, mirror = Store(engine, server=name, clock=clock or ManualClock(), alone=False), Mirror()
    store.start(mirror.apply, mirror.reload)
    try:
        mirror.contents = contents_of(await store.write(snapshot.read))
        yield Neighbour(store, mirror, path)
    finally:
        await store.close()


def plain(record: Record) -> object:
    """A record as a value that can be compared."""
    if isinstance(record, EntryRecord):
        return tuple(getattr(record, name) for name in EntryRecord.__slots__)
    return record


def contents_of(found: Snapshot) -> Contents:
    """What a snapshot says."""
    contents: Contents = {}
    for entry in found.entries:
        contents[ChangeKind.ENTRY.value, entry.id] = plain(entry)
    for node in found.nodes:
        contents[ChangeKind.NODE.value, node.id] = node
    for record in found.bundles:
        assert isinstance(record, BundleRecord)
        contents[ChangeKind.BUNDLE.value, record.bundle.trust_domain.name] = record
    return contents


def truth(path: Path) -> Contents:
    """What the file says, read past all stores."""
    engine = database.open_engine(path)
    try:
        with engine.begin() as connection:
            return contents_of(snapshot.read(Tx(connection, 0)))
    finally:
        engine.dispose()


def tamper(path: Path, *statements: str) -> None:
    """Change the file past all stores."""
    connection = sqlite3.connect(path, timeout=10)
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()
