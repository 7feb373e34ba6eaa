"""Who may have which SVID, what is held, and what has to be done about it. Pure: it is given `now`.

The book takes entries, bundles and signed SVIDs, and answers: what to sign (`take`), what a caller with some
selectors is entitled to (`entitled`), and what an event has changed (`Change`). No call looks at all entries.

Rules:
- An SVID is held only while it verifies under the own bundle that is in the book. One that does not verify
  yet waits until the next bundle; one whose authority leaves the bundle is dropped and signed anew.
- A new revision keeps the old SVID until the new one is there, unless the ID is another or the entry was
  made anew. An SVID ends with the first certificate of its path.
- What rests on a tainted authority is to be signed anew at once.
- Identities are in the order in which their entries were made, then of their ids (WAPI-68). Of several with
  one hint, the first is kept (WAPI-31).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice, repeat

from finial.agent.agenda import Agenda, Tainted
from finial.agent.change import Change, profiles_of_change
from finial.agent.entry import AuthorizedEntry, in_order
from finial.agent.holdings import Held, Holdings
from finial.agent.shelves import Shelves
from finial.core.bundle import Bundle, BundleSet
from finial.core.errors import FinialError, Kind, Reason, X509VerifyError
from finial.core.match import ExactID
from finial.core.rotation import Lifetime
from finial.core.selectors import Selector
from finial.core.x509cert import Certificate
from finial.core.x509path import VerifiedX509, verify_certificates
from finial.core.x509svid import X509SVID

__all__ = ["AuthorizedEntry", "Book", "BookError"]

_WRONG_SVID = Reason("agent-svid-foreign", Kind.UNTRUSTED)

_PROOFS, _LOOKS = 32, 500  # a slice of work: a proof takes 80 us, a look 4 us


class BookError(FinialError):
    """An SVID was given that is not the one that was asked for."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    svid: X509SVID
    revision: int
    spread: float


