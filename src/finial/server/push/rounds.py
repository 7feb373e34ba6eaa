"""When streams are looked at: one task sees to all of them.

A timer for each costs more than what it is for: every one wakes a loop that sleeps. Streams that ask for
whole seconds are looked at together, so that a thousand of them wake it once a second.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Final, Protocol

from finial.rpc.status import RpcError, StatusCode
from finial.runtime.clock import Clock, wait_at_most
from finial.server.api.slices import Slices

_log = logging.getLogger("finial.server")

_LONG: Final = 60.0  # seconds; by then a stream that was ended has left


class Watched(Protocol):
    """A stream, as whoever looks at it sees it."""

    def look(self) -> float:
        """Do what is due; when to look again, on the monotonic scale."""

    def end(self, error: RpcError) -> None:
        """End it."""


class Rounds:
    """Looks at streams for as long as there are any. Owned by the event loop.

    Args:
        clock: Measures.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._streams: dict[int, Watched] = {}  # by the number under which each has come
        self._came = 0
        self._coming: list[tuple[float, int]] = []  # a heap; of streams that have left too
        self._sooner = asyncio.Event()
        self._walk: asyncio.Task[None] | None = None

    @contextmanager
    def entered(self, stream: Watched) -> Iterator[None]:
        """Look at a stream, now and whenever it wants."""
        again = stream.look()
        self._came += 1
        number = self._came
        self._streams[number] = stream
        heapq.heappush(self._coming, (again, number))
        if self._walk is None:
            self._walk = asyncio.ensure_future(self._go())
        elif self._coming[0][1] == number:
            self._sooner.set()
        try:
            yield
        finally:
            del self._streams[number]
            if not self._streams:
                self._walk.cancel()
                self._walk, self._coming = None, []

    async def _go(self) -> None:
        while True:
            self._sooner.clear()
            left = self._coming[0][0] - self._clock.monotonic()
            await wait_at_most(self._clock, self._sooner, timedelta(seconds=max(left, 0.0)))
            slices = Slices(self._clock)
            while self._coming[0][0] <= self._clock.monotonic():
                self._look(heapq.heappop(self._coming)[1])
                if slices.over():
                    await slices.turn()

    def _look(self, number: int) -> None:
        stream = self._streams.get(number)
        if stream is None:
            return
        try:
            again = stream.look()
        except Exception as error:  # noqa: BLE001 - a fault of ours ends one stream, and not the looking at others
            _log.error("a stream cannot be looked at", exc_info=error)
            with suppress(Exception):  # nor is what it does when it is ended
                stream.end(RpcError(StatusCode.INTERNAL, "internal error"))
            again = self._clock.monotonic() + _LONG
        heapq.heappush(self._coming, (again, number))
