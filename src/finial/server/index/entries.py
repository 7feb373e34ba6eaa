"""Entries in memory: by id, by parent, and which of them an agent is authorised for.

A level of the tree holds when it is the agent itself, an alias whose selectors the node has now, or an entry
reached from one of these that has not ended.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TypeVar

from finial.core.ids import TrustDomain, server_id
from finial.core.selectors import Selector
from finial.server.index.ordered import Ordered
from finial.server.store.records import EntryRecord
from finial.wire import registry

Key = TypeVar("Key")

_NONE: dict[str, EntryRecord] = {}


class EntryIndex:
    """All entries of the trust domain. Owned by the event loop.

    Args:
        trust_domain: Whose server's ID marks the aliases of nodes.
    """

    def __init__(self, trust_domain: TrustDomain) -> None:
        self._root = server_id(trust_domain).text
        self._all: Ordered[EntryRecord] = Ordered()
        self._children: dict[str, dict[str, EntryRecord]] = {}
        self._privileged: dict[str, dict[str, EntryRecord]] = {}
        # Each alias stands under one of its selectors, the one that fewest others stand under.
        self._aliases: dict[Selector, dict[str, EntryRecord]] = {}
        self._alias_selectors: dict[str, tuple[Selector, frozenset[Selector]]] = {}

    def get(self, entry_id: str) -> EntryRecord | None:
        """The entry with this id, if there is one."""
        return self._all.get(entry_id)

    def after(self, seq: int) -> Sequence[EntryRecord]:
        """The entries behind a row number, in the order of creation, as they are at this moment."""
        return self._all.after(seq)

    def below(self, parent_id: str) -> Collection[EntryRecord]:
        """The entries directly under a parent."""
        return self._children.get(parent_id, _NONE).values()

    def __len__(self) -> int:
        return len(self._all)

    def put(self, record: EntryRecord) -> None:
        """Take an entry in, new or changed."""
        old = self._all.put(record.id, record)
        if old is not None:
            self._unlink(old)
        self._children.setdefault(record.parent_id, {})[record.id] = record
        if record.admin or record.downstream:
            self._privileged.setdefault(record.spiffe_id, {})[record.id] = record
        if record.parent_id == self._root:
            self._add_alias(record)

    def remove(self, entry_id: str) -> None:
        """Take an entry out; nothing when it is not there."""
        old = self._all.remove(entry_id)
        if old is not None:
            self._unlink(old)

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

    def authorized(self, agent_id: str, selectors: Iterable[Selector], now: float) -> dict[str, EntryRecord]:
        """The entries that an agent may serve now, by id.

        Args:
            agent_id: Whole URI.
            selectors: What its node has now.
            now: Unix seconds.
        """
        found: dict[str, EntryRecord] = {}
        visited: set[str] = set()
        waiting = [agent_id, *(alias.spiffe_id for alias in self._matching(frozenset(selectors), now))]
        while waiting:
            parent = waiting.pop()
            if parent in visited:
                continue
            visited.add(parent)
            for record in self._children.get(parent, _NONE).values():
                if not record.expired(now):
                    found[record.id] = record
                    waiting.append(record.spiffe_id)
        return found

    def _matching(self, selectors: frozenset[Selector], now: float) -> Iterator[EntryRecord]:
        for selector in selectors:
            for record in self._aliases.get(selector, _NONE).values():
                if self._alias_selectors[record.id][1] <= selectors and not record.expired(now):
                    yield record

    def _add_alias(self, record: EntryRecord) -> None:
        selectors = frozenset(registry.decode_entry(record.data).selectors)
        rarest = min(sorted(selectors), key=lambda selector: len(self._aliases.get(selector, _NONE)))
        self._aliases.setdefault(rarest, {})[record.id] = record
        self._alias_selectors[record.id] = rarest, selectors

    def _unlink(self, old: EntryRecord) -> None:
        _discard(self._children, old.parent_id, old.id)
        _discard(self._privileged, old.spiffe_id, old.id)
        place = self._alias_selectors.pop(old.id, None)
        if place is not None:
            _discard(self._aliases, place[0], old.id)


def _discard(groups: dict[Key, dict[str, EntryRecord]], group: Key, key: str) -> None:
    members = groups.get(group)
    if members is not None:
        members.pop(key, None)
        if not members:
            del groups[group]
