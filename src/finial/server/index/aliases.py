"""Aliases of nodes: entries under the server's own ID, which hold for every node that has their selectors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from finial.core.selectors import Selector
from finial.server.store.records import EntryRecord
from finial.wire import registry


@dataclass(frozen=True, slots=True, eq=False)
class Alias:
    """One alias.

    Args:
        root: The ID that it gives to nodes, whole URI; the entries of these stand below it.
        selectors: What a node needs, all of them.
        rarest: The one under which it is found.
    """

    root: str
    selectors: frozenset[Selector]
    rarest: Selector


class Aliases:
    """All aliases that have not ended. Owned by the event loop."""

    def __init__(self) -> None:
        self._by_id: dict[str, Alias] = {}
        # Each stands under one of its selectors, the one that fewest others stand under.
        self._by_rarest: dict[Selector, dict[str, Alias]] = {}

    def get(self, entry_id: str) -> Alias | None:
        """The alias that an entry is, if it is one."""
        return self._by_id.get(entry_id)

    def put(self, record: EntryRecord) -> Alias:
        """Take an alias in, new or changed; the same object as before if it says the same."""
        selectors = frozenset(registry.decode_entry(record.data).selectors)
        old = self._by_id.get(record.id)
        if old is not None and old.root == record.spiffe_id and old.selectors == selectors:
            return old
        self.remove(record.id)
        rarest = min(sorted(selectors), key=lambda selector: len(self._by_rarest.get(selector, ())))
        alias = Alias(record.spiffe_id, selectors, rarest)
        self._by_id[record.id] = self._by_rarest.setdefault(rarest, {})[record.id] = alias
        return alias

    def remove(self, entry_id: str) -> None:
        """Take an alias out; nothing when it is not there."""
        alias = self._by_id.pop(entry_id, None)
        if alias is not None:
            place = self._by_rarest[alias.rarest]
            del place[entry_id]
            if not place:
                del self._by_rarest[alias.rarest]

    def matching(self, selectors: frozenset[Selector]) -> Iterator[Alias]:
        """The aliases that hold for a node.

        Args:
            selectors: What it has.
        """
        for selector in selectors:
            for alias in self._by_rarest.get(selector, {}).values():
                if alias.selectors <= selectors:
                    yield alias
