"""Puts what has come from the server into the book: all of one change together.

No workload is sent an identity before the bundles that its entry names.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from finial.agent.cache import Cache
from finial.agent.change import Change
from finial.agent.entry import AuthorizedEntry
from finial.agent.node import Node
from finial.agent.replica import Replica, Taken
from finial.core.bundle import Bundle, BundleSet
from finial.core.errors import SpiffeIDError
from finial.core.ids import TrustDomain
from finial.runtime.clock import Clock
from finial.runtime.log import fields

_log = logging.getLogger("finial.agent")


class Intake:
    """The way into the book for everything but SVIDs, by polling and by push.

    Args:
        node: Trusts the own bundle.
        cache: Owns the book.
        clock: Time.
    """

    def __init__(self, node: Node, cache: Cache, *, clock: Clock) -> None:
        self.heard_at: float | None = None
        """When the server told last what holds, on the monotonic scale; None for never."""
        self._node = node
        self._cache = cache
        self._clock = clock
        # The own bundle as it was fetched, where that is newer than the one that was pushed.
        self._ahead: Bundle | None = None

    @property
    def trust_domain(self) -> TrustDomain:
        """The own one."""
        return self._cache.book.bundle.trust_domain

    @property
    def foreign(self) -> BundleSet:
        """The foreign bundles that are in force."""
        return self._cache.book.foreign

    @property
    def bundle_wanted(self) -> bool:
        """Whether an SVID waits for another bundle than the one in force."""
        return self._cache.book.waiting or self._cache.bundle_awaited > 0

    def heard(self) -> None:
        """The server is there and tells."""
        self.heard_at = self._clock.monotonic()

    def entries_alone(self, entries: Sequence[AuthorizedEntry]) -> None:
        """Take entries whose bundles cannot be had: what is taken from workloads is taken at once."""
        self._cache.apply(self._cache.book.replace_entries(entries))

    def polled(self, entries: Sequence[AuthorizedEntry], own: Bundle, foreign: BundleSet) -> None:
        """Take all that a round of polling has brought.

        Args:
            entries: All.
            own: The own bundle.
            foreign: The foreign ones.
        """
        book = self._cache.book
        self.heard()
        self._ahead = None
        came = book.replace_entries(entries)
        self._cache.apply(came, self._trusted(own), book.set_foreign(foreign))
        self._complete(came)

    def pushed(self, taken: Taken, replica: Replica) -> None:
        """Take a change that was pushed.

        Args:
            taken: What it has changed.
            replica: All that is held by push from now on.
        """
        book = self._cache.book
        if taken.new_epoch:
            self._ahead = None
        changes: list[Change] = []
        came = Change()
        if taken.whole:
            came = book.replace_entries(replica.useful())
        elif taken.came or taken.gone:
            came = book.change_entries(taken.came, taken.gone)
        if came:
            changes.append(came)
        if taken.own_bundle:
            changes.append(self._trusted(self._own(replica)))
        if taken.foreign:
            changes.append(book.set_foreign(self._readable(replica)))
        if changes:
            self._cache.apply(*changes)
        self._complete(came)

    def fetched(self, bundle: Bundle) -> None:
        """Take the own bundle as it was asked for, if it is newer; in any case judge anew what waits for one.

        Args:
            bundle: The own one.
        """
        book = self._cache.book
        if bundle.sequence > book.bundle.sequence:
            self._ahead = bundle
        else:
            bundle = book.bundle
        self._cache.apply(self._trusted(bundle))
        self._node.trust(book.bundle)

    def _complete(self, came: Change) -> None:
        """All that the server has told of is in force."""
        if came:
            entries = len(self._cache.book.entries)
            _log.info("entries changed", extra=fields(entries=entries, changed=len(came.entries)))
        self._cache.synced.set()
        self._node.trust(self._cache.book.bundle)

    def _trusted(self, own: Bundle) -> Change:
        change = self._cache.book.set_bundle(own, self._clock.now())
        if change.own_bundle:
            keys = len(own.jwt_authorities)
            _log.info("bundle changed", extra=fields(authorities=len(own.x509_authorities), jwt_keys=keys))
        return change

    def _own(self, replica: Replica) -> Bundle:
        pushed = replica.own_bundle
        if self._ahead is not None and self._ahead.sequence <= pushed.sequence:
            self._ahead = None
        return self._ahead or pushed

    def _readable(self, replica: Replica) -> BundleSet:
        """The foreign bundles that are held; in place of one that cannot be read the one so far."""
        found = []
        for held in replica.foreign_bundles():
            bundle = held.bundle
            if bundle is None:
                try:
                    bundle = self.foreign.bundle_for(TrustDomain(held.name))
                except SpiffeIDError:
                    continue
            if bundle is not None:
                found.append(bundle)
        return BundleSet(found)
