"""Records in the order of their creation, found by key or after a row number."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from operator import attrgetter
from typing import Generic, Protocol, TypeVar


class Numbered(Protocol):
    """A record with a row number that rises with creation."""

    @property
    def seq(self) -> int:
        """The row number."""


R = TypeVar("R", bound=Numbered)

_seq = attrgetter("seq")


class Ordered(Generic[R]):
    """A table in memory. Owned by the event loop."""

    def __init__(self) -> None:
        self._by_key: dict[str, R] = {}
        self._rows: list[R] = []

    def get(self, key: str) -> R | None:
        """The record with this key, if there is one."""
        return self._by_key.get(key)

    def put(self, key: str, record: R) -> R | None:
        """Take a record in; the one that had its key before, if any."""
        old = self._by_key.get(key)
        if old is not None and old.seq != record.seq:
            self._take_row(old)
        self._by_key[key] = record
        at = bisect_left(self._rows, record.seq, key=_seq)
        if at < len(self._rows) and self._rows[at].seq == record.seq:
            self._rows[at] = record
        else:
            self._rows.insert(at, record)
        return old

    def remove(self, key: str) -> R | None:
        """Take the record with this key out; None when there was none."""
        old = self._by_key.pop(key, None)
        if old is not None:
            self._take_row(old)
        return old

    def after(self, seq: int) -> Sequence[R]:
        """The records behind a row number, in order, as they are at this moment."""
        return self._rows[bisect_right(self._rows, seq, key=_seq) :]

    def __len__(self) -> int:
        return len(self._rows)

    def _take_row(self, record: R) -> None:
        at = bisect_left(self._rows, record.seq, key=_seq)
        del self._rows[at]
