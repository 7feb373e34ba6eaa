"""The writer: one thread, one transaction for all who wait, and an answer only when all is done."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from finial.core.bundle import Bundle
from finial.core.ids import TrustDomain
from finial.server.store import bundles, database, entries, errors
from finial.server.store.errors import StoreError
from finial.server.store.records import Change, ChangeKind
from finial.server.store.writer import MAX_UNITS, Store, Tx
from finial.wire import bundles as wire
from support.clock import FixedChance, ManualClock
from support.server_store import DOMAIN, an_entry, opened


def _rows(path: Path, statement: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(path) as connection:
        found = connection.execute(statement).fetchall()
    connection.close()
    return found


def _in_use(path: Path) -> bool:
    """Whether this process has a file open."""
    return path in {each.readlink() for each in Path("/proc/self/fd").iterdir() if each.is_symlink()}


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
            # The connection was given up, and with it the limit: there is room again. The file was not, or
            # the next to open it could take over from its log what has just been answered as failed.
            assert _in_use(tmp_path / "db-shm")
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


def test_an_index_that_cannot_apply_a_change_ends_the_server_and_answers_nobody(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "db") as world:
            watch = asyncio.create_task(world.store.watch())
            await world.create(an_entry("before"))
            assert not watch.done()

            def broken(_: Sequence[Change]) -> None:
                raise LookupError("a bug")

            world.index.subscribe(broken)
            for name in ("first", "second"):
                with pytest.raises(StoreError) as caught:
                    await world.create(an_entry(name))
                assert caught.value.reason is errors.DIVERGED
            with pytest.raises(StoreError, match="not what the database says"):
                await watch
            # What came first was durable when that was noticed; what came later was not even tried.
            assert [row[0] for row in _rows(tmp_path / "db", "SELECT id FROM entries")] == ["before", "first"]

    asyncio.run(main())


class _Panic(BaseException):
    """What a library in Rust raises, which is no Exception."""


@pytest.mark.parametrize("error", [_Panic(), StopIteration(), SystemExit()])
def test_nothing_that_a_unit_raises_ends_the_thread(tmp_path: Path, error: BaseException) -> None:
    async def main() -> None:
        async with opened(tmp_path / "db") as world:

            def panic(tx: Tx) -> None:
                entries.create(tx, [an_entry("gone")])
                raise error

            with pytest.raises(RuntimeError, match=f"ended by {type(error).__name__}"):
                await world.store.write(panic)
            await world.create(an_entry("web"))
            assert [entry.id for entry in world.index.entries.after(0)] == ["web"]

    asyncio.run(main())


def test_a_transaction_that_fails_is_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with opened(tmp_path / "db") as world:
            with pytest.raises(StoreError, match="no such table"):
                await world.store.write(lambda tx: tx.sql.exec_driver_sql("INSERT INTO nowhere VALUES (1)"))
            await world.create(an_entry("web"))

    with caplog.at_level("ERROR", logger="finial.server"):
        asyncio.run(main())
    (record,) = caplog.records
    assert record.message == "the database did not take a transaction"


def test_one_change_that_the_log_has_no_number_for_takes_no_other_with_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "db") as world:
            largest = Bundle(trust_domain=TrustDomain("other.test"), sequence=(1 << 64) - 1)
            await asyncio.gather(
                world.store.write(lambda tx: bundles.put(tx, largest, wire.encode(largest))),
                world.create(an_entry("web")),
            )
            assert world.index.entries.get("web") is not None
            await world.store.write(lambda tx: bundles.remove(tx, "other.test"))
            revisions = _rows(tmp_path / "db", "SELECT revision FROM changes WHERE kind = 'bundle'")
            assert revisions == [((1 << 63) - 1,)] * 2

    asyncio.run(main())


def test_a_thread_whose_loop_is_gone_finishes_what_it_has_and_ends(tmp_path: Path) -> None:
    path = tmp_path / "db"
    engine = database.open_engine(path)
    database.prepare(engine, path, DOMAIN, chance=FixedChance())
    started, released = threading.Event(), threading.Event()
    stores: list[Store] = []

    def slow(tx: Tx) -> None:
        started.set()
        assert released.wait(10)
        entries.create(tx, [an_entry("web")])

    async def main() -> None:
        stores.append(Store(engine, server="server", clock=ManualClock()))
        stores[0].start(lambda _changes, _position: None, lambda _: None)
        asyncio.ensure_future(stores[0].write(slow))  # noqa: RUF006 - it goes down with the loop
        await asyncio.to_thread(started.wait, 10)

    asyncio.run(main())
    released.set()
    stores[0]._thread.join(10)
    assert not stores[0]._thread.is_alive()
    assert _rows(path, "SELECT id FROM entries") == [("web",)]
    assert not _in_use(path)
    engine.dispose()
