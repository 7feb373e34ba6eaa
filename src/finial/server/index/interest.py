"""What one agent is interested in, as it is and as it changes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from finial.core.selectors import Selector
from finial.server.index.groups import Group, Sums
from finial.server.index.reach import MOST_DIRTY, Reach


@dataclass(frozen=True, slots=True)
class Dirty:
    """What may be otherwise than it was at the last `drain`.

    Args:
        entries: Ids, each once.
        overflow: They are too many to be named: everything has to be compared again.
    """

    entries: tuple[str, ...] = ()
    overflow: bool = False


class Interest:
    """The part of the forest that one agent is interested in, for one stream. Owned by the event loop.

    That is the group directly below the agent, and what is within the reach of its roots: where that group
    leads to, and the aliases of its node. An agent that is not admitted has neither.

    Args:
        agent_id: Whole URI.
        wake: Called when something may have changed.
    """

    def __init__(self, agent_id: str, wake: Callable[[], None]) -> None:
        self.agent_id = agent_id
        self.wake = wake
        self.selectors: frozenset[Selector] | None = None  # of its node; None while it is not admitted
        self.counts: dict[str, int] = {}  # how many aliases and links give it each root
        self._places: dict[Reach, int] = {}  # how far their journals have been read
        self._ids: set[str] = set()
        self._more: list[Collection[str]] = []  # shared with others
        self._weight = 0  # of all in there
        self._overflow = False
        # Parts of the reaches that have nothing in common, as of these versions of them.
        self._versions: list[int] | None = None
        self._whole: list[Reach] = []
        self._rest: list[Group] = []

    def join(self, reach: Reach) -> None:
        """Have one root more."""
        self._places[reach] = reach.journal.end
        self._versions = None

    def leave(self, reach: Reach) -> None:
        """Have one root less; what has not been read of its journal is still to be told."""
        self.soil(reach.journal.since(self._places.pop(reach)))

    def touch(self, entry_id: str) -> None:
        """An entry is dirty."""
        if not self._overflow and entry_id not in self._ids:
            self._ids.add(entry_id)
            self._weigh(1)

    def soil(self, ids: Collection[str] | None) -> None:
        """Entries are dirty.

        Args:
            ids: Which, and never to be changed; None for too many to be named.
        """
        if ids is None:
            self._weigh(MOST_DIRTY + 1)
        elif ids and not self._overflow:
            self._more.append(ids)
            self._weigh(len(ids))

    def drain(self) -> Dirty:
        """What has become dirty since the last call; it is clean from now on."""
        found: dict[str, None] = dict.fromkeys(self._ids)
        for ids in self._more:
            found.update(dict.fromkeys(ids))
        overflow = self._overflow
        for reach, place in self._places.items():
            self._places[reach] = reach.journal.end
            unread = reach.journal.since(place)
            if unread is None:
                overflow = True
            else:
                found.update(dict.fromkeys(unread))
        self.forget()
        if overflow or len(found) > MOST_DIRTY:
            return Dirty(overflow=True)
        return Dirty(tuple(found))

    def forget(self) -> None:
        """Take what is dirty, apart from the journals of roots, for clean."""
        self._ids, self._more, self._weight, self._overflow = set(), [], 0, False

    def covers(self, group: Group) -> bool:
        """Whether the agent may serve the entries of a group."""
        if self.selectors is None:
            return False
        return group.parent_id == self.agent_id or any(group in reach.groups for reach in self._places)

    def parents(self) -> tuple[str, ...]:
        """The parents of all groups whose entries the agent may serve; perhaps its own without entries."""
        if self.selectors is None:
            return ()
        found = {self.agent_id: None}
        for reach in self._places:
            found.update(dict.fromkeys(group.parent_id for group in reach.groups))
        return tuple(found)

    def sums(self, own: Group | None) -> Iterator[Sums]:
        """Sums that cover all entries which the agent may serve, and none of them twice.

        Args:
            own: The group directly below the agent, if there is one.
        """
        if self.selectors is None:
            return
        if own is not None and not any(own in reach.groups for reach in self._places):
            yield own.sums
        versions = [reach.version for reach in self._places]
        if versions != self._versions:
            self._whole, self._rest = _disjoint(self._places)
            self._versions = versions
        for reach in self._whole:
            yield reach.sums
        for group in self._rest:
            yield group.sums

    def _weigh(self, more: int) -> None:
        self._weight += more
        if self._weight > MOST_DIRTY:
            self.forget()
            self._overflow = True


def _disjoint(reaches: Collection[Reach]) -> tuple[list[Reach], list[Group]]:
    """Reaches that have no group in common, and the groups that only others have."""
    whole: list[Reach] = []
    rest: set[Group] = set()
    for reach in sorted(reaches, key=lambda each: len(each.groups), reverse=True):
        if reach.groups.isdisjoint(rest) and all(reach.groups.isdisjoint(each.groups) for each in whole):
            whole.append(reach)
        else:
            rest |= reach.groups.difference(*(each.groups for each in whole))
    return whole, list(rest)
