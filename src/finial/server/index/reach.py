"""All that stands below one root, once for all agents that have this root."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from finial.server.index.groups import Group, Marked, Sums, below

MOST_DIRTY: Final = 5_000
"""Ids that are kept for whoever is late; beyond that everything has to be compared again."""
_SPARE: Final = 1_000  # that more are kept now and then, so that not each new id makes others move up


class Journal:
    """The ids of the last entries that became dirty, for readers that come when they can.

    A reader keeps a place: the number of ids that had been written when it read last.
    """

    __slots__ = ("_before", "_ids")

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._before = 0  # ids that were written before these

    @property
    def end(self) -> int:
        """The place behind the last id."""
        return self._before + len(self._ids)

    def write(self, ids: Iterable[str] | None) -> None:
        """Note ids; None for too many to be named."""
        if ids is None:
            self._before = self.end + 1
            self._ids = []
            return
        self._ids += ids
        surplus = len(self._ids) - MOST_DIRTY
        if surplus > _SPARE:
            del self._ids[:surplus]
            self._before += surplus

    def since(self, place: int) -> Sequence[str] | None:
        """A copy of what has been written behind a place; None when it is not known any more."""
        if place < self._before:
            return None
        return self._ids[place - self._before :]


class Reach:
    """The groups below a root, and the sums over them. Owned by the event loop.

    Built when somebody asks, and kept up to date from then on until what leads where changes.

    Args:
        root: A parent, whole URI; there need not be entries below it.
        groups: All groups, by parent.
    """

    __slots__ = ("_all", "_groups", "_sums", "journal", "root", "version")

    def __init__(self, root: str, groups: Mapping[str, Group]) -> None:
        self.root = root
        self.journal = Journal()
        self.version = 0  # rises when the groups are others
        self._all = groups
        self._groups: frozenset[Group] | None = None
        self._sums: Sums | None = None

    @property
    def groups(self) -> frozenset[Group]:
        """The groups below the root, that directly below it among them."""
        if self._groups is None:
            first = self._all.get(self.root)
            self._groups = frozenset() if first is None else frozenset(below([first]))
        return self._groups

    @property
    def sums(self) -> Sums:
        """Over all these groups."""
        if self._sums is None:
            self._sums = Sums()
            for group in self.groups:
                self._sums.join(group.sums)
        return self._sums

    def changed(self, entry_id: str, old: Marked | None, new: Marked | None) -> None:
        """An entry of one of the groups is otherwise than it was."""
        self.journal.write((entry_id,))
        if self._sums is not None:
            self._sums.exchange(old, new)

    def relinked(self, ids: Iterable[str] | None) -> None:
        """Groups may have come or gone.

        Args:
            ids: What may be in them; None for too many to be named.
        """
        self.version += 1
        self._groups = self._sums = None
        self.journal.write(ids)
