"""How far entries have come at this agent: what the server is told, coalesced, and never a queue."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import Final

_MOST: Final = 5_000
"""Steps that wait to be told; the oldest are forgotten, since they are figures and nothing rests on them."""


class Stage(Enum):
    """What has happened to an entry."""

    SIGNED = "signed"  # its SVID is held
    DELIVERED = "delivered"  # a workload has been sent it
    FAILED = "failed"  # it could not be signed


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that has happened.

    Args:
        entry_id: To which entry.
        revision: Of the entry.
        stage: What.
        trouble: Why it failed; for people.
    """

    entry_id: str
    revision: int
    stage: Stage
    trouble: str = ""


class Progress:
    """What the server has not been told yet. Owned by the event loop.

    Nothing is kept while nobody listens: an agent that polls has nobody to tell.
    """

    def __init__(self) -> None:
        self.some = asyncio.Event()
        """Set while there is something to take."""
        self._listening = False
        self._steps: dict[tuple[str, Stage], Step] = {}

    def listen(self, *, on: bool) -> None:
        """Begin to keep what happens, or stop and forget it."""
        self._listening = on
        if not on:
            self.take()

    def note(self, step: Step) -> None:
        """Something has happened; the latest of its kind for its entry counts."""
        if not self._listening:
            return
        if len(self._steps) >= _MOST:
            del self._steps[next(iter(self._steps))]
        self._steps[step.entry_id, step.stage] = step
        self.some.set()

    def look(self) -> None:
        """Something else may be to be told: let whoever tells look."""
        self.some.set()

    def take(self, most: int = _MOST) -> tuple[Step, ...]:
        """What has happened, in the order in which it happened first; it is told now.

        Args:
            most: How many steps; what is beyond them stays.
        """
        keys = list(islice(self._steps, most))
        taken = tuple(self._steps.pop(key) for key in keys)
        if not self._steps:
            self.some.clear()
        return taken
