"""The book on the event loop: who watches it, what they are sent, and when the rest of the agent looks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from itertools import islice

from finial.agent.audiences import Audience, Audiences, Content, View, Watcher
from finial.agent.book import Book
from finial.agent.change import EVERY_PROFILE, Change, Profile, merged
from finial.agent.encode import Fragments
from finial.agent.entry import AuthorizedEntry
from finial.agent.holdings import Held
from finial.agent.jwtcache import JWTCache
from finial.agent.progress import Progress, Stage, Step
from finial.agent.views import Views
from finial.agent.wit_book import WITBook
from finial.agent.wit_view import WITViews
from finial.core.bundle import BundleSet
from finial.core.ids import SpiffeID
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
        self.tokens = JWTCache()
        """The JWT-SVIDs that are held."""
        self.bundle_awaited = 0
        """How many tokens have come that another own bundle is needed for."""
        self._news = asyncio.Event()  # set, and replaced, when there is another own bundle
        self._clock = clock
        self._progress = progress
        self._ends = asyncio.Event()  # set when an SVID ends before `keep` looks again
        self._look_at = clock.now()  # when it does
        self._fragments = Fragments()
        self._views = Views(book, self._fragments, self.work.set)
        self.wits = WITBook(book)
        """The WIT-SVIDs that are held."""
        self.wit_work = asyncio.Event()
        """Set when one may have to be signed."""
        self._wit_views = WITViews(self.wits, self._fragments, self.wit_work.set)
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
        change = merged(changes)
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
        if not change:
            return
        self._fragments.forget(change.entries)
        if change.own_bundle or change.domains:
            self._fragments.keep_only([self.book.bundle.trust_domain, *self.book.foreign])
        for entry_id in change.entries:
            if entry_id not in self.book.entries:
                self._delivered.pop(entry_id, None)
                self.tokens.forget(entry_id)
                self.wits.changed(entry_id)
        for entry in change.came:
            self.wits.changed(entry.id)
        if change.own_bundle:
            self._news.set()
            self._news = asyncio.Event()
        self._spread(change)

    def wipe(self) -> None:
        """Drop every entry, SVID and key, and tell every watcher."""
        self.wiped = True
        self.tokens.clear()
        self.wits.wipe()
        self.apply(self.book.wipe())
        self._tell(self._moved(self._audiences.everyone()))

    def watch(self, profile: Profile = Profile.X509) -> Watcher:
        """A watcher that is told of changes from its first look until its context ends.

        Args:
            profile: What it looks at.
        """
        return Watcher(self._audiences, profile)

    def look(self, view: View, watcher: Watcher, selectors: frozenset[Selector]) -> Content:
        """What a caller is shown, and what to tell its watcher of from now on.

        Args:
            view: Of what.
            watcher: Of the stream, which is about the same profile.
            selectors: Of the caller, at this moment.
        """
        audience = self._audiences.join(watcher, selectors)
        now, content = self._clock.now(), audience.contents.get(view)
        if content is None or _before(content.until, now):
            content = audience.contents[view] = view.make(self._entries(audience), now)
        return content

    def x509_svids(self, watcher: Watcher, selectors: frozenset[Selector]) -> Content:
        """The FetchX509SVID response of a caller; see `look`."""
        return self.look(self._views.x509_svids, watcher, selectors)

    def x509_bundles(self, watcher: Watcher, selectors: frozenset[Selector]) -> Content:
        """The FetchX509Bundles response of a caller; see `look`."""
        return self.look(self._views.x509_bundles, watcher, selectors)

    def jwt_bundles(self, watcher: Watcher, selectors: frozenset[Selector]) -> Content:
        """The FetchJWTBundles response of a caller; see `look`."""
        return self.look(self._views.jwt_bundles, watcher, selectors)

    def wit_bundles(self, watcher: Watcher, selectors: frozenset[Selector]) -> Content:
        """The FetchWITBundles response of a caller; see `look`."""
        return self.look(self._views.wit_bundles, watcher, selectors)

    def wit_svids(self, watcher: Watcher, selectors: frozenset[Selector]) -> Content:
        """The FetchWITSVID response of a caller; see `look`."""
        return self.look(self._wit_views.all, watcher, selectors)

    def wit_svids_of(self, wanted: SpiffeID, watcher: Watcher, selectors: frozenset[Selector]) -> Content:
        """The FetchWITSVID response of a caller who wants one identity; made each time."""
        audience = self._audiences.join(watcher, selectors)
        return self._wit_views.of(wanted).make(self._entries(audience), self._clock.now())

    def wits_signed(self, entry_ids: Iterable[str]) -> None:
        """Entries have other WIT-SVIDs now, or it is known that they get none: tell whom it concerns."""
        self._tell(_forget(self._audiences.concerned(entry_ids, (), ()), {Profile.WIT}))

    def entitled(self, selectors: frozenset[Selector]) -> tuple[AuthorizedEntry, ...]:
        """What a caller that is answered once is entitled to, in order.

        Args:
            selectors: Of the caller, at this moment.
        """
        return self._entries(self._audiences.visit(selectors))

    def bundles(self, entries: Iterable[AuthorizedEntry]) -> BundleSet:
        """The bundles that a caller with these entries may trust: the own one, and those that they name."""
        return BundleSet([self.book.bundle, *self._views.foreign(entries)])

    def next_bundle(self) -> asyncio.Event:
        """Set when there is another own bundle than now."""
        return self._news

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

    def _spread(self, change: Change) -> None:
        """Tell of a change whom it concerns, and nobody of what another profile shows."""
        if len(change.entries) > _MANY:
            self._tell(self._moved(self._audiences.everyone()))
            return
        came = {entry.id for entry in change.came}
        moved = {each for each in change.entries if each in came or each not in self.book.entries}
        watchers = self._moved(self._audiences.concerned(moved, change.came, ()))
        watchers += _forget(self._audiences.concerned(change.entries - moved, (), ()), {Profile.X509})
        if change.own_bundle:
            watchers += _forget(self._audiences.everyone(), change.own_bundle)
        for domain, profile in change.domains:
            watchers += _forget(self._audiences.concerned((), (), (domain,)), {profile})
        self._tell(watchers)

    def _moved(self, audiences: Iterable[Audience]) -> list[Watcher]:
        """Whom to tell because other entries are theirs now, or the same ones that say something else."""
        found = list(audiences)
        for audience in found:
            audience.entries = None
        return _forget(found, EVERY_PROFILE)

    def _tell(self, watchers: Sequence[Watcher]) -> None:
        """Let streams look again: few of them at once, many in slices, so that others get their turns."""
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


def _forget(audiences: Iterable[Audience], profiles: AbstractSet[Profile]) -> list[Watcher]:
    """Let what these profiles show be made anew; who looks at it."""
    watchers: list[Watcher] = []
    for audience in audiences:
        audience.forget(profiles)
        watchers += (watcher for watcher in audience.watchers if watcher.profile in profiles)
    return watchers


def _before(instant: datetime | None, other: datetime) -> bool:
    return instant is not None and instant <= other
