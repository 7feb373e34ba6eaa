"""Signing in turns: however many agents ask at once, each turn of the loop has one short slice of it.

Between two slices everybody else has a turn: syncs, pushes, health. Of those who wait for signatures the one
comes first whose SVIDs end first. What an agent says of that may be a lie, but counts for a bounded time:
whoever has waited for longer than that comes before all who arrive now, whatever they say.

A single signature, of a token, is made at once where nobody waits and the slice has time left: it is a matter
of microseconds with an elliptic curve, but of a whole slice with a large RSA key. Where some wait for one and
others for more, every second step is theirs: tokens are always urgent, and an agent may want any number.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from heapq import heappop, heappush
from typing import Any, Final, Generic, TypeVar

from finial.rpc.status import RpcError, StatusCode
from finial.runtime.chance import Chance
from finial.runtime.clock import Clock

UNSAID: Final = timedelta(seconds=10)
"""The life that is taken to be left to what an agent holds which does not say."""
LONGEST: Final = timedelta(seconds=60)
"""More life than this counts as this."""
WAITED_FOR: Final = timedelta(seconds=1)
"""The life that is taken to be left where a workload waits for the answer: for a token that is not held."""

MOST_CALLS: Final = 2_000
MOST_CALLS_OF_ONE: Final = 8
MOST_ITEMS: Final = 30_000
MOST_ITEMS_OF_ONE: Final = 4_000
"""Beyond these an agent has one call waiting and no other: nobody fills all the room by a few large ones."""
MOST_SINGLE: Final = 4_000
MOST_SINGLE_OF_ONE: Final = 256
"""Calls for a single signature have a room of their own: one fetches certificates for all of its entries, and
tokens meanwhile."""

_SLICE_SECONDS: Final = 0.004  # and the step that has begun is finished
_LEAST_PAUSE: Final = 1.0  # seconds that those who are refused are asked to stay away
_MOST_PAUSE: Final = 30.0
_WEIGHT: Final = 0.1  # of the newest slice in the mean cost of an item

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


class _Job(Generic[Item, Outcome]):
    """One call's items, and how far they are."""

    __slots__ = ("_do", "_items", "_outcomes", "future")

    def __init__(
        self, items: Sequence[Item], do: Callable[[Item], Outcome], future: asyncio.Future[list[Outcome]]
    ) -> None:
        self._items = items
        self._do = do
        self._outcomes: list[Outcome] = []
        self.future = future

    def step(self) -> bool:
        """Work on the next item; whether it was the last."""
        try:
            self._outcomes.append(self._do(self._items[len(self._outcomes)]))
        except BaseException as error:  # noqa: BLE001 - it is whoever waits who is to be told
            self.future.set_exception(error)
            return True
        if len(self._outcomes) < len(self._items):
            return False
        self.future.set_result(self._outcomes)
        return True

    def forget(self) -> None:
        """Nobody waits any more: keep nothing, for it may be long until its turn comes."""
        self._items, self._outcomes = (), []


_Line = list[tuple[float, int, _Job[Any, Any]]]
"""A heap: by deadline, then by arrival."""


