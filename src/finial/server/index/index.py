"""The whole index: what the store has committed, as it is committed."""

from __future__ import annotations

import asyncio
import gc
import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from itertools import count
from typing import Final

from finial.core.bundle import Bundle, BundleSet
from finial.core.ids import TrustDomain
from finial.core.selectors import Selector
from finial.runtime.clock import Clock, wait_at_most
from finial.server.index.differences import differences
from finial.server.index.entries import EntryIndex
from finial.server.index.interest import Interest
from finial.server.index.ordered import Ordered
from finial.server.index.subscriptions import Subscription
from finial.server.store.records import BundleRecord, Change, ChangeKind, EntryRecord, NodeRecord
from finial.server.store.snapshot import Snapshot

Listener = Callable[[Sequence[Change]], None]

_NAP: Final = timedelta(seconds=2)
"""How late it may be noticed that the machine's clock was set."""
_SHORTEST_NAP: Final = timedelta(milliseconds=1)


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
        self.epoch = ""
        self.position = 0  # of the last change in the log that has been applied
        self._listeners: list[Listener] = []
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []  # a heap, by position
        self._numbers = count()  # of those who wait
        self._alarm: int | None = None  # when `run` expects the next entry to end
        self._still = False  # whether it does not look at the time any more, as nothing ends or has ended
        self._sooner = asyncio.Event()

    @property
    def bundle(self) -> Bundle | None:
        """The own bundle; None before the first authority is published."""
        record = self.bundles.get(self.trust_domain.name)
        return None if record is None else record.bundle

    def bundle_set(self, trust_domains: Iterable[TrustDomain]) -> BundleSet:
        """The bundles of these trust domains, as far as there are any."""
        found = (self.bundles.get(domain.name) for domain in sorted(set(trust_domains)))
        return BundleSet(record.bundle for record in found if record is not None)

    # What an agent may serve.

    def authorized(self, agent_id: str, now: float) -> Iterator[EntryRecord]:
        """The entries that an agent may serve now, each once; none for one that has not attested.

        They are found as they are asked for, so they are to be used up before others have their turn.

        Args:
            agent_id: Whole URI.
            now: Unix seconds.
        """
        self.expire(now)
        selectors = self._selectors(agent_id)
        return iter(()) if selectors is None else self.entries.authorized(agent_id, selectors)

    def authorized_entry(self, agent_id: str, entry_id: str, now: float) -> EntryRecord | None:
        """The entry with this id, if an agent may serve it now.

        Args:
            agent_id: Whole URI.
            entry_id: Which entry.
            now: Unix seconds.
        """
        self.expire(now)
        record = self.entries.current(entry_id)
        selectors = self._selectors(agent_id)
        if record is None or selectors is None or not self.entries.may_serve(agent_id, selectors, record):
            return None
        return record

    def agents_of(self, entry_id: str) -> Iterator[str]:
        """The IDs of the agents that may serve an entry, as of the last look at the time.

        All nodes are looked at, as they are at the beginning, so the work should be done in slices.
        """
        record = self.entries.current(entry_id)
        if record is None:
            return
        parents = self.entries.parents_above(record)
        for node in self.nodes.after(0):
            if node.banned:
                continue
            if node.id in parents or not parents.isdisjoint(self.entries.roots(frozenset(node.selectors))):
                yield node.id

    def watch(self, agent_id: str, wake: Callable[[], None]) -> Subscription:
        """Have what an agent may serve watched, from now on and until the subscription is closed.

        Args:
            agent_id: Whole URI; need not have attested.
            wake: Called, on the loop, when entries of the agent become dirty, a bundle that concerns it
                changes, its node's record changes or goes, or the epoch changes. It must not raise.
        """
        interest = Interest(agent_id, wake)
        self.entries.audience.admit(interest, self.nodes.get(agent_id))
        return Subscription(interest, self.entries, self._own_and)

    # Changes.

    def subscribe(self, listener: Listener) -> None:
        """Have a function called behind each application of changes."""
        self._listeners.append(listener)

    def reached(self, position: int) -> asyncio.Future[None]:
        """Done when the changes up to a position in the log have been applied."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if position <= self.position:
            future.set_result(None)
        else:
            heapq.heappush(self._waiting, (position, next(self._numbers), future))
        return future

    def load(self, snapshot: Snapshot) -> None:
        """Take the store's content in, into an empty index."""
        # Nothing of what is loaded is garbage: collections would look at all of it, again and again.
        gc.disable()
        try:
            for entry in snapshot.entries:
                self.entries.put(entry)
            for node in snapshot.nodes:
                self.nodes.put(node.id, node)
            for bundle in snapshot.bundles:
                self.bundles.put(bundle.bundle.trust_domain.name, bundle)
        finally:
            gc.enable()
        gc.freeze()
        self.epoch, self.position = snapshot.epoch, snapshot.position

    def apply(self, changes: Sequence[Change], position: int) -> None:
        """Take in what has been committed, in the order of the commits.

        Args:
            changes: What has changed.
            position: Of the last of them in the log.
        """
        for change in changes:
            self._apply(change)
        self.position = position
        self._tell(changes)

    def reload(self, snapshot: Snapshot) -> None:
        """Take the store's content in, in place of what the index has; whatever differs is a change."""
        if snapshot.epoch != self.epoch:
            self.epoch = snapshot.epoch
            self.entries.audience.stir_all()
        self.apply(differences(self, snapshot), snapshot.position)

    def take_epoch(self, epoch: str) -> None:
        """Go on in another epoch; all who watch are told."""
        self.epoch = epoch
        self.entries.audience.stir_all()
        self.entries.audience.flush()

    # Time.

    def expire(self, now: float) -> float | None:
        """Let go of the entries that have ended; take them back should the clock have been set back.

        Costs nothing when none has. Whoever answers by the entries has this called first.

        Args:
            now: Unix seconds.

        Returns:
            When the next one ends, Unix seconds; None if none will.
        """
        self.entries.expire(now)
        self.entries.audience.flush()
        return self.entries.next_end()

    async def run(self, clock: Clock) -> None:
        """Let go of entries when they end, for ever.

        Args:
            clock: Says when that is.
        """
        while True:
            self._sooner.clear()
            now = clock.now().timestamp()
            self.expire(now)
            self._alarm = self.entries.next_end()
            self._still = self._alarm is None and not self.entries.any_ended
            if self._still:
                await self._sooner.wait()
            else:
                left = _NAP if self._alarm is None else timedelta(seconds=self._alarm - now)
                await wait_at_most(clock, self._sooner, max(min(left, _NAP), _SHORTEST_NAP))

    # What these are made of.

    def _selectors(self, agent_id: str) -> frozenset[Selector] | None:
        """What an agent's node has; None for one that is not admitted."""
        node = self.nodes.get(agent_id)
        return None if node is None or node.banned else frozenset(node.selectors)

    def _own_and(self, domains: Iterable[str]) -> tuple[BundleRecord, ...]:
        found = (self.bundles.get(name) for name in (self.trust_domain.name, *domains))
        return tuple(record for record in found if record is not None)

    def _apply(self, change: Change) -> None:
        match change.kind, change.record:
            case ChangeKind.ENTRY, EntryRecord() as entry:
                self.entries.put(entry)
            case ChangeKind.ENTRY, _:
                self.entries.remove(change.key)
            case ChangeKind.NODE, node:
                assert node is None or isinstance(node, NodeRecord)
                if node is None:
                    self.nodes.remove(change.key)
                else:
                    self.nodes.put(change.key, node)
                self.entries.audience.node_changed(change.key, node)
            case ChangeKind.BUNDLE, bundle:
                assert bundle is None or isinstance(bundle, BundleRecord)
                if bundle is None:
                    self.bundles.remove(change.key)
                else:
                    self.bundles.put(change.key, bundle)
                own = change.key == self.trust_domain.name
                self.entries.audience.stir_all(None if own else change.key)

    def _tell(self, changes: Sequence[Change]) -> None:
        """Tell all who wait or listen that changes have been applied."""
        for listener in self._listeners:
            listener(changes)
        self.entries.audience.flush()
        while self._waiting and self._waiting[0][0] <= self.position:
            future = heapq.heappop(self._waiting)[2]
            if not future.done():
                future.set_result(None)
        coming = self.entries.next_end()
        earlier = coming is not None and (self._alarm is None or coming < self._alarm)
        # What has ended by the last look need not have ended: the clock may have been set back long since.
        if earlier or (self._still and self.entries.any_ended):
            self._sooner.set()
