"""The writer: one thread, one transaction for all who wait, and an answer only when all is done."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from finial.server.store import entries, errors
from finial.server.store.errors import StoreError
from finial.server.store.records import Change, ChangeKind
from finial.server.store.writer import MAX_UNITS, Tx
from support.server_store import an_entry, opened


def _rows(path: Path, statement: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(path) as connection:
        found = connection.execute(statement).fetchall()
    connection.close()
    return found


def test_who_is_answered_is_in_the_index_and_on_the_disk(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "db") as world:
            await world.create(an_entry("web"))
            assert world.index.entries.get("web") is not None
            assert _rows(tmp_path / "db", "SELECT id FROM entries") == [("web",)]
            assert _rows(tmp_path / "db", "SELECT server, kind, key, revision FROM changes") == [
                ("server", "entry", "web", 0)
            ]

    asyncio.run(main())


def test_waiting_units_share_a_transaction(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "db") as world:
            holding, released = threading.Event(), threading.Event()
            batches: list[int] = []
            world.index.subscribe(lambda changes: batches.append(len(changes)))

            def hold(_: Tx) -> None:
                holding.set()
                assert released.wait(10)

            first = asyncio.create_task(world.store.write(hold))
            await asyncio.to_thread(holding.wait, 10)
            waiting = [
                asyncio.create_task(world.store.write(partial(entries.create, entries=[an_entry(f"e{n}")])))
                for n in range(MAX_UNITS + 4)
            ]
            await world.clock.sleep(world.clock.now() - world.clock.now())  # the tasks have queued
            released.set()
            await asyncio.gather(first, *waiting)
            assert batches == [MAX_UNITS, 4]

    asyncio.run(main())


def test_a_full_disk_is_an_error_for_who_asked_and_no_end(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "db") as world:
            await world.create(an_entry("kept"))
            pages = _rows(tmp_path / "db", "PRAGMA page_count")[0][0]

            def fill(tx: Tx) -> None:
                tx.sql.exec_driver_sql(f"PRAGMA max_page_count={pages}")
                entries.create(tx, [an_entry(f"e{n}", hint="x" * 1000) for n in range(200)])

            with pytest.raises(StoreError, match="did not take the write.*full") as caught:
                await world.store.write(fill)
            assert caught.value.reason is errors.UNAVAILABLE
            assert [entry.id for entry in world.index.entries.after(0)] == ["kept"]
            # The connection was given up, and with it the limit: there is room again.
            await world.create(an_entry("later"))
            assert [row[0] for row in _rows(tmp_path / "db", "SELECT id FROM entries")] == ["kept", "later"]

    asyncio.run(main())


def test_a_broken_constraint_is_the_units_own_affair(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "db") as world:

            def twice(tx: Tx) -> None:
                for _ in range(2):
                    tx.sql.exec_driver_sql("INSERT INTO meta VALUES ('same', 'value')")

            results = await asyncio.gather(
                world.store.write(twice),
                world.store.write(lambda tx: entries.create(tx, [an_entry("web")])),
                return_exceptions=True,
            )
            assert isinstance(results[0], StoreError)
            assert results[0].reason is errors.EXISTS
            assert world.index.entries.get("web") is not None

    asyncio.run(main())


def test_a_caller_that_goes_away_takes_nothing_back(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "db") as world:
            started, released = threading.Event(), threading.Event()

            def slow(tx: Tx) -> None:
                started.set()
                assert released.wait(10)
                entries.create(tx, [an_entry("web")])

            task = asyncio.create_task(world.store.write(slow))
            await asyncio.to_thread(started.wait, 10)
            task.cancel()
            released.set()
            with pytest.raises(asyncio.CancelledError):
                await task
            await world.store.write(lambda _: None)
            assert world.index.entries.get("web") is not None

    asyncio.run(main())


def test_a_closed_store_says_so_and_has_finished_what_waited(tmp_path: Path) -> None:
    async def main() -> None:
        seen: list[Sequence[Change]] = []
        async with opened(tmp_path / "db") as world:
            world.index.subscribe(seen.append)
            last = asyncio.create_task(world.store.write(lambda tx: entries.create(tx, [an_entry("web")])))
            await world.clock.sleep(world.clock.now() - world.clock.now())
            await world.store.close()
            await last
            with pytest.raises(StoreError, match="closed"):
                await world.store.write(lambda _: None)
        assert [change.kind for changes in seen for change in changes] == [ChangeKind.ENTRY]

    asyncio.run(main())
