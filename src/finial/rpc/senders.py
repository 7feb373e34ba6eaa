"""Tasks that have sent enough and wait until their peer has taken some of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Senders:
    """Those of one connection, by stream: one that ends must not cost a look at all of them."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: dict[int, list[asyncio.Future[None]]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def wait(self, stream_id: int) -> asyncio.Future[None]:
        """What to await before looking again."""
        waiter = asyncio.get_running_loop().create_future()
        # Those whose task was cancelled while it waited are forgotten.
        others = [each for each in self._waiting.get(stream_id, ()) if not each.done()]
        self._waiting[stream_id] = [*others, waiter]
        return waiter

    def wake(self, stream_id: int) -> None:
        """Let whoever sends on a stream look again."""
        for waiter in self._waiting.pop(stream_id, ()):
            if not waiter.done():
                waiter.set_result(None)

    def look(self, congested: Callable[[int], bool]) -> None:
        """Wake those whose streams need not wait any more."""
        for stream_id in [each for each in self._waiting if not congested(each)]:
            self.wake(stream_id)
