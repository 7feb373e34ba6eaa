"""Time and chance that a test controls."""

from __future__ import annotations

import asyncio
import heapq
from datetime import UTC, datetime, timedelta

START = datetime(2026, 11, 24, 12, tzinfo=UTC)
_SETTLE_TURNS = 50


class ManualClock:
    """Stands still until a test moves it; sleepers wake in the order of their times."""

    def __init__(self, now: datetime = START) -> None:
        self._now = now
        self._seconds = 1_000.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._seconds

    async def sleep(self, duration: timedelta) -> None:
        if duration <= timedelta(0):
            await asyncio.sleep(0)  # noqa: TID251 - yields, and waits for nothing
            return
        waiter = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self._seconds + duration.total_seconds(), self._count, waiter))
        await waiter

    def jump(self, duration: timedelta) -> None:
        """Set the wall clock, as an operator does; nobody's sleep ends by it."""
        self._now += duration

    async def advance(self, duration: timedelta) -> None:
        """Let time pass, waking whoever sleeps on the way."""
        end = self._seconds + duration.total_seconds()
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            at, _, waiter = heapq.heappop(self._sleepers)
            self._move_to(at)
            if not waiter.done():
                waiter.set_result(None)
            await settle()
        self._move_to(end)
        await settle()

    def _move_to(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds - self._seconds)
        self._seconds = seconds


class FixedChance:
    """Draws the same fraction each time, and bytes that never repeat."""

    def __init__(self, fraction: float = 0.5) -> None:
        self.value = fraction
        self._drawn = 0

    def fraction(self) -> float:
        return self.value

    def token(self, size: int) -> bytes:
        self._drawn += 1
        return self._drawn.to_bytes(size, "big")


async def settle() -> None:
    """Let every task run until it waits for something."""
    for _ in range(_SETTLE_TURNS):
        await asyncio.sleep(0)  # noqa: TID251 - yields, and waits for nothing
