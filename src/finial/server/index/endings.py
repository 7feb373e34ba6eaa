"""Which entries have ended, by a heap of instants: nobody looks at those whose time has not come."""

from __future__ import annotations

import heapq
from typing import Final

_SPARE: Final = 64  # stale items that are borne in any case


class Endings:
    """The entries that end at all. Owned by the event loop.

    The clock may be set back, so what has ended may not have ended later on.
    """

    def __init__(self) -> None:
        self.ended: set[str] = set()
        self._at: dict[str, int] = {}  # by id; Unix seconds
        # Items whose entry has gone or ends at another instant now are passed over when they come up.
        self._coming: list[tuple[int, str]] = []
        self._past: list[tuple[int, str]] = []  # negative instants: the last one comes first
        self._now = float("-inf")

    def put(self, entry_id: str, at: int) -> bool:
        """Take an entry in, new or changed; whether it had ended at the last look.

        Args:
            entry_id: Which one.
            at: When it ends, Unix seconds; 0 for never.
        """
        if self._at.get(entry_id, 0) == at:
            return entry_id in self.ended
        self.drop(entry_id)
        if at:
            self._at[entry_id] = at
            if at <= self._now:
                self._end(entry_id, at)
            else:
                self._await(entry_id, at)
        return entry_id in self.ended

    def drop(self, entry_id: str) -> None:
        """Take an entry out; nothing when it is not there."""
        self._at.pop(entry_id, None)
        self.ended.discard(entry_id)

    def look(self, now: float) -> tuple[list[str], list[str]]:
        """Take note of the time; which entries have ended since the last look, and which have come back.

        Args:
            now: Unix seconds.
        """
        self._now = now
        gone, back = [], []
        while self._coming and self._coming[0][0] <= now:
            at, entry_id = heapq.heappop(self._coming)
            if self._at.get(entry_id) == at and entry_id not in self.ended:
                self._end(entry_id, at)
                gone.append(entry_id)
        while self._past and -self._past[0][0] > now:
            at, entry_id = heapq.heappop(self._past)
            if self._at.get(entry_id) == -at and entry_id in self.ended:
                self.ended.discard(entry_id)
                self._await(entry_id, -at)
                back.append(entry_id)
        return gone, back

    def next(self) -> int | None:
        """When the next entry ends, Unix seconds; None if none will."""
        while self._coming:
            at, entry_id = self._coming[0]
            if self._at.get(entry_id) == at and entry_id not in self.ended:
                return at
            heapq.heappop(self._coming)
        return None

    def _end(self, entry_id: str, at: int) -> None:
        self.ended.add(entry_id)
        heapq.heappush(self._past, (-at, entry_id))
        if len(self._past) > 2 * len(self.ended) + _SPARE:
            self._past = [(-self._at[each], each) for each in self.ended]
            heapq.heapify(self._past)

    def _await(self, entry_id: str, at: int) -> None:
        heapq.heappush(self._coming, (at, entry_id))
        if len(self._coming) > 2 * (len(self._at) - len(self.ended)) + _SPARE:
            self._coming = [(at, each) for each, at in self._at.items() if each not in self.ended]
            heapq.heapify(self._coming)
