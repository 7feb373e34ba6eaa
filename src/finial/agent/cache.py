"""The book on the event loop: who watches it, what they are sent, and when the rest of the agent looks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from finial.agent.book import AuthorizedEntry, Book, Change, Held
from finial.agent.encode import Fragments
from finial.core.bundle import Bundle
from finial.core.ids import TrustDomain
from finial.core.selectors import Selector
from finial.runtime.clock import Clock, wait_at_most

# Changes of more entries than this wake every watcher: finding out whom they concern would cost more.
_MANY = 64
_TOGETHER = timedelta(milliseconds=500)
LONGEST_NAP = timedelta(seconds=5)
"""No timer sleeps longer, so that a change of the machine's clock is noticed soon."""


@dataclass(eq=False, slots=True)
class Watcher:
    """One open stream: what it last looked at, and the event that tells it to look again."""

    changed: asyncio.Event = field(default_factory=asyncio.Event)
    selectors: frozenset[Selector] = frozenset()
    entries: frozenset[str] = frozenset()
    domains: frozenset[TrustDomain] = frozenset()


@dataclass(frozen=True, slots=True)
class Content:
    """What a caller gets.

    Args:
        entitled: Whether any entry is for it.
        message: The encoded response; None when there is nothing to fill one with.
        complete: Whether it is not worth to wait for what is missing: there is nothing, or others are there
            and it has failed already.
    """

    entitled: bool
    message: bytes | None
    complete: bool


class Cache:
    """Owns the book, which nobody else changes, and tells watchers what concerns them.

    Args:
        book: With nothing but the own bundle in it, as a rule.
        clock: Time.
    """

    def __init__(self, book: Book, clock: Clock) -> None:
        self.book = book
        self.synced = asyncio.Event()
        """Set once the server has told of its entries; from then on an absent one does not exist."""
        self.work = asyncio.Event()
        """Set when something may have to be signed."""
        self.wiped = False
        """Whether the agent has lost its standing, so that there is nothing to wait for."""
        self._clock = clock
        self._ends = asyncio.Event()  # set when the next end may be another one
        self._fragments = Fragments()
        self._watchers: set[Watcher] = set()
        self._messages: dict[tuple[str, ...], bytes] = {}
        self._bundle_messages: dict[tuple[TrustDomain, ...], bytes] = {}

    @property
    def watchers(self) -> int:
        """How many streams are open."""
        return len(self._watchers)

    def apply(self, *changes: Change) -> None:
        """Tell whom it concerns that the book has changed; several changes at once are one."""
        merged = Change(
            frozenset().union(*(change.entries for change in changes)),
            tuple(entry for change in changes for entry in change.came),
            any(change.own_bundle for change in changes),
            frozenset().union(*(change.domains for change in changes)),
        )
        self.work.set()
        if not merged:
            return
        self._ends.set()
        self._messages.clear()
        self._bundle_messages.clear()
        bundles = [self.book.bundle, *self.book.foreign.values()]
        self._fragments.forget(merged.entries, all_but=bundles)
        for watcher in self._watchers:
            if not watcher.changed.is_set() and _concerns(merged, watcher):
                watcher.changed.set()

    def wipe(self) -> None:
        """Drop every entry, SVID and key, and tell every watcher at once."""
        self.wiped = True
        self.apply(self.book.wipe())

    @contextmanager
    def watch(self) -> Iterator[Watcher]:
        """A watcher that is told of changes until the block ends."""
        watcher = Watcher()
        self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)

    def x509_svids(self, watcher: Watcher, selectors: frozenset[Selector]) -> Content:
        """The FetchX509SVID response of a caller, and what to tell its watcher of from now on.

        Args:
            watcher: Of the stream.
            selectors: Of the caller, at this moment.
        """
        entries = self._look(watcher, selectors)
        if self.book.demand(entries):
            self.work.set()
        ready = [(entry, held) for entry in entries if (held := self._valid(entry)) is not None]
        if not ready:
            return Content(bool(entries), None, complete=not entries)
        key = tuple(entry.id for entry, _ in ready)
        missing = {entry.id for entry in entries}.difference(key)
        complete = all(self.book.failing(entry_id) for entry_id in missing)
        message = self._messages.get(key)
        if message is None:
            own = self.book.bundle
            fragments = [self._fragments.identity(entry, held, own) for entry, held in ready]
            foreign = [self._fragments.federated(bundle) for bundle in self._foreign(e for e, _ in ready)]
            message = self._messages[key] = b"".join([*fragments, *foreign])
        return Content(True, message, complete)

    def x509_bundles(self, watcher: Watcher, selectors: frozenset[Selector]) -> Content:
        """The FetchX509Bundles response of a caller, and what to tell its watcher of from now on.

        Args:
            watcher: Of the stream.
            selectors: Of the caller, at this moment.
        """
        entries = self._look(watcher, selectors)
        if not entries:
            return Content(False, None, complete=True)
        bundles = [self.book.bundle, *self._foreign(entries)]
        key = tuple(bundle.trust_domain for bundle in bundles)
        message = self._bundle_messages.get(key)
        if message is None:
            message = b"".join(map(self._fragments.bundle, bundles))
            self._bundle_messages[key] = message
        return Content(True, message, complete=True)

    async def keep(self) -> None:
        """Let nothing be served beyond its end; runs as long as the agent does."""
        while True:
            now = self._clock.now()
            ended = self.book.expire(now)
            if ended:
                self.apply(ended)
            self._ends.clear()
            end = self.book.next_end()
            nap = LONGEST_NAP if end is None else min(end - now, LONGEST_NAP)
            await wait_at_most(self._clock, self._ends, nap)

    async def until_work(self) -> tuple[AuthorizedEntry, ...]:
        """Wait until something has to be signed, and return it, the most urgent first."""
        while True:
            self.work.clear()
            now = self._clock.now()
            due = self.book.due(now)
            if due.entries:
                # With them goes what falls due at once afterwards: renewals would come one by one else.
                return self.book.due(now + _TOGETHER).entries
            nap = LONGEST_NAP if due.next_at is None else min(due.next_at - now, LONGEST_NAP)
            await wait_at_most(self._clock, self.work, nap)

    def _look(self, watcher: Watcher, selectors: frozenset[Selector]) -> tuple[AuthorizedEntry, ...]:
        entries = self.book.entitled(selectors)
        watcher.selectors = selectors
        watcher.entries = frozenset(entry.id for entry in entries)
        watcher.domains = frozenset(domain for entry in entries for domain in entry.federates_with)
        return entries

    def _valid(self, entry: AuthorizedEntry) -> Held | None:
        held = self.book.held(entry.id)
        return held if held is not None and held.expires_at > self._clock.now() else None

    def _foreign(self, entries: Iterable[AuthorizedEntry]) -> list[Bundle]:
        """The bundles that these entries name, as far as they are held; never any other."""
        domains = sorted({domain for entry in entries for domain in entry.federates_with})
        found = (self.book.foreign.bundle_for(domain) for domain in domains)
        return [bundle for bundle in found if bundle is not None]


def _concerns(change: Change, watcher: Watcher) -> bool:
    if change.own_bundle or len(change.entries) > _MANY:
        return True
    if not watcher.entries.isdisjoint(change.entries) or not watcher.domains.isdisjoint(change.domains):
        return True
    return any(entry.selectors <= watcher.selectors for entry in change.came)
