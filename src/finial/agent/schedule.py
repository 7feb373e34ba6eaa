"""When keys fall due, and which of those that are due comes first. Pure, and never a look at all of them."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice
from typing import Final

AT_ONCE: Final = datetime.min.replace(tzinfo=UTC)
"""Due whatever the time is."""
_MOVED_AT_ONCE: Final = 1_000  # milliseconds of work
_STALE_AT_LEAST: Final = 64


class Calendar:
    """Keys with an instant each, in slots of a second: whatever is asked touches one slot.

    Args:
        instant_of: The instant of a key that is in.
    """

    __slots__ = ("_first", "_instant_of", "_numbers", "_order", "_slots")

    def __init__(self, instant_of: Callable[[str], datetime]) -> None:
        self._instant_of = instant_of
        self._slots: dict[int, set[str]] = {}  # none is empty
        self._order: list[int] = []  # a heap of the numbers of slots, some of which are gone
        self._numbers: set[int] = set()  # what is in the heap
        self._first: datetime | None = None  # the earliest instant, as far as it is known

    def put(self, key: str, at: datetime) -> None:
        """Enter a key that is not in yet."""
        number = _slot(at)
        self._slots.setdefault(number, set()).add(key)
        if number not in self._numbers:
            self._numbers.add(number)
            heapq.heappush(self._order, number)
        if self._first is not None and at < self._first:
            self._first = at

    def drop(self, key: str, at: datetime) -> None:
        """Take out a key that was put in with this instant."""
        number = _slot(at)
        slot = self._slots[number]
        slot.discard(key)
        if not slot:
            del self._slots[number]
        if at == self._first:
            self._first = None

    def first(self) -> datetime | None:
        """The earliest instant."""
        if self._first is None and (number := self._first_slot()) is not None:
            self._first = min(map(self._instant_of, self._slots[number]))
        return self._first

    def last(self) -> datetime | None:
        """The latest instant."""
        return max(map(self._instant_of, self._slots[max(self._slots)])) if self._slots else None

    def take(self, now: datetime, most: int) -> list[str]:
        """Take out keys whose instant has come.

        Args:
            now: Aware.
            most: How many; more may be left.
        """
        found: list[str] = []
        while len(found) < most and (first := self.first()) is not None and first <= now:
            number = _slot(first)
            slot = self._slots[number]
            ripe = list(islice((key for key in slot if self._instant_of(key) <= now), most - len(found)))
            slot.difference_update(ripe)
            if not slot:
                del self._slots[number]
            self._first = None
            found += ripe
        return found

    def _first_slot(self) -> int | None:
        while self._order and self._order[0] not in self._slots:
            self._numbers.discard(heapq.heappop(self._order))
        return self._order[0] if self._order else None


_Item = tuple[int, datetime, str, datetime]  # rank, end, key, and when it falls due


class Schedule:
    """Keys with the instant at which each falls due, a rank, and an end; the lowest rank goes first."""

    __slots__ = ("_calendar", "_due", "_heap", "_later")

    def __init__(self) -> None:
        self._later: dict[str, _Item] = {}
        self._calendar = Calendar(lambda key: self._later[key][3])  # of those in `_later`
        self._due: dict[str, _Item] = {}
        self._heap: list[_Item] = []  # of those in `_due`, and of some that are no more there

    def put(self, key: str, at: datetime, *, rank: int, end: datetime) -> None:
        """Enter a key, in place of what was said of it before.

        Args:
            key: Which.
            at: When it falls due.
            rank: Which of those that are due go first.
            end: Of those with one rank, the ones with the earliest end go first, then the lowest keys.
        """
        self.drop(key)
        item = (rank, end, key, at)
        if at == AT_ONCE:
            self._fall_due(item)
        else:
            self._wait(item)

    def drop(self, key: str) -> None:
        """Forget a key, if it is known."""
        item = self._later.pop(key, None)
        if item is not None:
            self._calendar.drop(key, item[3])
        else:
            self._due.pop(key, None)

    def rank(self, now: datetime) -> int | None:
        """The rank of the first key that is due; None when none is."""
        for key in self._calendar.take(now, _MOVED_AT_ONCE):
            self._fall_due(self._later.pop(key))
        while self._heap:
            item = self._heap[0]
            if self._due.get(item[2]) is not item:
                heapq.heappop(self._heap)  # something else has been said of it meanwhile
            elif item[3] > now:  # the clock has been set back
                heapq.heappop(self._heap)
                self._wait(self._due.pop(item[2]))
            else:
                return item[0]
        return None

    def take(self, now: datetime, most: int, *, worst: int) -> list[str]:
        """Take out keys that are due, the first ones first.

        Args:
            now: Aware.
            most: How many.
            worst: The highest rank that is wanted.
        """
        found: list[str] = []
        while len(found) < most and (rank := self.rank(now)) is not None and rank <= worst:
            key = heapq.heappop(self._heap)[2]
            del self._due[key]
            found.append(key)
        return found

    def next_at(self) -> datetime | None:
        """When the next one falls due of those that were not due when it was last asked."""
        return self._calendar.first()

    def _wait(self, item: _Item) -> None:
        self._later[item[2]] = item
        self._calendar.put(item[2], item[3])

    def _fall_due(self, item: _Item) -> None:
        self._due[item[2]] = item
        heapq.heappush(self._heap, item)
        if len(self._heap) > 2 * len(self._due) + _STALE_AT_LEAST:
            self._heap = list(self._due.values())
            heapq.heapify(self._heap)


def _slot(at: datetime) -> int:
    return int(at.timestamp())
