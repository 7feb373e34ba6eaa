"""Agents that have seen more than this server: they wait, or a new epoch begins."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest

from finial.core.errors import FinialError, Kind, Reason
from finial.rpc import RpcError, StatusCode
from finial.server.push import failover
from finial.server.push.failover import Failover
from finial.server.store import database
from finial.server.store.transaction import Tx
from finial.server.store.writer import Store
from finial.wire.push import State
from support.clock import FixedChance, ManualClock, settle
from support.push_world import AGENT, FakeStore, World
from support.rpc import run
from support.server_store import opened

T = TypeVar("T")

_AHEAD = State("e1", 12, 0, bytes(16), bytes(16))


class _Scene:
    def __init__(self, *, alone: bool = False) -> None:
        self.world = World()
        self.store = self.world.store
        self.store.alone = alone
        self.failover = self.world.ground.failover

    def wait(self, held: State | None = _AHEAD) -> asyncio.Task[None]:
        return asyncio.ensure_future(self.failover.caught_up(AGENT, held))


def _another() -> FixedChance:
    """Draws another epoch than the database began with."""
    chance = FixedChance()
    chance.token(16)
    return chance


def _refusal(task: asyncio.Task[None]) -> RpcError:
    error = task.exception()
    assert isinstance(error, RpcError)
    assert error.code is StatusCode.UNAVAILABLE
    return error


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("held", [None, replace(_AHEAD, seq=10), replace(_AHEAD, epoch="other")])
def test_who_is_not_ahead_does_not_wait(alone: bool, held: State | None) -> None:
    async def main() -> None:
        scene = _Scene(alone=alone)
        await scene.failover.caught_up(AGENT, held)
        assert not scene.store.epochs

    run(main())


def test_who_is_ahead_waits_until_the_server_has_caught_up() -> None:
    async def main() -> None:
        scene = _Scene()
        task = scene.wait()
        scene.world.put("a")
        await settle()
        assert not task.done()
        scene.world.put("b")
        await task

    run(main())


def test_who_waits_for_too_long_is_told_when_to_come_back() -> None:
    async def main() -> None:
        scene = _Scene()
        task = scene.wait()
        await scene.world.clock.advance(failover.PATIENCE - timedelta(milliseconds=1))
        assert not task.done()
        await scene.world.clock.advance(timedelta(milliseconds=1))
        assert _refusal(task).retry_after == timedelta(seconds=5)
        scene.world.put("a", "b")  # nobody waits for that any more

    run(main())


def test_who_waits_and_gives_up_leaves_nothing_behind() -> None:
    async def main() -> None:
        scene = _Scene()
        task = scene.wait()
        await settle()
        task.cancel()
        await settle()
        assert task.cancelled()
        scene.world.put("a", "b")

    run(main())


def test_another_epoch_ends_the_wait() -> None:
    async def main() -> None:
        scene = _Scene()
        task = scene.wait(replace(_AHEAD, seq=11))
        await settle()
        scene.world.index.take_epoch("e2")
        scene.world.put("a")
        await task

    run(main())


def test_where_nobody_else_writes_the_database_was_put_back(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        scene = _Scene(alone=True)
        with caplog.at_level(logging.WARNING, logger="finial.server"):
            await asyncio.gather(*(scene.failover.caught_up(AGENT, _AHEAD) for _ in range(3)))
        (epoch,) = scene.store.epochs
        assert scene.world.index.epoch == epoch
        assert caplog.text.count("put back to an earlier state") == 1

    run(main())


def test_there_is_at_most_one_new_epoch_in_a_minute() -> None:
    async def main() -> None:
        scene = _Scene(alone=True)
        await scene.failover.caught_up(AGENT, _AHEAD)
        await scene.world.clock.advance(timedelta(seconds=20))
        liar = replace(_AHEAD, epoch=scene.world.index.epoch, seq=2**64 - 1)
        task = scene.wait(liar)
        await settle()
        assert _refusal(task).retry_after == timedelta(seconds=40)
        await scene.world.clock.advance(timedelta(seconds=40))
        await scene.failover.caught_up(AGENT, liar)
        assert len(scene.store.epochs) == 2

    run(main())


def test_an_agent_that_goes_meanwhile_does_not_take_the_epoch_with_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "db") as stored:
            known = stored.index.epoch
            watch = Failover(stored.index, stored.store, clock=ManualClock(), chance=_another())
            ahead = replace(_AHEAD, epoch=known, seq=stored.index.position + 1)
            task = asyncio.ensure_future(watch.caught_up(AGENT, ahead))
            await settle()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            written = await stored.store.write(lambda tx: database.epoch(tx.sql))
            await settle()
            assert written == stored.index.epoch != known

    run(main())


def test_a_database_that_takes_no_epoch_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        scene = _Scene(alone=True)
        scene.store.error = FinialError(Reason("store-full", Kind.UNAVAILABLE), "the disk is full")
        gone, stays = scene.wait(), scene.wait()
        gone.cancel()
        with (
            caplog.at_level(logging.ERROR, logger="finial.server"),
            pytest.raises(FinialError, match="the disk is full"),
        ):
            await stays
        assert "does not take a new epoch" in caplog.text
        assert scene.world.index.epoch == "e1"

    run(main())


def test_a_server_that_ends_meanwhile_says_nothing() -> None:
    class Stuck(FakeStore):
        async def write(self, work: Callable[[Any], T]) -> T:
            answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
            return await answer

    async def main() -> None:
        world = World()
        store = Stuck()
        store.alone = True
        watch = Failover(world.index, cast("Store", store), clock=ManualClock(), chance=FixedChance())
        task = asyncio.ensure_future(watch.caught_up(AGENT, _AHEAD))
        await settle()
        assert watch._renewal is not None
        watch._renewal.cancel()
        await settle()
        assert task.cancelled()

    run(main())


def test_a_new_epoch_outlives_the_server(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "db") as stored:
            watch = Failover(stored.index, stored.store, clock=ManualClock(), chance=_another())
            await watch.caught_up(AGENT, replace(_AHEAD, epoch=stored.index.epoch))
            epoch = stored.index.epoch

            def read(tx: Tx) -> str:
                return database.epoch(tx.sql)

            assert await stored.store.write(read) == epoch
        async with opened(tmp_path / "db") as again:
            assert again.index.epoch == epoch

    run(main())
