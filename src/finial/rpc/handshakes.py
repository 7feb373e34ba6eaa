"""The deadline of every handshake of a listener or channel, watched by one timer.

They all have the same time, so they pass in the order in which they began, and a connection costs an entry in
a dict instead of a timer of its own.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Protocol


class ShakingHands(Protocol):
    """What waits for its peer's first words."""

    def handshake_overdue(self) -> None:
        """They did not come in time."""


class Handshakes:
    """Those under way.

    Args:
        time: How long each may take.
    """

    __slots__ = ("_due", "_seconds", "_timer")

    def __init__(self, time: timedelta) -> None:
        self._seconds = time.total_seconds()
        self._due: dict[ShakingHands, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, connection: ShakingHands, loop: asyncio.AbstractEventLoop) -> None:
        """Watch one more."""
        due = self._due[connection] = loop.time() + self._seconds
        if self._timer is None:
            self._timer = loop.call_at(due, self._sweep, loop)

    def end(self, connection: ShakingHands) -> bool:
        """Watch it no more; whether it was watched."""
        return self._due.pop(connection, None) is not None

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        while self._due:
            connection, due = next(iter(self._due.items()))
            if due > now:
                self._timer = loop.call_at(due, self._sweep, loop)
                return
            del self._due[connection]
            connection.handshake_overdue()
