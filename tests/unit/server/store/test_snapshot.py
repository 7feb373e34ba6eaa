"""The whole content, with the place in the log that it goes up to."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from pathlib import Path

from finial.core.bundle import Bundle
from finial.core.ids import TrustDomain
from finial.server.store import bundles, entries, pruning, snapshot
from finial.server.store.transaction import Tx
from finial.wire import bundles as wire_bundles
from support.server_store import DOMAIN, Stored, an_entry, opened

DOMAINS = tuple(map(TrustDomain, ("b.test", "a.test")))


def _put(bundle: Bundle, tx: Tx) -> None:
    bundles.put(tx, bundle, wire_bundles.encode(bundle))


async def _prepare(world: Stored) -> None:
    for domain in DOMAINS:
        bundle = Bundle(trust_domain=domain)
        await world.store.write(partial(_put, bundle))
    await world.create(
        an_entry("both", federates_with=DOMAINS),
        an_entry("one", federates_with=DOMAINS[:1]),
        an_entry("none"),
    )


def test_entries_name_their_domains_however_they_are_read(tmp_path: Path) -> None:
    async def main() -> None:
        expected = {"both": ("a.test", "b.test"), "one": ("b.test",), "none": ()}
        async with opened(tmp_path / "db") as world:
            await _prepare(world)
            assert {each.id: each.federates for each in world.index.entries.after(0)} == expected
        async with opened(tmp_path / "db") as world:
            assert {each.id: each.federates for each in world.index.entries.after(0)} == expected
            ids = ["none", "both", "one", "nobody"]
            found = await world.store.write(lambda tx: list(entries.present(tx.sql, ids)))
            assert {each.id: each.federates for each in found} == expected
            assert (await world.store.write(lambda tx: entries.get(tx, "both"))).federates == expected["both"]
            read = await world.store.write(snapshot.read)
            copies = {id(name) for each in read.entries for name in each.federates}
            assert len(copies) == 2
            assert len({id(each.parent_id) for each in read.entries}) == 1
            assert len({id(each.created_at) for each in read.entries}) == 1

    asyncio.run(main())


def test_the_position_is_that_of_the_last_change_though_its_row_has_been_pruned(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "db") as world:
            assert (world.index.position, world.index.epoch) == (0, world.epoch)
            await _prepare(world)
            assert world.index.position == 5
            await world.clock.advance(pruning.LOG_AGE + timedelta(seconds=1))
            await world.store.write(lambda tx: pruning.prune(tx, DOMAIN.name))
            read = await world.store.write(snapshot.read)
            assert (read.position, read.epoch) == (5, world.epoch)
        async with opened(tmp_path / "db") as world:
            assert (world.index.position, world.index.epoch) == (5, world.epoch)

    asyncio.run(main())
