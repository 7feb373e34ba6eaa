"""Entries in memory: by id, in the forest, as aliases, by their ends, and who may administer by them.

What an agent may serve stands below the agent itself, below an alias whose selectors its node has now, or
below an entry that it may serve. An entry that has ended is in the table, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain
from operator import attrgetter

from finial.core.ids import TrustDomain, server_id
from finial.core.selectors import Selector
from finial.server.index.aliases import Aliases
from finial.server.index.audience import Audience
from finial.server.index.endings import Endings
from finial.server.index.groups import Forest, Group, above, below
from finial.server.index.ordered import Ordered
from finial.server.store.records import EntryRecord

_NONE: dict[str, EntryRecord] = {}


class EntryIndex:
    """All entries of the trust domain. Owned by the event loop.

    Args:
        trust_domain: Whose server's ID marks the aliases of nodes.
    """

    def __init__(self, trust_domain: TrustDomain) -> None:
        self._root = server_id(trust_domain).text
        self._all: Ordered[EntryRecord] = Ordered()
        self._privileged: dict[str, dict[str, EntryRecord]] = {}
        self._endings = Endings()
        self._ended: dict[str, dict[str, EntryRecord]] = {}  # by parent
        self._aliases = Aliases()
        groups: dict[str, Group] = {}
        self.groups: Mapping[str, Group] = groups
        self.audience = Audience(groups, self._aliases)
        self._forest = Forest(groups, self.audience)

    def get(self, entry_id: str) -> EntryRecord | None:
        """The entry with this id, if there is one, though it may have ended."""
        return self._all.get(entry_id)

    def current(self, entry_id: str) -> EntryRecord | None:
        """The entry with this id, if there is one that has not ended."""
        return None if entry_id in self._endings.ended else self._all.get(entry_id)

    def ids(self) -> Collection[str]:
        """The ids of all entries, in no order."""
        return self._all.keys()

    def after(self, seq: int) -> Sequence[EntryRecord]:
        """The entries behind a row number, in the order of creation, as they are at this moment."""
        return self._all.after(seq)

    def below(self, parent_id: str, after: int = 0) -> Sequence[EntryRecord]:
        """The entries directly under a parent, those that have ended too, as `after`.

        Args:
            parent_id: Whole URI.
            after: The row number behind which they are.
        """
        group = self.groups.get(parent_id)
        found = [] if group is None else group.rows.after(after)
        ended = [record for record in self._ended.get(parent_id, _NONE).values() if record.seq > after]
        return sorted(found + ended, key=attrgetter("seq")) if ended else found

    def __len__(self) -> int:
        return len(self._all)

    def put(self, record: EntryRecord) -> None:
        """Take an entry in, new or changed."""
        had_ended = record.id in self._endings.ended
        old = self._all.put(record.id, record)
        if old is not None:
            _discard(self._privileged, old.spiffe_id, old.id)
        if record.admin or record.downstream:
            self._privileged.setdefault(record.spiffe_id, {})[record.id] = record
        ended = self._endings.put(record.id, record.expires_at)
        if had_ended and old is not None:
            _discard(self._ended, old.parent_id, old.id)
        if ended:
            self._ended.setdefault(record.parent_id, {})[record.id] = record
        self._exchange(None if had_ended else old, None if ended else record)

    def remove(self, entry_id: str) -> None:
        """Take an entry out; nothing when it is not there."""
        old = self._all.remove(entry_id)
        if old is None:
            return
        _discard(self._privileged, old.spiffe_id, entry_id)
        if entry_id in self._endings.ended:
            _discard(self._ended, old.parent_id, entry_id)
        else:
            self._exchange(old, None)
        self._endings.drop(entry_id)

    def expire(self, now: float) -> None:
        """Take the entries that have ended out of the forest, and in again after the clock has been set back.

        Args:
            now: Unix seconds.
        """
        gone, back = self._endings.look(now)
        for entry_id in gone:
            record = self._all.get(entry_id)
            assert record is not None
            self._ended.setdefault(record.parent_id, {})[entry_id] = record
            self._exchange(record, None)
        for entry_id in back:
            record = self._all.get(entry_id)
            assert record is not None
            _discard(self._ended, record.parent_id, entry_id)
            self._exchange(None, record)

    def next_end(self) -> int | None:
        """When the next entry ends, Unix seconds; None if none will."""
        return self._endings.next()

    @property
    def any_ended(self) -> bool:
        """Whether an entry has ended that is still in the table."""
        return bool(self._endings.ended)

    def is_admin(self, spiffe_id: str, now: float) -> bool:
        """Whether an entry that has not ended makes this ID an administrator.

        Args:
            spiffe_id: Whole URI.
            now: Unix seconds.
        """
        found = self._privileged.get(spiffe_id, _NONE).values()
        return any(record.admin and not record.expired(now) for record in found)

    def is_downstream(self, spiffe_id: str, now: float) -> bool:
        """Whether an entry that has not ended makes this ID a downstream server; arguments as `is_admin`."""
        found = self._privileged.get(spiffe_id, _NONE).values()
        return any(record.downstream and not record.expired(now) for record in found)

    def authorized(self, agent_id: str, selectors: frozenset[Selector]) -> Iterator[EntryRecord]:
        """The entries that an agent may serve, each once; to be used up before anything changes.

        Args:
            agent_id: Whole URI.
            selectors: What its node has.
        """
        found = (self.groups.get(root) for root in self._roots(agent_id, selectors))
        return chain.from_iterable(
            group.rows for group in below(group for group in found if group is not None)
        )

    def may_serve(self, agent_id: str, selectors: frozenset[Selector], record: EntryRecord) -> bool:
        """Whether an agent may serve an entry, which has not ended.

        Args:
            agent_id: Whole URI.
            selectors: What its node has.
            record: The entry.
        """
        if record.parent_id == agent_id:
            return True
        roots = self._roots(agent_id, selectors)
        own = self.groups.get(agent_id)
        if own is not None:  # spares the way up to all agents that lead to the same group
            roots.update(group.parent_id for group in own.down)
        return any(group.parent_id in roots for group in above(self.groups[record.parent_id]))

    def parents_above(self, record: EntryRecord) -> frozenset[str]:
        """Whose agents, or whose aliases' nodes, may serve an entry, which has not ended; whole URIs."""
        return frozenset(group.parent_id for group in above(self.groups[record.parent_id]))

    def roots(self, selectors: frozenset[Selector]) -> Iterator[str]:
        """The IDs that aliases give a node, some perhaps repeatedly.

        Args:
            selectors: What it has.
        """
        return (alias.root for alias in self._aliases.matching(selectors))

    def _roots(self, agent_id: str, selectors: frozenset[Selector]) -> set[str]:
        return {agent_id, *self.roots(selectors)}

    def _exchange(self, old: EntryRecord | None, new: EntryRecord | None) -> None:
        """Have an entry in the forest, and among the aliases, in place of what it was."""
        if old is not None and new is not None and _place(old) == _place(new):
            self._forest.exchange(old, new)
        else:
            if old is not None:
                self._forest.remove(old)
            if new is not None:
                self._forest.add(new)
        key = old or new
        if key is None:
            return
        alias = self._aliases.get(key.id)
        if new is not None and new.parent_id == self._root:
            now = self._aliases.put(new)
        else:
            now = None
            self._aliases.remove(key.id)
        if alias is not now:
            self.audience.realiased(alias, now)


def _place(record: EntryRecord) -> tuple[int, str, str]:
    return record.seq, record.parent_id, record.spiffe_id


def _discard(groups: dict[str, dict[str, EntryRecord]], group: str, key: str) -> None:
    members = groups.get(group)
    if members is not None:
        members.pop(key, None)
        if not members:
            del groups[group]
