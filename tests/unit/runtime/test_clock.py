"""Clocks: the machine's, and waiting that ends."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from finial.runtime.clock import SystemClock, wait_at_most
from support.clock import START, ManualClock

SECOND = timedelta(seconds=1)


def test_the_machines_clock_is_aware_and_rises() -> None:
    clock = SystemClock()
    first, second = clock.monotonic(), clock.monotonic()
    assert second >= first
    assert clock.now().tzinfo is UTC
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(minutes=1)  # noqa: TID251 - compared with it


def test_sleeping_for_no_time_or_less_returns() -> None:
    async def main() -> None:
        await SystemClock().sleep(timedelta(0))
        await SystemClock().sleep(-SECOND)

    asyncio.run(main())


def test_a_wait_ends_with_the_event_or_with_its_time() -> None:
    async def main() -> None:
        clock, event = ManualClock(), asyncio.Event()
        late = asyncio.create_task(wait_at_most(clock, event, SECOND))
        await clock.advance(SECOND)
        assert await late is False
        early = asyncio.create_task(wait_at_most(clock, event, SECOND))
        await clock.advance(SECOND / 2)
        event.set()
        assert await early is True
        assert await wait_at_most(clock, event, SECOND) is True

    asyncio.run(main())


def test_the_tests_clock_wakes_sleepers_in_order() -> None:
    async def main() -> None:
        clock, seen = ManualClock(), list[tuple[str, float]]()

        async def sleeper(name: str, seconds: float) -> None:
            await clock.sleep(timedelta(seconds=seconds))
            seen.append((name, (clock.now() - START).total_seconds()))

        tasks = [asyncio.create_task(sleeper(*each)) for each in (("b", 2.0), ("a", 1.0), ("c", 9.0))]
        await clock.advance(3 * SECOND)
        assert seen == [("a", 1.0), ("b", 2.0)]
        clock.jump(timedelta(days=1))
        assert seen == [("a", 1.0), ("b", 2.0)]
        tasks[2].cancel()

    asyncio.run(main())
