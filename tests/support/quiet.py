"""Waiting until a loop has nothing left to do, so that a test's clock never outruns real sockets."""

from __future__ import annotations

import asyncio
from typing import Any

_IDLE_SECONDS = 0.001
_ENOUGH_ROUNDS = 2_000  # something that never rests must not hold the clock for ever


class Quiet:
    """Watches what the running loop's sockets do. Made on the loop that it watches."""

    def __init__(self) -> None:
        selector: Any = asyncio.get_running_loop()._selector  # type: ignore[attr-defined]
        self._events = 0
        select = selector.select

        def counted(timeout: float | None = None) -> list[Any]:
            found: list[Any] = select(timeout)
            self._events += len(found)
            return found

        selector.select = counted

    async def wait(self) -> None:
        """Return when nothing has arrived on any socket for a moment."""
        loop = asyncio.get_running_loop()
        for _ in range(_ENOUGH_ROUNDS):
            seen, turn = self._events, loop.create_future()
            loop.call_later(_IDLE_SECONDS, turn.set_result, None)
            await turn
            if self._events == seen:
                return
