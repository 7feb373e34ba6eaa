"""Records in the order of their creation, found by key or after a row number."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Generic

from finial.server.index.rows import R, Rows


class Ordered(Generic[R]):
    """A table in memory. Owned by the event loop."""

    def __init__(self) -> None:
        self._by_key: dict[str, R] = {}
        self._rows: Rows[R] = Rows()

    def get(self, key: str) -> R | None:
        """The record with this key, if there is one."""
        return self._by_key.get(key)

    def keys(self) -> Collection[str]:
        """All keys, in no order."""
        return self._by_key.keys()

    def put(self, key: str, record: R) -> R | None:
        """Take a record in; the one that had its key before, if any."""
        old = self._by_key.get(key)
        if old is not None and old.seq != record.seq:
            self._rows.take(old.seq)
        self._by_key[key] = record
        self._rows.put(record)
        return old

    def remove(self, key: str) -> R | None:
        """Take the record with this key out; None when there was none."""
        old = self._by_key.pop(key, None)
        if old is not None:
            self._rows.take(old.seq)
        return old

    def after(self, seq: int) -> Sequence[R]:
        """The records behind a row number, in order, as they are at this moment."""
        return self._rows.after(seq)

    def __len__(self) -> int:
        return len(self._by_key)