class Turns:
    """Those who wait for signatures. Owned by the event loop.

    Args:
        clock: Measures slices.
        chance: Spreads the return of those who are refused.
    """

    def __init__(self, *, clock: Clock, chance: Chance) -> None:
        self.calls = 0
        """How many wait."""
        self.items = 0
        """How many of all these calls wait, worked on or not."""
        self._clock = clock
        self._chance = chance
        self._jobs: _Line = []
        self._singles: _Line = []
        self._singles_turn = False
        self._calls_of: Counter[str] = Counter()
        self._items_of: Counter[str] = Counter()
        self._single = 0  # calls for a single signature that wait
        self._single_of: Counter[str] = Counter()
        self._arrivals = 0
        self._turning = False
        self._spent = 0.0  # seconds of the present slice
        self._cost = 0.0  # mean seconds of one item

    def due(self, left: timedelta | None) -> float:
        """When a call that arrives now wants to have been answered, on the monotonic scale.

        Args:
            left: How much life is left to what the caller holds, as it says; None when it does not.
        """
        return self._clock.monotonic() + min(UNSAID if left is None else left, LONGEST).total_seconds()

    async def each(
        self, items: Sequence[Item], do: Callable[[Item], Outcome], *, owner: str, due: float
    ) -> list[Outcome]:
        """What becomes of each item, in their order, worked on in turns with everybody else.

        Args:
            items: At least one.
            do: Works on one; what it raises ends the call.
            owner: Who asks.
            due: What `due` said when the call arrived.

        Raises:
            RpcError: RESOURCE_EXHAUSTED, too many wait already; with the time to stay away.
        """
        with self._place(owner, len(items)):
            return await self._wait(self._jobs, items, do, due)

    async def one(self, do: Callable[[], Outcome], *, owner: str, due: float) -> Outcome:
        """What becomes of a single item: at once if nobody waits and there is time, else in turns as well.

        Args:
            do: Works on it; what it raises ends the call.
            owner: Who asks.
            due: What `due` said when the call arrived.

        Raises:
            RpcError: RESOURCE_EXHAUSTED, too many wait already; with the time to stay away.
        """
        if not self._anybody and self._spent < _SLICE_SECONDS:
            return self._at_once(do)
        with self._place_for_one(owner):
            return (await self._wait(self._singles, (do,), _done, due))[0]

    def _at_once(self, do: Callable[[], Outcome]) -> Outcome:
        began = self._clock.monotonic()
        try:
            return do()
        finally:
            self._spent += self._clock.monotonic() - began
            self._turn_soon()  # which begins another slice

    async def _wait(
        self, line: _Line, items: Sequence[Item], do: Callable[[Item], Outcome], due: float
    ) -> list[Outcome]:
        job = _Job(items, do, asyncio.get_running_loop().create_future())
        self._arrivals += 1
        heappush(line, (due, self._arrivals, job))
        self._turn_soon()
        try:
            return await job.future
        finally:
            job.forget()

    @contextmanager
    def _place(self, owner: str, count: int) -> Iterator[None]:
        """Be counted among those who wait, if there is room."""
        full = self.calls >= MOST_CALLS or self.items + count > MOST_ITEMS
        calls, items = self._calls_of[owner], self._items_of[owner]
        if full or calls >= MOST_CALLS_OF_ONE or (calls and items + count > MOST_ITEMS_OF_ONE):
            raise self._refusal()
        self.calls += 1
        self.items += count
        self._calls_of[owner] += 1
        self._items_of[owner] += count
        try:
            yield
        finally:
            self.calls -= 1
            self.items -= count
            self._calls_of[owner] -= 1
            self._items_of[owner] -= count
            if not self._calls_of[owner]:
                del self._calls_of[owner], self._items_of[owner]

    @contextmanager
    def _place_for_one(self, owner: str) -> Iterator[None]:
        if self._single >= MOST_SINGLE or self._single_of[owner] >= MOST_SINGLE_OF_ONE:
            raise self._refusal()
        self._single += 1
        self._single_of[owner] += 1
        try:
            yield
        finally:
            self._single -= 1
            self._single_of[owner] -= 1
            if not self._single_of[owner]:
                del self._single_of[owner]

    def _refusal(self) -> RpcError:
        """With a pause about as long as all that waits will take, and no two who are refused alike."""
        waiting = (self.items + self._single) * self._cost
        seconds = min(max(waiting, _LEAST_PAUSE), _MOST_PAUSE) * (1 + self._chance.fraction())
        message = "too many requests wait for signatures already; try again later"
        return RpcError(StatusCode.RESOURCE_EXHAUSTED, message, retry_after=timedelta(seconds=seconds))

    def _turn_soon(self) -> None:
        if not self._turning:
            self._turning = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        """One slice; the next one comes after everybody else has had a turn."""
        self._turning = False
        began = now = self._clock.monotonic()
        steps = 0
        while self._anybody and now - began < _SLICE_SECONDS:
            line = self._next_line()
            job = line[0][2]
            if job.future.done() or job.step():  # done before its time: whoever waited has gone
                heappop(line)
            steps += 1
            now = self._clock.monotonic()
        self._spent = now - began
        if steps:
            self._cost += _WEIGHT * (self._spent / steps - self._cost)
        if self._anybody:
            self._turn_soon()

    @property
    def _anybody(self) -> bool:
        return bool(self._jobs or self._singles)

    def _next_line(self) -> _Line:
        if self._jobs and self._singles:
            self._singles_turn = not self._singles_turn
            return self._singles if self._singles_turn else self._jobs
        return self._jobs or self._singles


def _done(do: Callable[[], Outcome]) -> Outcome:
    return do()