@dataclass(slots=True)
class Book:
    """The agent's part of the registry, with the SVIDs it has.

    Args:
        bundle: The own trust domain's.
        availability_target: How much life an SVID keeps when the server is away; None renews at half-life.
    """

    bundle: Bundle
    availability_target: timedelta | None = None
    foreign: BundleSet = field(default_factory=BundleSet)
    _entries: dict[str, AuthorizedEntry] = field(default_factory=dict)
    _shelves: Shelves[AuthorizedEntry] = field(default_factory=Shelves)
    _holdings: Holdings = field(default_factory=Holdings)
    _agenda: Agenda = field(default_factory=Agenda)
    _waiting: dict[str, _Waiting] = field(default_factory=dict)
    # What bundles have put in question: SVIDs that are held (None), and those that wait.
    _unsettled: deque[Iterator[tuple[str, _Waiting | None]]] = field(default_factory=deque)

    # What is known.

    @property
    def entries(self) -> Mapping[str, AuthorizedEntry]:
        """All entries by id; to be looked at only."""
        return self._entries

    @property
    def resting(self) -> Mapping[str, int]:
        """How many SVIDs rest on each authority, by its subject key id in hexadecimal."""
        return self._holdings.resting

    @property
    def resting_version(self) -> int:
        """Rises with each change of `resting`."""
        return self._holdings.version

    def held(self, entry_id: str) -> Held | None:
        """The SVID of an entry; none whose authority has left the bundle."""
        held = self._holdings.get(entry_id)
        return held if held is not None and self._trusted(held.authority) else None

    def judged(self, entry_id: str, now: datetime) -> Held | None:
        """The SVID of an entry, proven anew where its authority has left the bundle and nobody has looked."""
        held = self._holdings.get(entry_id)
        if held is not None and not self._trusted(held.authority):
            self._prove_again(entry_id, held, now)
        return self._holdings.get(entry_id)

    def failing(self, entry_id: str) -> bool:
        """Whether the last try to have an entry's SVID signed came to nothing."""
        return self._agenda.failing(entry_id)

    @property
    def waiting(self) -> bool:
        """Whether an SVID waits for a bundle that it verifies under."""
        return bool(self._waiting)

    @property
    def unsettled(self) -> bool:
        """Whether `settle` has something to do."""
        return bool(self._unsettled)

    def entitled(self, selectors: frozenset[Selector]) -> tuple[AuthorizedEntry, ...]:
        """The entries of a caller with these selectors, in their order, each hint once."""
        return in_order(entry for entry in self._shelves.fitting(selectors) if not entry.stored)

    def next_end(self) -> datetime | None:
        """When the next SVID ends."""
        return self._holdings.first_end()

    def last_end(self) -> datetime | None:
        """When the last SVID ends."""
        return self._holdings.last_end()

    # What happens.

    def replace_entries(self, entries: Iterable[AuthorizedEntry]) -> Change:
        """Take the whole set of entries in place of the one so far."""
        fresh = {entry.id: entry for entry in entries}
        return self.change_entries(fresh.values(), [key for key in self._entries if key not in fresh])

    def change_entries(self, came: Iterable[AuthorizedEntry], gone: Iterable[str]) -> Change:
        """Take a difference to the entries so far; what is known already changes nothing.

        Args:
            came: Those that are new or say something else.
            gone: Ids of those that are no more. One that has come as well was made anew.
        """
        touched = set()
        for entry_id in gone:
            if self._entries.pop(entry_id, None) is not None:
                touched.add(entry_id)
                self._shelves.drop(entry_id)
                self._drop(entry_id)
                self._agenda.forget(entry_id)
        fresh: dict[str, AuthorizedEntry] = {}
        for entry in came:
            old = self._entries.get(entry.id)
            if old is entry or old == entry:
                continue
            self._entries[entry.id] = fresh[entry.id] = entry
            self._shelves.put(entry.id, entry)
            self._agenda.begin_anew(entry.id)
            if old is not None and not old.same_subject(entry):
                self._drop(entry.id)
            self._plan(entry.id)
        return Change(frozenset(touched.union(fresh)), tuple(fresh.values()))

    def set_bundle(self, bundle: Bundle, now: datetime) -> Change:
        """Take the own bundle: what waits, and what rests on an authority that is gone, is judged again.

        Some of it at once; where there is more, `unsettled` says so.
        """
        old, own = self.bundle, profiles_of_change(self.bundle, bundle)
        if bundle != old:
            self.bundle = bundle  # an equal one stays the same object: encodings are kept by it
        for authority in self._holdings.authorities:
            if not self._trusted(authority) or (authority in old.tainted) != (authority in bundle.tainted):
                self._unsettled.append(zip(tuple(self._holdings.resting_on(authority)), repeat(None)))
        if self._waiting:
            self._unsettled.append(iter(tuple(self._waiting.items())))
        return Change(self.settle(now).entries, own_bundle=own)

    def settle(self, now: datetime) -> Change:
        """Judge a part of what a bundle has put in question, a few milliseconds of work."""
        touched, proofs = set[str](), 0
        for entry_id, waiting in islice(self._questions(), _LOOKS):
            held = self._holdings.get(entry_id)
            if waiting is not None:
                if self._waiting.get(entry_id) is waiting:
                    proofs += 1
                    touched.add(entry_id)
                    del self._waiting[entry_id]
                    if not self._hold(entry_id, waiting, now, self.bundle.tainted):
                        self._try_later(entry_id, now, waiting.spread)
            elif held is not None and not self._trusted(held.authority):
                proofs += 1
                touched.add(entry_id)
                self._prove_again(entry_id, held, now)
            elif held is not None:
                self._plan(entry_id)
            if proofs == _PROOFS:
                break
        return Change(frozenset(touched))

    def set_foreign(self, bundles: BundleSet) -> Change:
        """Take the foreign bundles in place of those so far."""
        domains = frozenset(
            (domain, profile)
            for domain in bundles.keys() | self.foreign.keys()
            for profile in profiles_of_change(self.foreign.bundle_for(domain), bundles.bundle_for(domain))
        )
        self.foreign = BundleSet(
            known if (known := self.foreign.bundle_for(domain)) == bundle and known is not None else bundle
            for domain, bundle in bundles.items()
        )
        return Change(domains=domains)

    def demand(self, entries: Iterable[AuthorizedEntry]) -> bool:
        """A workload asks for these; whether something is to be signed because of it, or sooner.

        Those that are made on demand are made from now on, and all of them go before those that nobody uses.
        """
        fresh = self._agenda.demand(entry.id for entry in entries)
        for entry_id in fresh:
            self._plan(entry_id)
        return any(self._holdings.get(entry_id) is None for entry_id in fresh)

    def take(self, now: datetime, most: int, *, urgent: bool = False) -> tuple[AuthorizedEntry, ...]:
        """What is to be signed now, the most urgent first; renewals never together with others.

        None of it is due before it has been accepted, has failed or was given back, unless it is changed.

        Args:
            now: Aware.
            most: How many.
            urgent: Whether renewals are left out.
        """
        keys = self._agenda.take(now, most, urgent=urgent)
        entries = tuple(self._entries[entry_id] for entry_id in keys)
        for entry in entries:
            self._agenda.begin(entry, self.bundle.tainted)
        return entries

    def due(self, now: datetime) -> bool:
        """Whether there is something to take."""
        return self._agenda.due(now)

    def next_at(self) -> datetime | None:
        """When the next entry falls due of those that were not when this was last looked at."""
        return self._agenda.next_at()

    def give_back(self, entries: Iterable[AuthorizedEntry]) -> None:
        """Nothing has come of having these signed, for no fault of theirs."""
        for entry in entries:
            if self._agenda.end(entry) is not None:
                self._plan(entry.id)

    def accept(self, entry: AuthorizedEntry, svid: X509SVID, *, now: datetime, spread: float) -> Change:
        """Take a signed SVID. One that does not verify under the own bundle waits for another bundle.

        Args:
            entry: What it was signed for, as it was then.
            svid: With its key.
            now: Aware.
            spread: A random fraction, for the time of its renewal.

        Raises:
            BookError: It names another ID than the entry.
        """
        if svid.id != entry.spiffe_id:
            message = f"the server signed {svid.id} for entry {entry.id}, which is {entry.spiffe_id}"
            raise BookError(_WRONG_SVID, message, subject=entry.id)
        tainted = self._agenda.end(entry)
        current, held = self._entries.get(entry.id), self._holdings.get(entry.id)
        if current is None or not current.same_subject(entry):
            return Change()  # it was deleted or made anew meanwhile
        if held is not None and held.revision == current.revision != entry.revision:
            return Change()  # what was asked for later has come before
        waiting = _Waiting(svid, entry.revision, spread)
        self._agenda.succeed(entry.id)
        if self._hold(entry.id, waiting, now, self.bundle.tainted if tainted is None else tainted):
            return Change(frozenset({entry.id}))
        self._waiting[entry.id] = waiting
        self._plan(entry.id)
        return Change()

    def failed(self, entry: AuthorizedEntry, now: datetime, spread: float) -> Change:
        """An entry could not be signed: it is tried again later, each time later still.

        Args:
            entry: As it was then.
            now: Aware.
            spread: A random fraction.
        """
        self._agenda.end(entry)
        if self._entries.get(entry.id) != entry:
            return Change()  # nothing is known of what it has become
        self._try_later(entry.id, now, spread)
        return Change(frozenset({entry.id}))

    def expire(self, now: datetime) -> Change:
        """Drop what has ended; when it is very much, some of it: `next_end` tells."""
        ended = self._holdings.ended(now, _LOOKS)
        for entry_id in ended:
            self._plan(entry_id)
        return Change(frozenset(ended))

    def wipe(self) -> Change:
        """Forget every entry and every SVID: the agent is not entitled to any of it."""
        gone = frozenset(self._entries)
        self._entries.clear()
        self._shelves.clear()
        self._holdings.clear()
        self._waiting.clear()
        self._unsettled.clear()
        self._agenda = Agenda()
        return Change(gone)

    # Inside.

    def _questions(self) -> Iterator[tuple[str, _Waiting | None]]:
        while self._unsettled:
            yield from self._unsettled[0]
            self._unsettled.popleft()

    def _trusted(self, authority: Certificate) -> bool:
        return authority in self.bundle.named(authority.subject)

    def _plan(self, entry_id: str) -> None:
        if entry_id in self._waiting:
            self._agenda.suspend(entry_id)
        else:
            entry, held = self._entries[entry_id], self._holdings.get(entry_id)
            self._agenda.plan(entry, held, self.bundle.tainted)

    def _hold(self, entry_id: str, waiting: _Waiting, now: datetime, tainted: Tainted) -> bool:
        proof = self._proof(waiting.svid, self._entries[entry_id], now)
        if proof is None:
            return False
        leaf, end = waiting.svid.leaf, proof.expires_at
        life = Lifetime(leaf.not_before, leaf.not_after)
        renew_at = life.renew_at(waiting.spread, availability_target=self.availability_target)
        # The lifetime counts from before it was signed; a very short one would be over half at once.
        renew_at = max(renew_at, now + (end - now) / 2)
        self._holdings.put(entry_id, Held(waiting.svid, waiting.revision, proof.authority, end, renew_at))
        if proof.authority in self.bundle.tainted and proof.authority in tainted:
            self._try_later(entry_id, now, waiting.spread)  # the server has no better one yet
        else:
            self._plan(entry_id)
        return True

    def _try_later(self, entry_id: str, now: datetime, spread: float) -> None:
        self._agenda.fail(entry_id, now, spread)
        self._plan(entry_id)

    def _prove_again(self, entry_id: str, held: Held, now: datetime) -> None:
        proof = self._proof(held.svid, self._entries[entry_id], now)
        if proof is None:
            self._drop(entry_id)
        else:
            self._holdings.put(
                entry_id, replace(held, authority=proof.authority, expires_at=proof.expires_at)
            )
        self._plan(entry_id)

    def _proof(self, svid: X509SVID, entry: AuthorizedEntry, now: datetime) -> VerifiedX509 | None:
        try:
            return verify_certificates(
                svid.certificates, BundleSet([self.bundle]), now=now, accept=ExactID(entry.spiffe_id)
            )
        except X509VerifyError:
            return None

    def _drop(self, entry_id: str) -> None:
        self._holdings.drop(entry_id)
        self._waiting.pop(entry_id, None)
        self._agenda.succeed(entry_id)
