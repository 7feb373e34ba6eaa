"""What one connection may do in a turn of the loop, and how all others get theirs in between.

A peer can send thousands of calls in one piece. Looked at and begun all at once, they would keep every other
connection waiting for seconds. So input is looked at in slices, until it has set off so much, and so many
calls are begun, or for so long; what is left waits for later turns. In each turn of the loop one of the
connections with something left goes on, the one that has waited longest.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

STARTS = 16
"""Handlers of one connection that are begun in one turn."""

_EVENTS = 128  # what input may set off in one turn: frames, roughly
_SLICE = 1024  # bytes: about as many as a hundred of the smallest frames have
# Where slices set off little, bodies that is, longer ones are cheaper. Nothing says that the next one is a
# body too, so what one of them can set off adds to the bound above: still longer ones would undo it.
_LONG_SLICE = 2 * _SLICE
_LITTLE = 4
_SECONDS = 0.002  # after which no more calls are begun in one turn: a request may be much work to decode


class Waiting(Protocol):
    """A call whose handler is to begin."""

    @property
    def live(self) -> bool:
        """Whether it is still to be answered."""

    def proceed(self) -> None:
        """Begin."""


class Paced(Protocol):
    """A connection as its pace sees it."""

    @property
    def ending(self) -> bool:
        """Whether what it has received matters no more."""

    def feed(self, data: bytes) -> int:
        """Have bytes looked at; how much they have set off."""

    def receive(self, data: bytes) -> None:
        """Have its pace take bytes, and see to what comes of it, errors too."""

    def listen(self, *, on: bool) -> None:
        """Read from the peer, or not."""


class Turns:
    """Those connections of a server that have something left for later turns."""

    __slots__ = ("_queue",)

    def __init__(self) -> None:
        self._queue: deque[Pace] = deque()

    @property
    def crowded(self) -> bool:
        """Whether anybody waits."""
        return bool(self._queue)

    def add(self, pace: Pace) -> None:
        """Let a connection go on once those before it have."""
        if not self._queue:
            asyncio.get_running_loop().call_soon(self._next)
        self._queue.append(pace)

    def _next(self) -> None:
        pace = self._queue.popleft()
        if self._queue:
            # First, so that nothing that goes wrong with one stops the others.
            asyncio.get_running_loop().call_soon(self._next)
        pace.go_on()


class Pace:
    """How the work of one connection is spread over turns.

    Args:
        connection: Whose.
        turns: Of its server.
        clock: Seconds on any scale that only rises.
    """

    __slots__ = (
        "_at", "_behind", "_calls", "_clock", "_connection", "_deaf", "_granted", "_since", "_turns",
        "_unread", "_waiting",
    )  # fmt: skip

    def __init__(self, connection: Paced, turns: Turns, clock: Callable[[], float]) -> None:
        self._connection = connection
        self._turns = turns
        self._clock = clock
        self._since: float | None = None  # when something was left that there still is
        self._behind = 0.0  # seconds of earlier such times
        self._calls: list[Waiting] = []
        self._unread = b""
        self._at = 0  # where in it to go on
        self._waiting = False  # in the queue of those that have something left
        self._granted = False  # and now it is our turn
        self._deaf = False  # nothing is read from the peer

    def leisure(self) -> float:
        """Seconds on a scale that stands still while something is left.

        A peer that keeps a server busy is no less a flood where the server is slow, or has many such peers.
        """
        now = self._clock() if self._since is None else self._since
        return now - self._behind

    def enqueue(self, call: Waiting) -> None:
        """Begin a call behind those that wait."""
        self._calls.append(call)

    def take(self, data: bytes) -> None:
        """Look at input and begin calls, as far as this turn allows.

        Raises:
            EngineError: The peer broke HTTP/2 or a bound.
        """
        if self._waiting:
            self._unread = self._unread[self._at :] + data
            self._at = 0
            self._listen(on=False)
            return
        # While others wait, whoever comes anew may do a little: much would be unfair to them, nothing to it.
        much = self._granted or not self._turns.crowded
        self._granted = False
        if len(data) <= _SLICE and not self._unread:
            self._connection.feed(data)
        else:
            if data:
                self._unread = data
            self._look(_EVENTS if much else 1)
        if self._calls:
            self._begin(STARTS if much else 1)
        if self._unread or self._calls:
            self._fall_behind()
        elif self._since is not None:
            self._catch_up(self._since)

    def _fall_behind(self) -> None:
        if self._since is None:
            self._since = self._clock()
        self._waiting = True
        self._turns.add(self)
        self._listen(on=not self._unread)

    def _catch_up(self, since: float) -> None:
        self._behind += self._clock() - since
        self._since = None
        self._listen(on=True)

    def _look(self, most: int) -> None:
        events, size = 0, _SLICE
        unread = self._unread
        while self._at < len(unread) and events < most:
            start, self._at = self._at, self._at + size
            told = self._connection.feed(unread[start : self._at])
            events += told
            size = _LONG_SLICE if told <= _LITTLE else _SLICE
        if self._at >= len(unread):
            self._unread, self._at = b"", 0

    def _begin(self, most: int) -> None:
        seen = 0
        until = self._clock() + _SECONDS
        for call in self._calls:
            seen += 1
            if call.live:
                most -= 1
                call.proceed()
                if not most or self._clock() >= until:
                    break
        del self._calls[:seen]

    def _listen(self, *, on: bool) -> None:
        if self._deaf == on:
            self._deaf = not on
            self._connection.listen(on=on)

    def go_on(self) -> None:
        """Our turn has come."""
        self._waiting = False
        if self._connection.ending:
            self._calls = []
            self._unread, self._at = b"", 0
            return
        self._granted = True
        self._connection.receive(b"")
