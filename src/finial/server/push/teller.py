"""What an agent is told: read when a page is made. There is no queue, only what is to be looked at again.

Generators make the pages, and yield None where others should have their turn. Between one page and the next
anything may change; it becomes dirty then, and what is dirty is told behind what was read before. The last
page is made without a pause from what is dirty at that moment, so that its state is exact.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import Protocol

from finial.core.setdigest import SetDigest, mark_of, to_bytes
from finial.rpc.status import RpcError, StatusCode
from finial.server.api.slices import Slices
from finial.server.index.index import Index
from finial.server.index.subscriptions import Cursor, Subscription
from finial.server.push.conversation import Opening, opening
from finial.server.push.draft import PAGE_ITEMS, Draft
from finial.server.store.records import BundleRecord, EntryRecord
from finial.wire import push
from finial.wire.entryframes import agent_prefix
from finial.wire.push import Page, State

_Pages = Generator[Page | None, None, bool]


class Ledger(Protocol):
    """Notes which of the entries that are told have changed lately."""

    def tell(self, entry_id: str) -> None:
        """An entry, or that it is gone, is on the page in the making."""


class Teller:
    """Makes the changes of one stream. Owned by the event loop.

    Args:
        index: Has epoch, position and entries.
        subscription: Of the stream's agent.
        ledger: Is told what is told.
    """

    def __init__(self, index: Index, subscription: Subscription, ledger: Ledger) -> None:
        self._index = index
        self._subscription = subscription
        self._ledger = ledger
        self._told: State | None = None  # what the agent holds when the last change is in force
        self._pending: dict[str, None] = {}  # ids of entries to be looked at again
        self._bundles: dict[str, tuple[BundleRecord, int]] = {}  # as the agent has been sent them; marks
        self._bundle_sum = SetDigest()
        # While everything or a difference is told: what the agent will hold behind the pages so far.
        self._holds: dict[str, bytes] | None = None

    def begin(self, held: State | None) -> Opening:
        """How to bring the agent to what it may serve; what has been dirty until now does not matter.

        Args:
            held: What it says that it holds; None for nothing.
        """
        self._subscription.drain()
        self._pending.clear()
        bundles = {record.bundle.trust_domain.name: record for record in self._subscription.bundles()}
        for name, record in bundles.items():
            self._note_bundle(name, record)
        here = self._state()
        if held is None or held.bundles != here.bundles:
            self._bundles, self._bundle_sum = {}, SetDigest()
        self._told = held
        return opening(held, here)

    def begin_again(self) -> Opening:
        """As `begin`, from what the agent holds by what it has said and has been told since."""
        return self.begin(self._told)

    @property
    def count(self) -> int:
        """How many entries the agent may serve."""
        return self._subscription.digest().count

    @property
    def held(self) -> int:
        """How many entries the agent holds, as far as is known."""
        return 0 if self._told is None else self._told.count

    @property
    def sequence(self) -> int | None:
        """The sequence number of the own bundle that the agent has been sent, if any."""
        found = self._bundles.get(self._index.trust_domain.name)
        return None if found is None else found[0].bundle.sequence

    def news(self) -> Opening | None:
        """Whether there is something to tell, and whether the agent has to say first what it holds."""
        told = self._told
        assert told is not None  # a change has been told
        overflow, here = self._collect(), self._state()
        if overflow and not told.same_entries(here):
            return Opening.COMPARE
        if self._pending or not here.says_alike(told) or self._other_bundles():
            return Opening.CURRENT
        return None

    def still(self) -> State:
        """What the agent holds when there is no news: what it has held, and how far the log is by now."""
        told = self._told
        assert told is not None  # a change has been told
        if told.seq != self._index.position:
            told = self._told = replace(told, seq=self._index.position)
        return told

    def change(self, number: int, slices: Slices) -> Iterator[Page | None]:
        """What has changed, perhaps nothing.

        Args:
            number: Of the change.
            slices: Says when others should have their turn.

        Raises:
            RpcError: UNAVAILABLE, so much changes meanwhile that the agent has to begin again.
        """
        draft = Draft()
        if not (yield from self._settle(draft, slices)):
            raise RpcError(StatusCode.UNAVAILABLE, "more has changed than can be told; begin again")
        yield self._last(draft, number)

    def transfer(
        self, holds: dict[str, bytes], *, reset: bool, number: int, slices: Slices
    ) -> Iterator[Page | None]:
        """Everything that the agent does not hold, and what it holds too much.

        Args:
            holds: Marks by entry id; changed.
            reset: Whether it is to forget everything first.
            number: Of the change.
            slices: Says when others should have their turn.
        """
        draft = Draft(reset=reset)
        if reset:
            self._bundles, self._bundle_sum = {}, SetDigest()
        self._holds = holds
        try:
            while True:
                self._collect()  # however much that is: everything is looked at now
                if not (yield from self._walk(draft, slices)):
                    continue
                # All that it may serve is among what it will hold, of which nothing or something is too much.
                if len(holds) == self.count:
                    break
                yield from self._sweep(draft, slices)
                if (yield from self._settle(draft, slices)):
                    break
        finally:
            self._holds = None
        yield self._last(draft, number)

    def _walk(self, draft: Draft, slices: Slices) -> _Pages:
        """Look at all entries, and after each page of them at what is dirty; False as `_settle`."""
        cursor: Cursor | None = None
        while True:
            records, cursor = self._subscription.page(cursor, PAGE_ITEMS)
            for record in records:
                while not self._tell(draft, record.id, record):
                    yield draft.take()
                if slices.over():
                    yield None
            # Behind them: what was read of them may be old by now, and is dirty then.
            if not (yield from self._settle(draft, slices)):
                return False
            if cursor is None:
                return True

    def _sweep(self, draft: Draft, slices: Slices) -> Iterator[Page | None]:
        """Look at what the agent holds: some of it may be none of its business any more."""
        assert self._holds is not None
        for entry_id in list(self._holds):
            if self._subscription.get(entry_id) is None:
                while not self._tell(draft, entry_id, None):
                    yield draft.take()
            if slices.over():
                yield None

    def _settle(self, draft: Draft, slices: Slices) -> _Pages:
        """Tell what is dirty, until nothing is; False when so much was dirty that it is not known."""
        while True:
            if self._collect():
                return False
            room = self._fill(draft, slices)
            if room is None:
                return True
            yield None if room else draft.take()

    def _fill(self, draft: Draft, slices: Slices) -> bool | None:
        """Put what is dirty on the page; None when all is, else whether there is room for more."""
        while self._pending:
            entry_id, _ = self._pending.popitem()
            if not self._tell(draft, entry_id, self._subscription.get(entry_id)):
                self._pending[entry_id] = None
                return False
            if slices.over():
                return True
        current = {record.bundle.trust_domain.name: record for record in self._subscription.bundles()}
        for name in [name for name in self._bundles if name not in current]:
            if not draft.bundle(name, None):
                return False
            self._forget_bundle(name)
        for name, record in current.items():
            if not self._has_bundle(name, record):
                if not draft.bundle(name, record.data):
                    return False
                self._note_bundle(name, record)
        return None

    def _tell(self, draft: Draft, entry_id: str, record: EntryRecord | None) -> bool:
        """Put on the page what an entry is now, unless the agent knows; False when there is no room."""
        holds = self._holds
        if record is None:
            if (holds is None or entry_id in holds) and not draft.entry(entry_id, None):
                return False
            if holds is not None:
                holds.pop(entry_id, None)
        else:
            mark = to_bytes(mark_of(record.data))
            if holds is None or holds.get(entry_id) != mark:
                if not draft.entry(entry_id, push.item(mark, agent_prefix(record))):
                    return False
                if holds is not None:
                    holds[record.id] = mark
        self._ledger.tell(entry_id)
        return True

    def _collect(self) -> bool:
        """Take note of what is dirty; whether that is more than is known."""
        dirty = self._subscription.drain()
        if dirty.overflow:
            self._pending = {}
        else:
            self._pending.update(dict.fromkeys(dirty.entries))
        return dirty.overflow

    def _last(self, draft: Draft, number: int) -> Page:
        self._told = self._state()
        return draft.take(number=number, state=self._told)

    def _state(self) -> State:
        entries = self._subscription.digest()
        return State(
            epoch=self._index.epoch,
            seq=self._index.position,
            count=entries.count,
            digest=entries.digest,
            bundles=self._bundle_sum.digest,
        )

    def _other_bundles(self) -> bool:
        current = self._subscription.bundles()
        return len(current) != len(self._bundles) or not all(
            self._has_bundle(record.bundle.trust_domain.name, record) for record in current
        )

    def _has_bundle(self, name: str, record: BundleRecord) -> bool:
        found = self._bundles.get(name)
        return found is not None and (found[0] is record or found[0].data == record.data)

    def _note_bundle(self, name: str, record: BundleRecord) -> None:
        self._forget_bundle(name)
        mark = mark_of(record.data)
        self._bundles[name] = record, mark
        self._bundle_sum = self._bundle_sum.plus(mark)

    def _forget_bundle(self, name: str) -> None:
        old = self._bundles.pop(name, None)
        if old is not None:
            self._bundle_sum = self._bundle_sum.minus(old[1])
