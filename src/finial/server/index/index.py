"""The whole index: what the store has committed, as it is committed."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Sequence

from finial.core.bundle import Bundle, BundleSet
from finial.core.ids import TrustDomain
from finial.server.index.entries import EntryIndex
from finial.server.index.ordered import Ordered
from finial.server.store.records import BundleRecord, Change, ChangeKind, EntryRecord, NodeRecord

Listener = Callable[[Sequence[Change]], None]


class Index:
    """Entries, nodes and bundles in memory. Owned by the event loop.

    Args:
        trust_domain: The server's own.
    """

    def __init__(self, trust_domain: TrustDomain) -> None:
        self.trust_domain = trust_domain
        self.entries = EntryIndex(trust_domain)
        self.nodes: Ordered[NodeRecord] = Ordered()
        self.bundles: Ordered[BundleRecord] = Ordered()
        self.version = 0  # rises with each application of changes
        self._listeners: list[Listener] = []

    @property
    def bundle(self) -> Bundle | None:
        """The own bundle; None before the first authority is published."""
        record = self.bundles.get(self.trust_domain.name)
        return None if record is None else record.bundle

    def bundle_set(self, trust_domains: Iterable[TrustDomain]) -> BundleSet:
        """The bundles of these trust domains, as far as there are any."""
        found = (self.bundles.get(domain.name) for domain in sorted(set(trust_domains)))
        return BundleSet(record.bundle for record in found if record is not None)

    def authorized(self, agent_id: str, now: float) -> dict[str, EntryRecord]:
        """The entries that an agent may serve now, by id; none for one that has not attested.

        Args:
            agent_id: Whole URI.
            now: Unix seconds.
        """
        node = self.nodes.get(agent_id)
        if node is None or node.banned:
            return {}
        return self.entries.authorized(agent_id, node.selectors, now)

    def subscribe(self, listener: Listener) -> None:
        """Have a function called behind each application of changes."""
        self._listeners.append(listener)

    def load(
        self,
        entries: Iterable[EntryRecord],
        nodes: Iterable[NodeRecord],
        bundles: Iterable[BundleRecord],
    ) -> None:
        """Take the store's snapshot in, into an empty index."""
        # Nothing of what is loaded is garbage: collections would look at all of it, again and again.
        gc.disable()
        try:
            for entry in entries:
                self.entries.put(entry)
            for node in nodes:
                self.nodes.put(node.id, node)
            for bundle in bundles:
                self.bundles.put(bundle.bundle.trust_domain.name, bundle)
        finally:
            gc.enable()
        gc.freeze()

    def apply(self, changes: Sequence[Change]) -> None:
        """Take in what has been committed, in the order of the commits."""
        self.version += 1
        for change in changes:
            self._apply(change)
        for listener in self._listeners:
            listener(changes)

    def _apply(self, change: Change) -> None:
        match change.kind, change.record:
            case ChangeKind.ENTRY, EntryRecord() as entry:
                self.entries.put(entry)
            case ChangeKind.ENTRY, _:
                self.entries.remove(change.key)
            case ChangeKind.NODE, NodeRecord() as node:
                self.nodes.put(node.id, node)
            case ChangeKind.NODE, _:
                self.nodes.remove(change.key)
            case ChangeKind.BUNDLE, BundleRecord() as bundle:
                self.bundles.put(change.key, bundle)
            case _:
                self.bundles.remove(change.key)
