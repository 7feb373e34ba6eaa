from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import cast

import pytest

from finial.agent.calm import Calm, passing
from finial.agent.link import Link
from finial.core.errors import FinialError, Kind, Reason
from finial.rpc import RpcError, StatusCode
from support.clock import FixedChance, ManualClock, settle
from support.rpc import run

AWAY = RpcError(StatusCode.UNAVAILABLE, "away")
SECOND = timedelta(seconds=1)
NOTHING = timedelta(0)


@dataclass
class Reached:
    """What a link is to it."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)


def calm(clock: ManualClock) -> tuple[Calm, asyncio.Event]:
    link = Reached()
    return Calm(cast("Link", link), clock=clock, chance=FixedChance(1.0)), link.reached


@pytest.mark.parametrize("code", StatusCode)
def test_which_errors_pass(code: StatusCode) -> None:
    away = {"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "CANCELLED", "ABORTED"}
    assert passing(RpcError(code, "x")) == (code.name in away)
    assert not passing(FinialError(Reason("x", Kind.UNAVAILABLE), "ours"))


def test_it_is_longer_each_time_and_over_when_something_goes_well() -> None:
    async def main() -> None:
        clock = ManualClock()
        one, reached = calm(clock)
        assert one.left() == NOTHING
        assert not one.since
        begun = clock.monotonic()
        for seconds in (0.5, 1, 2, 4, 8, 15, 15):
            reached.set()  # long ago
            assert one.failed(AWAY) == timedelta(seconds=seconds)
            assert one.failed(AWAY) == timedelta(seconds=seconds)  # others that were under way
            assert one.left() == timedelta(seconds=seconds)
            await clock.advance(timedelta(seconds=seconds))
            assert one.left() == NOTHING
        assert one.since == begun
        assert one.why is AWAY
        one.went_well()
        assert not one.since
        assert one.failed(AWAY) == timedelta(seconds=0.5)

    run(main())


def test_another_call_that_goes_well_ends_it() -> None:
    async def main() -> None:
        clock = ManualClock()
        one, reached = calm(clock)
        assert await one.wait(NOTHING)
        one.failed(AWAY)
        waiting = asyncio.ensure_future(one.wait(SECOND))
        await settle()
        assert not waiting.done()
        reached.set()
        assert await asyncio.wait_for(waiting, 10)
        assert one.left() == NOTHING
        assert one.since is not None  # it has not been tried yet

    run(main())


def test_it_is_waited_for_only_so_long() -> None:
    async def main() -> None:
        clock = ManualClock()
        one, _ = calm(clock)
        for _ in range(3):
            one.failed(AWAY)
            await clock.advance(one.left())
        one.failed(AWAY)  # four seconds
        waiting = asyncio.ensure_future(one.wait(SECOND))
        await clock.advance(SECOND)
        assert await asyncio.wait_for(waiting, 10) is False
        waiting = asyncio.ensure_future(one.wait(5 * SECOND))
        await clock.advance(3 * SECOND)
        assert await asyncio.wait_for(waiting, 10) is True

    run(main())


def test_a_server_that_asks_for_peace_is_left_in_peace() -> None:
    async def main() -> None:
        clock = ManualClock()
        one, reached = calm(clock)
        patient = RpcError(StatusCode.RESOURCE_EXHAUSTED, "busy", retry_after=3 * SECOND)
        assert one.failed(patient) == 3 * SECOND
        reached.set()
        assert one.left() == 3 * SECOND
        assert await one.wait(2 * SECOND) is False  # at once: it is of no use to wait
        waiting = asyncio.ensure_future(one.wait(4 * SECOND))
        await clock.advance(3 * SECOND)
        assert await asyncio.wait_for(waiting, 10) is True

    run(main())


def test_nobody_is_left_in_peace_for_days() -> None:
    async def main() -> None:
        one, _ = calm(ManualClock())
        patient = RpcError(StatusCode.RESOURCE_EXHAUSTED, "busy", retry_after=timedelta(days=11))
        assert one.failed(patient) == timedelta(minutes=10)

    run(main())
