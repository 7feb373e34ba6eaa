"""Time of a simulation: it passes only when everything else has come to rest."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from support.clock import START, ManualClock

_ENOUGH_TURNS = 200_000  # of the loop; what never rests would hold the clock for ever
_SLACK = 1e-3  # seconds
_ROUNDING = 1e-6  # seconds; a sleep that ends too early by less than a timedelta can say would never end

Wakeable = Callable[[], bool]


class SimClock(ManualClock):
    """A clock whose sleepers wake in the order of their times, each when all before it are done."""

    def __init__(self) -> None:
        super().__init__(START)
        self._due: list[tuple[float, int, Wakeable]] = []
        # When the wall clock was set, on the other scale, and to what.
        self._set_at: list[tuple[float, datetime]] = [(self._seconds, START)]

    def now(self) -> datetime:
        begin, wall = self._set_at[-1]
        return wall + timedelta(seconds=self._seconds - begin)

    async def sleep(self, duration: timedelta) -> None:
        if duration <= timedelta(0):
            await asyncio.sleep(0)  # noqa: TID251 - yields, and waits for nothing
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake() -> bool:
            if waiter.done():
                return False
            waiter.set_result(None)
            return True

        self._at(duration.total_seconds() + _ROUNDING, wake)
        await waiter

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Have a function called when so much time has passed."""

        def wake() -> bool:
            call()
            return True

        self._at(seconds, wake)

    def jump(self, duration: timedelta) -> None:
        self._set_at.append((self._seconds, self.now() + duration))

    def walls(self, since: float) -> list[tuple[float, float]]:
        """What the wall clock has shown from an instant of the other scale on, as spans.

        Args:
            since: Seconds on the scale that only rises.
        """
        spans = []
        ends = [*(begin for begin, _ in self._set_at[1:]), self._seconds]
        for (begin, wall), end in zip(self._set_at, ends, strict=True):
            if end >= since:
                late = max(since - begin, 0.0)
                at = wall.timestamp()
                spans.append((at + late - _SLACK, at + end - begin + _SLACK))
        return spans

    async def advance(self, duration: timedelta) -> None:
        end = self._seconds + duration.total_seconds()
        await at_rest()
        while self._due and self._due[0][0] <= end:
            at, _, wake = heapq.heappop(self._due)
            self._seconds = max(at, self._seconds)
            if wake():
                await at_rest()
        self._seconds = end
        await at_rest()

    def _at(self, seconds: float, wake: Wakeable) -> None:
        self._count += 1
        heapq.heappush(self._due, (self._seconds + seconds, self._count, wake))


async def at_rest() -> None:
    """Return when no task has anything to do before time passes."""
    loop: Any = asyncio.get_running_loop()
    for _ in range(_ENOUGH_TURNS):
        await asyncio.sleep(0)  # noqa: TID251 - yields, and waits for nothing
        if not loop._ready:
            return
    raise AssertionError("something never comes to rest")
