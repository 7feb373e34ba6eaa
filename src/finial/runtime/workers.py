"""Threads for calls that block, and may never return: bounded, fair to those who ask, left behind at the end.

The event loop's own pool is none of that: one directory service that hangs fills it for everybody, resolving
of names included, and a process that ends waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

from finial.core.errors import FinialError, Kind, Reason

_BUSY = Reason("workers-busy", Kind.UNAVAILABLE, meaning="Too much of one kind of work waits for a thread.")

T = TypeVar("T")


class BusyError(FinialError):
    """There is too much to do already."""


@dataclass(frozen=True, slots=True)
class _Job:
    """A call, and who waits for it on which loop."""

    call: Callable[[], Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]

    def run(self) -> None:
        try:
            result, error = self.call(), None
        except BaseException as caught:  # noqa: BLE001 - it is whoever waits who is to be told
            result, error = None, caught
        with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits any more
            self.loop.call_soon_threadsafe(_settle, self.future, result, error)


class Workers:
    """A few threads of one kind of work. Owners take turns, so that one with much to do only delays itself.

    Threads start when there is work and end when there is none. The interpreter does not wait for them.

    Args:
        name: Of the threads.
        threads: How many there are at most.
        most_waiting: How many calls of one owner wait at most.
    """

    def __init__(self, name: str, *, threads: int, most_waiting: int) -> None:
        self._name = name
        self._threads = threads
        self._most_waiting = most_waiting
        # All below is guarded by the lock.
        self._lock = threading.Lock()
        self._waiting: OrderedDict[Hashable, deque[_Job]] = OrderedDict()
        self._running = 0

    def submit(self, owner: Hashable, call: Callable[[], T]) -> asyncio.Future[T]:
        """Have a call made in a thread; it is made also when nobody waits for it any more.

        Args:
            owner: Whose turn it takes.
            call: Blocks.

        Raises:
            BusyError: Too many of the owner's calls wait already, or the system grants no thread.
        """
        loop = asyncio.get_running_loop()
        job = _Job(call, loop, loop.create_future())
        with self._lock:
            queue = self._waiting.setdefault(owner, deque())
            if len(queue) >= self._most_waiting:
                raise BusyError(_BUSY, f"{len(queue)} calls wait already ({self._name})")
            queue.append(job)
            if self._running < self._threads:
                self._start_thread(owner, queue)
        return job.future

    def _start_thread(self, owner: Hashable, queue: deque[_Job]) -> None:
        try:
            threading.Thread(target=self._work, name=self._name, daemon=True).start()
        except RuntimeError as error:
            if self._running:
                return  # another one will come to it
            queue.pop()
            if not queue:
                del self._waiting[owner]
            raise BusyError(_BUSY, f"the system grants no thread ({self._name})") from error
        self._running += 1

    def _work(self) -> None:
        while (job := self._next()) is not None:
            job.run()

    def _next(self) -> _Job | None:
        with self._lock:
            if not self._waiting:
                self._running -= 1
                return None
            owner, queue = self._waiting.popitem(last=False)
            job = queue.popleft()
            if queue:
                self._waiting[owner] = queue  # behind the others
            return job


def _settle(future: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
    if future.done():
        return  # whoever waited has gone
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
