"""What one push stream is told: which entries to look at again, and what they are now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from finial.core.setdigest import SetDigest
from finial.server.index.entries import EntryIndex
from finial.server.index.groups import Sums
from finial.server.index.interest import Dirty, Interest
from finial.server.index.reach import MOST_DIRTY
from finial.server.store.records import BundleRecord, EntryRecord

__all__ = ["MOST_DIRTY", "Cursor", "Dirty", "Subscription"]


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a walk over the entries has come; means something to its subscription alone.

    Args:
        parents: Of the groups that were there when the walk began.
        at: The one that the walk is in.
        seq: The row number behind which it goes on there.
    """

    parents: tuple[str, ...]
    at: int = 0
    seq: int = -1


class Subscription:
    """What an agent may serve, watched for one stream. Owned by the event loop; made by `Index.watch`.

    Everything is as of the index's last look at the time, which its `run` sees to: an entry that ends becomes
    dirty then. Nothing is ever authorised for an agent that has not attested or is banned.

    Args:
        interest: The agent's.
        entries: All of them.
        bundles: The bundles of foreign trust domains, as far as they are there, behind the own one.
    """

    def __init__(
        self,
        interest: Interest,
        entries: EntryIndex,
        bundles: Callable[[Iterable[str]], tuple[BundleRecord, ...]],
    ) -> None:
        self.agent_id = interest.agent_id
        self._interest = interest
        self._entries = entries
        self._bundles = bundles

    def drain(self) -> Dirty:
        """What has become dirty since the last call; it is clean from now on.

        That may be more than what has changed. After an overflow the digest says whether anything has.
        """
        return self._interest.drain()

    def get(self, entry_id: str) -> EntryRecord | None:
        """The entry with this id, if the agent may serve it now."""
        record = self._entries.current(entry_id)
        if record is None or not self._interest.covers(self._entries.groups[record.parent_id]):
            return None
        return record

    def digest(self) -> SetDigest:
        """Of all that the agent may serve now."""
        found = SetDigest()
        for sums in self._sums():
            found = found.joined(sums.digest)
        return found

    def bundles(self) -> tuple[BundleRecord, ...]:
        """The own bundle, then those that the agent's entries name, by name; as far as they are there."""
        domains: set[str] = set()
        for sums in self._sums():
            domains.update(sums.domains)
        return self._bundles(sorted(domains))

    def page(self, after: Cursor | None, limit: int) -> tuple[Sequence[EntryRecord], Cursor | None]:
        """Some of the entries, and how to go on.

        What stays as it is while a walk lasts is found in exactly one page; what changes meanwhile becomes
        dirty.

        Args:
            after: None at the beginning.
            limit: How many at most.

        Returns:
            The entries, which may be fewer or none, and None when there are no more.
        """
        cursor = after or Cursor(self._interest.parents())
        found: list[EntryRecord] = []
        seq = cursor.seq
        for at in range(cursor.at, len(cursor.parents)):
            group = self._entries.groups.get(cursor.parents[at])
            if group is not None and self._interest.covers(group):
                room = limit - len(found)
                rows = group.rows.after(seq, room + 1)
                if len(rows) > room:
                    found += rows[:room]
                    return found, Cursor(cursor.parents, at, rows[room - 1].seq if room else -1)
                found += rows
            seq = -1
        return found, None

    def close(self) -> None:
        """Be told nothing more."""
        self._entries.audience.dismiss(self._interest)

    def _sums(self) -> Iterator[Sums]:
        return self._interest.sums(self._entries.groups.get(self.agent_id))
