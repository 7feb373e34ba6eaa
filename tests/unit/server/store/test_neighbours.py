"""Several stores over one database: what fails on the way, what is cut off, in whatever order things come."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.pool import PoolProxiedConnection

from finial.server.store import bundles, database, entries, errors, nodes, pruning, snapshot
from finial.server.store.errors import MissingError, StoreError
from finial.server.store.snapshot import Snapshot
from finial.server.store.transaction import Tx
from finial.server.store.writer import Store
from support.clock import FixedChance, ManualClock
from support.neighbours import NODE, Neighbour, neighbour, tamper
from support.server_store import DOMAIN, an_entry

AGED = pruning.LOG_AGE + timedelta(hours=1)


@pytest.mark.parametrize("then", ["writing", "reading", "following"])
@pytest.mark.parametrize("after", [True, False])
def test_a_commit_of_which_nobody_knows_whether_it_took_place_is_looked_for(
    tmp_path: Path, after: bool, then: str
) -> None:
    async def main() -> None:
        path = tmp_path / "db"
        async with neighbour(path) as one:
            await one.create(an_entry("a"))
            dialect = one.store._engine.dialect
            real = dialect.do_commit

            def failing(connection: PoolProxiedConnection) -> None:
                if after:
                    real(connection)
                raise sqlite3.OperationalError("disk I/O error")

            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(dialect, "do_commit", failing)
                with pytest.raises(StoreError, match="disk I/O error"):
                    await one.create(an_entry("b"))
            assert one.mirror.told == [([("a", True)], 1)]
            if then == "writing":
                await one.create(an_entry("c"))
            elif then == "reading":
                await one.store.write(lambda _: None)
            else:
                await one.store.follow()
            assert (("entry", "b") in one.mirror.contents) is after
            assert one.up_to_date()

    asyncio.run(main())


@pytest.mark.parametrize("what", ["_apply", "_reload"])
def test_an_index_that_cannot_take_in_what_a_neighbour_did_answers_nobody(tmp_path: Path, what: str) -> None:
    async def main() -> None:
        path, clock = tmp_path / "db", ManualClock()
        async with neighbour(path, "one", clock=clock) as one, neighbour(path, "two", clock=clock) as two:
            await one.create(an_entry("a"))
            if what == "_reload":
                await clock.advance(AGED)
                await one.prune()

            def broken(*_: object) -> None:
                raise LookupError("a bug")

            setattr(two.store, what, broken)
            watch = asyncio.ensure_future(two.store.watch())
            for again in (two.store.follow(), two.store.follow(), two.create(an_entry("b"))):
                with pytest.raises(StoreError) as caught:
                    await again
                assert caught.value.reason is errors.DIVERGED
            with pytest.raises(StoreError, match="not what the database says"):
                await watch

    asyncio.run(main())


def test_a_row_of_a_neighbour_that_cannot_be_read_lets_nobody_write_as_if_nothing_were(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        path = tmp_path / "db"
        async with neighbour(path, "one") as one, neighbour(path, "two") as two:
            await one.store.write(lambda tx: nodes.put(tx, NODE))
            tamper(path, "UPDATE nodes SET selectors = 'no json'")
            for act in (two.create(an_entry("a")), two.store.follow()):
                with pytest.raises(StoreError, match="row that cannot be read") as caught:
                    await act
                assert caught.value.reason is errors.DAMAGED
            assert two.mirror.contents == {}
            tamper(path, "UPDATE nodes SET selectors = '[]'")
            await two.create(an_entry("a"))
            assert two.up_to_date()
            assert not two.store._failed.is_set()

    asyncio.run(main())


def test_a_unit_that_is_refused_still_learns_nothing_wrong(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "db"
        async with neighbour(path, "one") as one, neighbour(path, "two") as two:
            await one.create(an_entry("a"))
            refused, followed = await asyncio.gather(
                two.store.write(lambda tx: entries.remove(tx, "nobody")),
                two.store.follow(),
                return_exceptions=True,
            )
            assert isinstance(refused, StoreError)
            assert followed is None
            assert two.up_to_date()

    asyncio.run(main())


def test_a_closed_store_follows_nobody(tmp_path: Path) -> None:
    async def main() -> None:
        async with neighbour(tmp_path / "db") as one:
            await one.store.close()
            with pytest.raises(StoreError, match="closed"):
                await one.store.follow()

    asyncio.run(main())


def test_what_was_durable_and_never_applied_is_read_at_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "db"
    started, released = threading.Event(), threading.Event()
    stores: list[Store] = []

    def slow(tx: Tx) -> None:
        started.set()
        assert released.wait(10)
        entries.create(tx, [an_entry("a")])

    async def killed() -> None:
        engine = database.open_engine(path)
        database.prepare(engine, path, DOMAIN, chance=FixedChance())
        stores.append(Store(engine, server="one", clock=ManualClock()))

        def never(*_: object) -> None:
            raise AssertionError

        stores[0].start(never, never)
        await stores[0].write(snapshot.read)
        asyncio.ensure_future(stores[0].write(slow))  # noqa: RUF006 - it goes down with the loop
        await asyncio.to_thread(started.wait, 10)

    async def again() -> None:
        async with neighbour(path) as one:
            assert one.up_to_date()
            assert list(one.mirror.contents) == [("entry", "a")]
            await one.create(an_entry("b"))
            assert one.mirror.told == [([("b", True)], 2)]

    asyncio.run(killed())
    released.set()
    stores[0]._thread.join(10)
    assert not stores[0]._thread.is_alive()
    stores[0]._engine.dispose()
    asyncio.run(again())


NAMES = ("a", "b", "c")
ACTIONS = st.tuples(
    st.integers(0, 2),
    st.sampled_from(
        ["create", "revise", "remove", "node", "bundle", "unbundle", "age", "prune", "follow", "restart"]
    ),
    st.sampled_from(NAMES),
)


async def _act(at: Neighbour, action: str, name: str, count: int) -> None:
    with contextlib.suppress(MissingError):
        if action == "create":
            await at.store.write(lambda tx: entries.create(tx, [an_entry(name)]))
        elif action == "revise":
            await at.revise(name, f"x{count}")
        elif action == "remove":
            await at.remove(name)
        elif action == "node":
            await at.store.write(lambda tx: _put_node(tx, f"{NODE.id}{name}", str(count)))
        elif action == "bundle":
            await at.bundle(f"{name}.test", count)
        elif action == "unbundle":
            await at.store.write(lambda tx: bundles.remove(tx, f"{name}.test"))
        elif action == "prune":
            await at.prune()
        else:
            await at.store.follow()


def _put_node(tx: Tx, agent_id: str, serial: str) -> None:
    old = nodes.find(tx, agent_id)
    nodes.put(tx, replace(old or replace(NODE, id=agent_id), serial=serial))


@settings(max_examples=20, deadline=None)
@given(st.lists(ACTIONS, max_size=25))
def test_whoever_has_written_or_followed_knows_everything(
    tmp_path_factory: pytest.TempPathFactory, actions: list[tuple[int, str, str]]
) -> None:
    path = tmp_path_factory.mktemp("stores") / "db"

    async def main() -> None:
        clock = ManualClock()
        stacks = [AsyncExitStack() for _ in range(3)]
        servers = [
            await stack.enter_async_context(neighbour(path, f"s{number}", clock=clock))
            for number, stack in enumerate(stacks)
        ]
        for count, (who, action, name) in enumerate(actions):
            at = servers[who]
            if action == "age":
                await clock.advance(AGED / 3)
            elif action == "restart":
                await stacks[who].aclose()
                servers[who] = await stacks[who].enter_async_context(neighbour(path, f"s{who}", clock=clock))
                assert servers[who].up_to_date()
            else:
                heard = len(at.mirror.told) + at.mirror.reloads
                await _act(at, action, name, count)
                if action == "follow" or len(at.mirror.told) + at.mirror.reloads > heard:
                    assert at.up_to_date()
        for at in servers:
            await at.store.follow()
            assert at.up_to_date()
        for stack in stacks:
            await stack.aclose()

    asyncio.run(main())


def test_two_that_write_at_once_end_up_with_the_same(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "db"
        async with neighbour(path, "one") as one, neighbour(path, "two") as two:

            async def busy(at: Neighbour, mine: str) -> None:
                for number in range(40):
                    await at.create(an_entry(f"{mine}{number}"))
                    if number % 3 == 0:
                        await at.revise(f"{mine}{number}", "x")
                    if number % 4 == 0:
                        await at.remove(f"{mine}{number}")
                    assert (("entry", f"{mine}{number}") in at.mirror.contents) is bool(number % 4)

            await asyncio.gather(busy(one, "one-"), busy(two, "two-"))
            await asyncio.gather(one.store.follow(), two.store.follow())
            assert one.up_to_date()
            assert two.up_to_date()
            assert one.mirror.position == two.mirror.position

    asyncio.run(main())


def test_a_snapshot_that_cannot_be_read_is_no_reason_to_go_on(tmp_path: Path) -> None:
    async def main() -> None:
        path, clock = tmp_path / "db", ManualClock()
        async with neighbour(path, "one", clock=clock) as one, neighbour(path, "two", clock=clock) as two:
            await one.store.write(lambda tx: nodes.put(tx, NODE))
            await clock.advance(AGED)
            await one.prune()
            tamper(path, "UPDATE nodes SET selectors = 'no json'")
            with pytest.raises(StoreError, match="row that cannot be read"):
                await two.create(an_entry("a"))
            found: list[Snapshot] = []
            two.store._reload = found.append
            tamper(path, "UPDATE nodes SET selectors = '[]'")
            await two.create(an_entry("a"))
            assert [len(each.nodes) for each in found] == [1]

    asyncio.run(main())
