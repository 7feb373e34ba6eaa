"""A store on a real file, with its index, as the server has them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from finial.core.entry import RegistrationEntry
from finial.core.ids import SpiffeID, TrustDomain
from finial.core.selectors import Selector
from finial.server.index.index import Index
from finial.server.store import database, entries, snapshot
from finial.server.store.records import EntryRecord
from finial.server.store.writer import Store
from support.clock import FixedChance, ManualClock

DOMAIN = TrustDomain("example.org")


@dataclass
class Stored:
    """What a test works with."""

    store: Store
    index: Index
    clock: ManualClock
    epoch: str

    async def create(self, *wanted: RegistrationEntry) -> list[EntryRecord]:
        """Create entries, each of which must be accepted."""
        results = await self.store.write(lambda tx: entries.create(tx, wanted))
        records = [result for result in results if isinstance(result, EntryRecord)]
        assert len(records) == len(results), results
        return records


@asynccontextmanager
async def opened(
    path: Path, *, domain: TrustDomain = DOMAIN, clock: ManualClock | None = None
) -> AsyncIterator[Stored]:
    """The store in this file, loaded into an index."""
    engine = database.open_engine(path)
    epoch = database.prepare(engine, path, domain, chance=FixedChance())
    clock = clock or ManualClock()
    store, index = Store(engine, server="server", clock=clock), Index(domain)
    store.start(index.apply, index.reload)
    try:
        found = await store.write(snapshot.read)
        index.load(found)
        yield Stored(store, index, clock, epoch)
    finally:
        await store.close()


def an_entry(
    name: str = "web", *, parent: str = "node", selectors: tuple[str, ...] = ("unix:uid:0",), **more: object
) -> RegistrationEntry:
    """An entry whose id and path are its name."""
    values: dict[str, object] = {
        "id": name,
        "spiffe_id": SpiffeID(f"spiffe://example.org/{name}"),
        "parent_id": SpiffeID(f"spiffe://example.org/{parent}"),
        "selectors": tuple(map(Selector.parse, selectors)),
        **more,
    }
    return RegistrationEntry(**values)  # type: ignore[arg-type]  # what a test names
