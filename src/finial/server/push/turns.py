"""Large transfers, a few at a time: the memory and the loop of a server are for all its agents."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

from finial.rpc.status import RpcError, StatusCode
from finial.runtime.chance import Chance
from finial.runtime.clock import Clock, wait_at_most

AT_ONCE: Final = 4
MOST_WAITING: Final = 64
LARGE: Final = 1_000
"""Entries beyond which a transfer needs a turn."""
PATIENCE: Final = timedelta(seconds=30)
"""How long one waits for its turn: less than the silence that agents bear."""
_LONGEST_TURN = 30.0  # seconds; then another may begin as well, however slowly the first agent reads
_LEAST_NAP = 0.001  # seconds
_BACK_AFTER, _BACK_WITHIN = 10.0, 30.0  # seconds: when those come back that are sent away


class _Turn:
    """A place in the queue, then among those whose turn it is."""

    def __init__(self) -> None:
        self.granted = asyncio.Event()
        self.since = 0.0


class Turns:
    """Who may transfer much now, in the order of asking. Owned by the event loop.

    Args:
        clock: Measures.
        chance: Spreads when those come back that are sent away.
    """

    def __init__(self, clock: Clock, chance: Chance) -> None:
        self._clock = clock
        self._chance = chance
        self._now: set[_Turn] = set()
        self._waiting: deque[_Turn] = deque()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @asynccontextmanager
    async def turn(self, size: int) -> AsyncIterator[None]:
        """Have a turn for a transfer.

        Args:
            size: Entries. A small one need not wait.

        Raises:
            RpcError: UNAVAILABLE with the time to come back, too many others wait, or it takes too long.
        """
        if size <= LARGE:
            yield
            return
        if len(self._waiting) >= MOST_WAITING:
            raise self._busy()
        mine = _Turn()
        self._waiting.append(mine)
        try:
            await self._granted(mine)
            yield
        finally:
            if mine in self._waiting:
                self._waiting.remove(mine)
            self._now.discard(mine)
            self._grant()

    async def _granted(self, mine: _Turn) -> None:
        """Return when it is somebody's turn, if only because another one's has lasted for long enough."""
        deadline = self._clock.monotonic() + PATIENCE.total_seconds()
        self._grant()
        while not mine.granted.is_set():
            now = self._clock.monotonic()
            if now >= deadline:
                raise self._busy()
            first = min(turn.since for turn in self._now) + _LONGEST_TURN
            nap = max(min(first, deadline) - now, _LEAST_NAP)
            await wait_at_most(self._clock, mine.granted, timedelta(seconds=nap))
            self._grant()

    def _grant(self) -> None:
        now = self._clock.monotonic()
        self._now = {turn for turn in self._now if now - turn.since < _LONGEST_TURN}
        while self._waiting and len(self._now) < AT_ONCE:
            turn = self._waiting.popleft()
            turn.since = now
            self._now.add(turn)
            turn.granted.set()

    def _busy(self) -> RpcError:
        pause = _BACK_AFTER + self._chance.fraction() * (_BACK_WITHIN - _BACK_AFTER)
        message = "too many agents are being told everything; come back later"
        return RpcError(StatusCode.UNAVAILABLE, message, retry_after=timedelta(seconds=pause))
