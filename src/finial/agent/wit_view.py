"""What callers with some entries are shown of WIT-SVIDs: tokens with their keys, as far as there are any."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from finial.agent.audiences import Content, View
from finial.agent.change import Profile
from finial.agent.encode import Fragments
from finial.agent.entry import AuthorizedEntry
from finial.agent.wit_book import WITBook
from finial.core.ids import SpiffeID


class WITViews:
    """The views of one book of WIT-SVIDs.

    Args:
        wits: What there is.
        fragments: Join what has been encoded.
        demand: Is told that tokens are to be signed because somebody looks.
    """

    def __init__(self, wits: WITBook, fragments: Fragments, demand: Callable[[], None]) -> None:
        self.all = View(Profile.WIT, self._make)
        """The FetchWITSVID response with every identity."""
        self._wits = wits
        self._fragments = fragments
        self._demand = demand

    def of(self, wanted: SpiffeID) -> View:
        """The FetchWITSVID response with one identity. Clauses: WAPI-57."""

        def make(entries: tuple[AuthorizedEntry, ...], now: datetime) -> Content:
            return self._make(tuple(entry for entry in entries if entry.spiffe_id == wanted), now)

        return View(Profile.WIT, make)

    def _make(self, entries: tuple[AuthorizedEntry, ...], now: datetime) -> Content:
        if self._wits.demand(entries, now):
            self._demand()
        looked = [(entry, self._wits.shown(entry, now)) for entry in entries]
        held = [each for _, each in looked if each is not None]
        if not held:
            complete = all(self._wits.failing(entry.id) for entry in entries)
            return Content(bool(entries), None, complete=complete)
        missing = [entry for entry, each in looked if each is None]
        complete = all(self._wits.failing(entry.id) for entry in missing)
        parts = tuple(each.proven.fragment for each in held)
        until = min(each.expires_at for each in held)
        return Content(True, self._fragments.joined(parts), complete, until=until)
