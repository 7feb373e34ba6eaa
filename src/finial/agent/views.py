"""What callers with some entries are shown: the messages of streams, made of what the book holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from finial.agent.audiences import Content, View
from finial.agent.book import Book
from finial.agent.change import Profile
from finial.agent.encode import BundleFragments, Fragments
from finial.agent.entry import AuthorizedEntry
from finial.agent.schedule import AT_ONCE
from finial.core.bundle import Bundle


class Views:
    """The views of one book.

    Args:
        book: What there is.
        fragments: Keeps what has been encoded.
        demand: Is told that SVIDs are to be signed because somebody asks.
    """

    def __init__(self, book: Book, fragments: Fragments, demand: Callable[[], None]) -> None:
        self.x509_svids = View(Profile.X509, self._x509_svids)
        """The FetchX509SVID response."""
        self.x509_bundles = self._bundles(Profile.X509, fragments.x509_bundles)
        """The FetchX509Bundles response."""
        self.jwt_bundles = self._bundles(Profile.JWT, fragments.jwt_bundles)
        """The FetchJWTBundles response."""
        self.wit_bundles = self._bundles(Profile.WIT, fragments.wit_bundles)
        """The FetchWITBundles response."""
        self._book = book
        self._fragments = fragments
        self._demand = demand

    def foreign(self, entries: Iterable[AuthorizedEntry]) -> list[Bundle]:
        """The bundles that entries name, as far as they are held; never any other."""
        domains = sorted({domain for entry in entries for domain in entry.federates_with})
        found = (self._book.foreign.bundle_for(domain) for domain in domains)
        return [bundle for bundle in found if bundle is not None]

    def _x509_svids(self, entries: tuple[AuthorizedEntry, ...], now: datetime) -> Content:
        if self._book.demand(entries):
            self._demand()
        judged = [(entry, self._book.judged(entry.id, now)) for entry in entries]
        held = [(entry, held) for entry, held in judged if held is not None]
        ready = tuple((entry, held) for entry, held in held if held.expires_at > now)
        until = min((held.expires_at for _, held in ready), default=None)
        if len(ready) < len(held):
            until = AT_ONCE  # nobody tells when the machine's clock is set back
        if not ready:
            return Content(bool(entries), None, complete=not entries, until=until)
        shown = {entry.id for entry, _ in ready}
        complete = all(self._book.failing(entry.id) for entry in entries if entry.id not in shown)
        parts = [self._fragments.identity(entry, held, self._book.bundle) for entry, held in ready]
        foreign = self.foreign(entry for entry, _ in ready)
        parts += [self._fragments.federated.of(bundle) for bundle in foreign]
        return Content(True, self._fragments.joined(tuple(parts)), complete, ready, until)

    def _bundles(self, profile: Profile, fragments: BundleFragments) -> View:
        """The view of the own bundle and of those that a caller's entries name."""

        def make(entries: tuple[AuthorizedEntry, ...], _: datetime) -> Content:
            if not entries:
                return Content(False, None, complete=True)
            bundles = [self._book.bundle, *self.foreign(entries)]
            parts = tuple(fragments.of(bundle) for bundle in bundles)
            return Content(True, self._fragments.joined(parts), complete=True)

        return View(profile, make)
