"""Records in the order of their row numbers, in chunks: a change amid 100,000 moves few of them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import chain
from operator import attrgetter
from typing import Final, Generic, Protocol, TypeVar

_MOST: Final = 512  # records in a chunk


class Numbered(Protocol):
    """A record with a row number that rises with creation."""

    @property
    def seq(self) -> int:
        """The row number."""


R = TypeVar("R", bound=Numbered)

_seq = attrgetter("seq")


def _last(chunk: list[R]) -> int:
    return chunk[-1].seq


class Rows(Generic[R]):
    """A sorted table. Owned by the event loop."""

    __slots__ = ("_chunks",)

    def __init__(self) -> None:
        self._chunks: list[list[R]] = []  # none of them empty

    def put(self, record: R) -> None:
        """Take a record in, or in place of the one with its number."""
        chunks = self._chunks
        if not chunks or chunks[-1][-1].seq < record.seq:  # it is new, as nearly always
            if chunks and len(chunks[-1]) < _MOST:
                chunks[-1].append(record)
            else:
                chunks.append([record])
            return
        place = bisect_left(chunks, record.seq, key=_last)
        chunk = chunks[place]
        at = bisect_left(chunk, record.seq, key=_seq)
        if chunk[at].seq == record.seq:
            chunk[at] = record
            return
        chunk.insert(at, record)
        if len(chunk) > _MOST:
            half = len(chunk) // 2
            chunks[place : place + 1] = [chunk[:half], chunk[half:]]

    def take(self, seq: int) -> None:
        """Take the record with this number out; it is there."""
        place = bisect_left(self._chunks, seq, key=_last)
        chunk = self._chunks[place]
        del chunk[bisect_left(chunk, seq, key=_seq)]
        if not chunk:
            del self._chunks[place]

    def after(self, seq: int, limit: int | None = None) -> list[R]:
        """The records behind a number, in order, as they are at this moment.

        Args:
            seq: The number.
            limit: How many at most; None for all.
        """
        place = bisect_right(self._chunks, seq, key=_last)
        if place == len(self._chunks):
            return []
        first = self._chunks[place]
        found = first[bisect_right(first, seq, key=_seq) :]
        for chunk in self._chunks[place + 1 :]:
            if limit is not None and len(found) >= limit:
                break
            found += chunk
        return found if limit is None else found[:limit]

    def __iter__(self) -> Iterator[R]:
        return chain.from_iterable(self._chunks)
