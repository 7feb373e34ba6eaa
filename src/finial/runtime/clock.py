"""The one place that reads clocks; everything else is given an instant or a Clock."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What a service knows of time."""

    def now(self) -> datetime:
        """The instant, aware, UTC; may jump when an operator sets the machine's clock."""

    def monotonic(self) -> float:
        """Seconds on a scale that only rises."""

    async def sleep(self, duration: timedelta) -> None:
        """Return when so much time has passed on the monotonic scale; at once for zero or less."""


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        """The instant, aware, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds on a scale that only rises."""
        return time.monotonic()

    async def sleep(self, duration: timedelta) -> None:
        """Return when so much time has passed."""
        await asyncio.sleep(max(duration.total_seconds(), 0.0))


async def wait_at_most(clock: Clock, event: asyncio.Event, most: timedelta) -> bool:
    """Wait for an event, but not longer than `most` on this clock; whether the event is set."""
    if event.is_set():
        return True
    tasks = {asyncio.ensure_future(event.wait()), asyncio.ensure_future(clock.sleep(most))}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return event.is_set()
