"""The book on the event loop: who watches it, what they are sent, and when the rest of the agent looks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import islice

from finial.agent.audiences import Audience, Audiences, Content, Watcher
from finial.agent.book import Book, Change
from finial.agent.encode import Fragments
from finial.agent.entry import AuthorizedEntry
from finial.agent.holdings import Held
from finial.agent.progress import Progress, Stage, Step
from finial.agent.schedule import AT_ONCE
from finial.core.bundle import Bundle
from finial.core.selectors import Selector
from finial.runtime.clock import Clock, wait_at_most

LONGEST_NAP = timedelta(seconds=5)
"""No timer sleeps longer, so that a change of the machine's clock is noticed soon."""
# Streams that are told in one turn of the loop. Each costs 0.1 ms: a look, an attestation, a message.
_SLICE = 24
# Changes of more entries are for all streams, in slices: finding out whom they concern takes 2 us for each.
_MANY = 2_000


class Cache:
    """Owns the book, which nobody else changes, and tells watchers what concerns them.

    Args:
        book: With nothing but the own bundle in it, as a rule.
        clock: Time.
        progress: Is told what has been delivered.
    """

    def __init__(self, book: Book, clock: Clock, progress: Progress) -> None:
        self.book = book
        self.synced = asyncio.Event()
        """Set once the server has told of its entries; from then on an absent one does not exist."""
        self.work = asyncio.Event()
        """Set when something may have to be signed."""
        self.wiped = False
        """Whether the agent has lost its standing, so that there is nothing to wait for."""
        self._clock = clock
        self._progress = progress
        self._ends = asyncio.Event()  # set when an SVID ends before `keep` looks again
        self._look_at = clock.now()  # when it does
        self._fragments = Fragments()
        self._audiences = Audiences()
        self._delivered: dict[str, Held] = {}
        self._resting = 0  # the version of what rests on whom that has been told
        self._untold: dict[Watcher, None] = {}  # in this order
        self._slicing = False

    @property
    def watchers(self) -> int:
        """How many streams are open."""
        return self._audiences.open

    def apply(self, *changes: Change) -> None:
        """Tell whom it concerns that the book has changed; several changes at once are one."""
        merged = Change(
            frozenset().union(*(change.entries for change in changes)),
            tuple(entry for change in changes for entry in change.came),
            any(change.own_bundle for change in changes),
            frozenset().union(*(change.domains for change in changes)),
        )
        now = self._clock.now()
        if self.book.due(now) or _before(self.book.next_at(), now + LONGEST_NAP):
            self.work.set()
        if _before(self.book.next_end(), self._look_at):
            self._ends.set()
        if self.book.resting_version != self._resting:
            self._resting = self.book.resting_version
            self._progress.look()
        if self.book.unsettled:
            self._slice_soon()
        if not merged:
            return
        self._fragments.forget(merged.entries)
        if merged.own_bundle or merged.domains:
            self._fragments.keep_only([self.book.bundle.trust_domain, *self.book.foreign])
        if merged.own_bundle or len(merged.entries) > _MANY:
            concerned = self._audiences.everyone()
        else:
            concerned = self._audiences.concerned(merged.entries, merged.came, merged.domains)
        for entry_id in merged.entries:
            if entry_id not in self.book.entries:
                self._delivered.pop(entry_id, None)
        self._tell(concerned)

    def wipe(self) -> None:
        """Drop every entry, SVID and key, and tell every watcher."""
        self.wiped = True
        self.apply(self.book.wipe())
        self._tell(self._audiences.everyone())

    def watch(self) -> Watcher:
        """A watcher that is told of changes from its first look until its context ends."""
        return Watcher(self._audiences)

    def x509_svids(self, watcher: Watcher, selectors: frozenset[Selector]) -> Content:
        """The FetchX509SVID response of a caller, and what to tell its watcher of from now on.

        Args:
            watcher: Of the stream.
            selectors: Of the caller, at this moment.
        """
        audience = self._audiences.join(watcher, selectors)
        now, content = self._clock.now(), audience.svids
        if content is None or _before(content.until, now):
            content = audience.svids = self._svids(self._entries(audience), now)
        return content

    def x509_bundles(self, watcher: Watcher, selectors: frozenset[Selector]) -> Content:
        """The FetchX509Bundles response of a caller, and what to tell its watcher of from now on.

        Args:
            watcher: Of the stream.
            selectors: Of the caller, at this moment.
        """
        audience = self._audiences.join(watcher, selectors)
        content = audience.bundles
        if content is None:
            content = audience.bundles = self._bundles(self._entries(audience))
        return content

    def sent(self, content: Content) -> None:
        """A stream has been sent this."""
        shown, content.shown = content.shown, ()  # the first stream tells; for the others it is no news
        for entry, held in shown:
            if self._delivered.get(entry.id) is not held:
                self._delivered[entry.id] = held
                self._progress.note(Step(entry.id, held.revision, Stage.DELIVERED))

    async def keep(self) -> None:
        """Let nothing be served beyond its end; runs as long as the agent does."""
        while True:
            now = self._clock.now()
            self._look_at = now + LONGEST_NAP
            ended = self.book.expire(now)
            if ended:
                self.apply(ended)
            self._ends.clear()
            end = self.book.next_end()
            self._look_at = self._look_at if end is None else min(end, self._look_at)
            await wait_at_most(self._clock, self._ends, self._look_at - now)

    async def until_work(self, most: int, *, urgent: bool = False) -> tuple[AuthorizedEntry, ...]:
        """Wait until something has to be signed, and take it, the most urgent first.

        Args:
            most: How much.
            urgent: Whether renewals are left out.
        """
        while True:
            self.work.clear()
            now = self._clock.now()
            taken = self.book.take(now, most, urgent=urgent)
            if taken:
                return taken
            due_at = None if urgent else self.book.next_at()
            nap = LONGEST_NAP if due_at is None else min(due_at - now, LONGEST_NAP)
            await wait_at_most(self._clock, self.work, nap)

    # Inside.

    def _entries(self, audience: Audience) -> tuple[AuthorizedEntry, ...]:
        if audience.entries is None:
            self._audiences.show(audience, self.book.entitled(audience.selectors))
        assert audience.entries is not None
        return audience.entries

    def _svids(self, entries: tuple[AuthorizedEntry, ...], now: datetime) -> Content:
        if self.book.demand(entries):
            self.work.set()
        judged = [(entry, self.book.judged(entry.id, now)) for entry in entries]
        held = [(entry, held) for entry, held in judged if held is not None]
        ready = tuple((entry, held) for entry, held in held if held.expires_at > now)
        until = min((held.expires_at for _, held in ready), default=None)
        if len(ready) < len(held):
            until = AT_ONCE  # nobody tells when the machine's clock is set back
        if not ready:
            return Content(bool(entries), None, complete=not entries, until=until)
        shown = {entry.id for entry, _ in ready}
        complete = all(self.book.failing(entry.id) for entry in entries if entry.id not in shown)
        parts = [self._fragments.identity(entry, held, self.book.bundle) for entry, held in ready]
        parts += [self._fragments.federated(bundle) for bundle in self._foreign(entry for entry, _ in ready)]
        return Content(True, self._fragments.joined(tuple(parts)), complete, ready, until)

    def _bundles(self, entries: tuple[AuthorizedEntry, ...]) -> Content:
        if not entries:
            return Content(False, None, complete=True)
        bundles = [self.book.bundle, *self._foreign(entries)]
        parts = tuple(self._fragments.bundle(bundle) for bundle in bundles)
        return Content(True, self._fragments.joined(parts), complete=True)

    def _foreign(self, entries: Iterable[AuthorizedEntry]) -> list[Bundle]:
        """The bundles that these entries name, as far as they are held; never any other."""
        domains = sorted({domain for entry in entries for domain in entry.federates_with})
        found = (self.book.foreign.bundle_for(domain) for domain in domains)
        return [bundle for bundle in found if bundle is not None]

    def _tell(self, audiences: Iterable[Audience]) -> None:
        """Let streams look again: few of them at once, many in slices, so that others get their turns."""
        watchers: list[Watcher] = []
        for audience in audiences:
            audience.forget()
            watchers += audience.watchers
        if len(watchers) <= _SLICE:
            for watcher in watchers:
                watcher.tell()
        else:
            self._untold.update(dict.fromkeys(watchers))
            self._slice_soon()

    def _slice_soon(self) -> None:
        if not self._slicing:
            self._slicing = True
            asyncio.get_running_loop().call_soon(self._slice)

    def _slice(self) -> None:
        """A few milliseconds of what many streams, or many SVIDs, have to be told."""
        self._slicing = False
        if self.book.unsettled:
            self.apply(self.book.settle(self._clock.now()))
        for watcher in list(islice(self._untold, _SLICE)):
            del self._untold[watcher]
            watcher.tell()
        if self._untold:
            self._slice_soon()


def _before(instant: datetime | None, other: datetime) -> bool:
    return instant is not None and instant <= other
