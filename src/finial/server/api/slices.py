"""Long work on the event loop, cut into slices, so that nobody else waits long."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from finial.runtime.clock import Clock

SLICE_SECONDS: Final = 0.005
_LOOK_EVERY: Final = 32


class Slices:
    """Counts steps of one piece of work.

    Args:
        clock: Measures them.
        look_every: After how many steps the time is looked at.
    """

    def __init__(self, clock: Clock, look_every: int = _LOOK_EVERY) -> None:
        self._clock = clock
        self._look_every = look_every
        self._steps = 0
        self._began = clock.monotonic()

    def over(self) -> bool:
        """Take note of a step; whether others should have their turn before the next one."""
        self._steps += 1
        due = self._steps % self._look_every == 0
        return due and self._clock.monotonic() - self._began > SLICE_SECONDS

    async def turn(self) -> None:
        """Let others have their turn."""
        await self._clock.sleep(timedelta(0))
        self._began = self._clock.monotonic()
