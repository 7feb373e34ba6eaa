"""Long work on the event loop, cut into slices, so that nobody else waits long."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from finial.runtime.clock import Clock

SLICE_SECONDS: Final = 0.005
_LOOK_EVERY: Final = 32  # steps, after which the time is looked at


class Slices:
    """Counts steps of one piece of work.

    Args:
        clock: Measures them.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._steps = 0
        self._began = clock.monotonic()

    def over(self) -> bool:
        """Take note of a step; whether others should have their turn before the next one."""
        self._steps += 1
        return self._steps % _LOOK_EVERY == 0 and self._clock.monotonic() - self._began > SLICE_SECONDS

    async def turn(self) -> None:
        """Let others have their turn."""
        await self._clock.sleep(timedelta(0))
        self._began = self._clock.monotonic()
