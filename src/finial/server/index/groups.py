"""The forest of entries: those under one parent are a group, and a group leads to others.

An entry has one parent, so groups share no entry, and what an agent may serve is a union of groups in which
nothing is counted twice. A group leads to another when one of its entries has the SPIFFE ID that is the
other's parent. Such links may form rings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Protocol

from finial.core.setdigest import MARK_BYTES, SetDigest, mark_of
from finial.server.index.rows import Rows
from finial.server.store.records import EntryRecord

_MODULUS: Final = 1 << (8 * MARK_BYTES)

Marked = tuple[EntryRecord, int]
"""An entry with its mark."""


class Sums:
    """What is kept of a set of entries beside its members: count, sum of marks, federated domains."""

    __slots__ = ("count", "domains", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0  # not reduced: a few bits more than a mark
        self.domains: dict[str, int] = {}  # how many entries name each

    def exchange(self, old: Marked | None, new: Marked | None) -> None:
        """Without one entry, with another."""
        if old is not None:
            self.count -= 1
            self.total -= old[1]
            if old[0].federates:
                self._name(old[0].federates, -1)
        if new is not None:
            self.count += 1
            self.total += new[1]
            if new[0].federates:
                self._name(new[0].federates, 1)

    def join(self, other: Sums) -> None:
        """With all of a set that shares no entry."""
        self.count += other.count
        self.total += other.total
        for domain, count in other.domains.items():
            self.domains[domain] = self.domains.get(domain, 0) + count

    @property
    def digest(self) -> SetDigest:
        """Count and sum of marks."""
        return SetDigest(self.count, self.total % _MODULUS)

    def _name(self, domains: Iterable[str], times: int) -> None:
        for domain in domains:
            count = self.domains.get(domain, 0) + times
            if count:
                self.domains[domain] = count
            else:
                del self.domains[domain]


class Group:
    """The entries under one parent; there is none without an entry.

    Args:
        parent_id: Whole URI.
    """

    __slots__ = ("down", "parent_id", "rows", "sums", "up")

    def __init__(self, parent_id: str) -> None:
        self.parent_id = parent_id
        self.rows: Rows[EntryRecord] = Rows()
        self.sums = Sums()
        # Which groups lead here and where this one leads to, each with the number of entries that do it.
        self.up: dict[Group, int] = {}
        self.down: dict[Group, int] = {}


def above(group: Group) -> Iterator[Group]:
    """A group and all from which one gets to it."""
    found = {group}
    waiting = [group]
    while waiting:
        at = waiting.pop()
        yield at
        fresh = [each for each in at.up if each not in found]
        found.update(fresh)
        waiting += fresh


def below(groups: Iterable[Group]) -> Iterator[Group]:
    """Groups and all to which one gets from them."""
    found = set(groups)
    waiting = list(found)
    while waiting:
        at = waiting.pop()
        yield at
        fresh = [each for each in at.down if each not in found]
        found.update(fresh)
        waiting += fresh


class Watcher(Protocol):
    """Who is told what happens in the forest, in the midst of it."""

    def changed(self, group: Group, old: Marked | None, new: Marked | None) -> None:
        """An entry of a group has come, says something else, or is gone."""

    def opened(self, group: Group) -> None:
        """A group has come, and whatever leads to it; it is empty as yet."""

    def closing(self, group: Group) -> None:
        """A group goes, being empty, and whatever leads to it."""

    def linked(self, upper: Group, lower: Group) -> None:
        """A group leads to another from now on."""

    def unlinking(self, upper: Group, lower: Group) -> None:
        """A group will not lead to another any more; all that is below is still there."""


class Forest:
    """All groups. Owned by the event loop.

    Args:
        groups: By parent; empty at first, and filled from here alone.
        watcher: Is told of each change.
    """

    def __init__(self, groups: dict[str, Group], watcher: Watcher) -> None:
        self._groups = groups
        self._watcher = watcher
        # Who has a SPIFFE ID: nearly always one entry, which then needs no dictionary of its own.
        self._holders: dict[str, EntryRecord | dict[str, EntryRecord]] = {}

    def add(self, record: EntryRecord) -> None:
        """Take an entry in that is not there."""
        group = self._groups.get(record.parent_id)
        if group is None:
            group = self._open(record.parent_id)
        new = record, mark_of(record.data)
        group.rows.put(record)
        group.sums.exchange(None, new)
        self._hold(record)
        self._watcher.changed(group, None, new)
        lower = self._groups.get(record.spiffe_id)
        if lower is not None and self._count(group, lower, 1) == 1:
            self._watcher.linked(group, lower)

    def exchange(self, old: EntryRecord, new: EntryRecord) -> None:
        """Take an entry in place of one with its row number, its parent and its SPIFFE ID."""
        group = self._groups[old.parent_id]
        before, after = (old, mark_of(old.data)), (new, mark_of(new.data))
        group.rows.put(new)
        group.sums.exchange(before, after)
        self._hold(new)
        self._watcher.changed(group, before, after)

    def remove(self, record: EntryRecord) -> None:
        """Take an entry out that is there."""
        group = self._groups[record.parent_id]
        lower = self._groups.get(record.spiffe_id)
        if lower is not None:
            if group.down[lower] == 1:
                self._watcher.unlinking(group, lower)
            self._count(group, lower, -1)
        old = record, mark_of(record.data)
        group.rows.take(record.seq)
        group.sums.exchange(old, None)
        self._release(record)
        self._watcher.changed(group, old, None)
        if not group.sums.count:
            self._close(group)

    def _open(self, parent_id: str) -> Group:
        group = self._groups[parent_id] = Group(parent_id)
        for holder in self._holding(parent_id):
            self._count(self._groups[holder.parent_id], group, 1)
        self._watcher.opened(group)
        return group

    def _close(self, group: Group) -> None:
        self._watcher.closing(group)
        for upper in group.up:
            del upper.down[group]
        group.up.clear()  # no ring of references is left for the collector
        del self._groups[group.parent_id]

    @staticmethod
    def _count(upper: Group, lower: Group, step: int) -> int:
        """Count an entry that makes one group lead to another; how many there are."""
        count = upper.down.get(lower, 0) + step
        if count:
            upper.down[lower] = lower.up[upper] = count
        else:
            del upper.down[lower], lower.up[upper]
        return count

    def _holding(self, spiffe_id: str) -> Iterable[EntryRecord]:
        found = self._holders.get(spiffe_id, {})
        return found.values() if isinstance(found, dict) else (found,)

    def _hold(self, record: EntryRecord) -> None:
        found = self._holders.setdefault(record.spiffe_id, record)
        if isinstance(found, dict):
            found[record.id] = record
        elif found.id == record.id:
            self._holders[record.spiffe_id] = record
        else:
            self._holders[record.spiffe_id] = {found.id: found, record.id: record}

    def _release(self, record: EntryRecord) -> None:
        found = self._holders[record.spiffe_id]
        if isinstance(found, dict):
            del found[record.id]
        if not isinstance(found, dict) or not found:
            del self._holders[record.spiffe_id]
