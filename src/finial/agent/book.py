"""Who may have which SVID, what is held, and what has to be done about it. Pure: it is given `now`.

The book takes entries, bundles and signed SVIDs, and answers: what to sign (`due`), what a caller with some
selectors is entitled to (`entitled`), and what an event has changed (`Change`).

Rules:
- An SVID is held only while it verifies under the own bundle that is in the book. One that does not verify
  yet waits until the next bundle; one whose authority leaves the bundle is dropped and signed anew.
- A new revision keeps the old SVID until the new one is there, unless the ID is another or the entry was
  made anew. An SVID ends with the first certificate of its path.
- Identities are in the order in which their entries were made, then of their ids (WAPI-68). Of several with
  one hint, the first is kept (WAPI-31).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from finial.core.bundle import Bundle, BundleSet
from finial.core.errors import FinialError, Kind, Reason, X509VerifyError
from finial.core.ids import SpiffeID, TrustDomain
from finial.core.match import ExactID
from finial.core.rotation import Lifetime
from finial.core.selectors import Selector
from finial.core.x509cert import Certificate
from finial.core.x509path import VerifiedX509, verify_certificates
from finial.core.x509svid import X509SVID

_WRONG_SVID = Reason("agent-svid-foreign", Kind.UNTRUSTED)

_FIRST_RETRY = timedelta(seconds=1)
_LAST_RETRY = timedelta(seconds=60)


class BookError(FinialError):
    """An SVID was given that is not the one that was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizedEntry:
    """An entry as agents are told of it: without parent, lifetimes and DNS names.

    Args:
        id: Of the entry.
        spiffe_id: Whom it registers.
        selectors: All of them a workload must have; not empty.
        federates_with: Foreign trust domains whose bundles go to the workload.
        hint: What the operator calls the SVID.
        created_at: When it was made, in seconds since 1970; 0 where the server does not say.
        revision: Rises with each update.
        on_demand: Whether its SVID is made only when a workload asks.
        stored: Whether its SVID goes to a store and not to workloads.
    """

    id: str
    spiffe_id: SpiffeID
    selectors: frozenset[Selector]
    federates_with: tuple[TrustDomain, ...] = ()
    hint: str = ""
    created_at: int = 0
    revision: int = 0
    on_demand: bool = False
    stored: bool = False

    def same_subject(self, other: AuthorizedEntry) -> bool:
        """Whether an SVID of the one may stand for the other for a while."""
        remade = self.created_at and other.created_at and self.created_at != other.created_at
        return not remade and self.spiffe_id == other.spiffe_id


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """An SVID that verifies.

    Args:
        svid: With its key.
        revision: Of the entry when it was signed.
        authority: Of the own bundle, that the proof rests on.
        expires_at: When the proof ends.
        renew_at: When to have it signed anew.
    """

    svid: X509SVID
    revision: int
    authority: Certificate
    expires_at: datetime
    renew_at: datetime


@dataclass(frozen=True, slots=True)
class Change:
    """What an event has changed for workloads.

    Args:
        entries: Ids of entries that came, went, or have another SVID now.
        came: Those among them that are new or say something else now.
        own_bundle: Whether the own bundle is another.
        domains: Foreign trust domains whose bundles are others.
    """

    entries: frozenset[str] = frozenset()
    came: tuple[AuthorizedEntry, ...] = ()
    own_bundle: bool = False
    domains: frozenset[TrustDomain] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.entries or self.own_bundle or self.domains)


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be signed.

    Args:
        entries: Now, the most urgent first.
        next_at: When the next one falls due, as far as is known; None for never.
    """

    entries: tuple[AuthorizedEntry, ...]
    next_at: datetime | None


@dataclass(frozen=True, slots=True)
class _Waiting:
    svid: X509SVID
    revision: int
    spread: float


@dataclass(frozen=True, slots=True)
class _Retry:
    at: datetime
    tries: int


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
    _held: dict[str, Held] = field(default_factory=dict)
    _waiting: dict[str, _Waiting] = field(default_factory=dict)
    _retries: dict[str, _Retry] = field(default_factory=dict)
    _demanded: set[str] = field(default_factory=set)
    # Each entry stands under one of its selectors, the one with the fewest entries when it came.
    _shelves: dict[Selector, dict[str, AuthorizedEntry]] = field(default_factory=dict)
    _shelf_of: dict[str, Selector] = field(default_factory=dict)

    # What is known.

    @property
    def entries(self) -> Mapping[str, AuthorizedEntry]:
        """All entries by id; to be looked at only."""
        return self._entries

    def held(self, entry_id: str) -> Held | None:
        """The SVID of an entry."""
        return self._held.get(entry_id)

    def failing(self, entry_id: str) -> bool:
        """Whether the last try to have an entry's SVID signed came to nothing."""
        return entry_id in self._retries

    @property
    def waiting(self) -> bool:
        """Whether an SVID waits for a bundle that it verifies under."""
        return bool(self._waiting)

    def entitled(self, selectors: frozenset[Selector]) -> tuple[AuthorizedEntry, ...]:
        """The entries of a caller with these selectors, in their order, each hint once."""
        found = [
            entry
            for selector in selectors
            for entry in self._shelves.get(selector, {}).values()
            if not entry.stored and entry.selectors <= selectors
        ]
        found.sort(key=lambda entry: (entry.created_at, entry.id))
        hints: set[str] = set()
        kept = []
        for entry in found:
            if entry.hint not in hints:
                kept.append(entry)
                hints.update([entry.hint] if entry.hint else [])
        return tuple(kept)

    def next_end(self) -> datetime | None:
        """When the next SVID ends."""
        return min((held.expires_at for held in self._held.values()), default=None)

    def last_end(self) -> datetime | None:
        """When the last SVID ends."""
        return max((held.expires_at for held in self._held.values()), default=None)

    # What happens.

    def replace_entries(self, entries: Iterable[AuthorizedEntry]) -> Change:
        """Take the whole set of entries in place of the one so far."""
        fresh = {entry.id: entry for entry in entries}
        touched = {entry_id for entry_id in self._entries if entry_id not in fresh}
        came = []
        for entry_id in touched:
            self._drop(entry_id)
            self._unshelve(entry_id)
            self._demanded.discard(entry_id)
        for entry in fresh.values():
            old = self._entries.get(entry.id)
            if old == entry:
                continue
            touched.add(entry.id)
            if old is not None and not old.same_subject(entry):
                self._drop(entry.id)
            self._retries.pop(entry.id, None)
            came.append(entry)
            self._unshelve(entry.id)
            self._shelve(entry)
        self._entries = fresh
        return Change(frozenset(touched), tuple(came))

    def set_bundle(self, bundle: Bundle, now: datetime) -> Change:
        """Take the own bundle: judge again what waits, and drop what rests on an authority that is gone."""
        own = bundle.x509_authorities != self.bundle.x509_authorities
        if bundle != self.bundle:
            self.bundle = bundle  # an equal one stays the same object: encodings are kept by it
        touched = set()
        for entry_id, held in list(self._held.items()):
            if held.authority not in bundle.named(held.authority.subject):
                proof = self._proof(held.svid, self._entries[entry_id], now)
                touched.add(entry_id)
                if proof is None:
                    self._drop(entry_id)
                else:
                    self._held[entry_id] = Held(
                        held.svid, held.revision, proof.authority, proof.expires_at, held.renew_at
                    )
        for entry_id, waiting in list(self._waiting.items()):
            del self._waiting[entry_id]
            if self._hold(entry_id, waiting, now):
                touched.add(entry_id)
            else:
                self.failed(entry_id, now, waiting.spread)
        return Change(frozenset(touched), own_bundle=own)

    def set_foreign(self, bundles: BundleSet) -> Change:
        """Take the foreign bundles in place of those so far."""
        domains = frozenset(
            domain
            for domain in bundles.keys() | self.foreign.keys()
            if _authorities(bundles.bundle_for(domain)) != _authorities(self.foreign.bundle_for(domain))
        )
        self.foreign = BundleSet(
            known if (known := self.foreign.bundle_for(domain)) == bundle and known is not None else bundle
            for domain, bundle in bundles.items()
        )
        return Change(domains=domains)

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
        current = self._entries.get(entry.id)
        if current is None or not current.same_subject(entry):
            return Change()  # it was deleted or made anew meanwhile
        waiting = _Waiting(svid, entry.revision, spread)
        self._retries.pop(entry.id, None)
        if self._hold(entry.id, waiting, now):
            return Change(frozenset({entry.id}))
        self._waiting[entry.id] = waiting
        return Change()

    def failed(self, entry_id: str, now: datetime, spread: float) -> None:
        """An entry could not be signed: it is tried again later, each time later still.

        Args:
            entry_id: Which.
            now: Aware.
            spread: A random fraction.
        """
        tries = self._retries[entry_id].tries + 1 if entry_id in self._retries else 0
        delay = min(_FIRST_RETRY * (1 << min(tries, 10)), _LAST_RETRY)
        self._retries[entry_id] = _Retry(now + delay * (0.5 + spread / 2), tries)

    def demand(self, entries: Iterable[AuthorizedEntry]) -> bool:
        """A workload asks for these: from now on those of them that are made on demand are made."""
        fresh = {entry.id for entry in entries if entry.on_demand and entry.id not in self._demanded}
        self._demanded |= fresh
        return bool(fresh)

    def expire(self, now: datetime) -> Change:
        """Drop what has ended."""
        ended = [entry_id for entry_id, held in self._held.items() if held.expires_at <= now]
        for entry_id in ended:
            del self._held[entry_id]
        return Change(frozenset(ended))

    def wipe(self) -> Change:
        """Forget every entry and every SVID: the agent is not entitled to any of it."""
        return self.replace_entries(())

    def due(self, now: datetime) -> Due:
        """What is to be signed now: what is missing first, then by how soon it ends."""
        urgent: list[tuple[bool, datetime, str]] = []
        later: list[datetime] = []
        for entry in self._wanted():
            held = self._held.get(entry.id)
            at = self._due_at(entry, held, now)
            retry = self._retries.get(entry.id)
            if retry is not None:
                at = max(at, retry.at)
            if at <= now:
                urgent.append((held is not None, now if held is None else held.expires_at, entry.id))
            else:
                later.append(at)
        entries = tuple(self._entries[entry_id] for _, _, entry_id in sorted(urgent))
        return Due(entries, min(later, default=None))

    # Inside.

    def _wanted(self) -> Iterator[AuthorizedEntry]:
        for entry in self._entries.values():
            lazy = entry.on_demand and entry.id not in self._demanded
            if not (entry.stored or lazy or entry.id in self._waiting):
                yield entry

    def _due_at(self, entry: AuthorizedEntry, held: Held | None, now: datetime) -> datetime:
        if held is None or held.revision != entry.revision or held.authority in self.bundle.tainted:
            return now
        return held.renew_at

    def _hold(self, entry_id: str, waiting: _Waiting, now: datetime) -> bool:
        proof = self._proof(waiting.svid, self._entries[entry_id], now)
        if proof is None:
            return False
        life = Lifetime(waiting.svid.leaf.not_before, waiting.svid.leaf.not_after)
        renew_at = life.renew_at(waiting.spread, availability_target=self.availability_target)
        # The lifetime counts from before it was signed; a very short one would be over half at once.
        renew_at = max(renew_at, now + (proof.expires_at - now) / 2)
        self._held[entry_id] = Held(
            waiting.svid, waiting.revision, proof.authority, proof.expires_at, renew_at
        )
        if proof.authority in self.bundle.tainted:
            self.failed(entry_id, now, waiting.spread)  # the server has no better one yet
        return True

    def _proof(self, svid: X509SVID, entry: AuthorizedEntry, now: datetime) -> VerifiedX509 | None:
        try:
            return verify_certificates(
                svid.certificates, BundleSet([self.bundle]), now=now, accept=ExactID(entry.spiffe_id)
            )
        except X509VerifyError:
            return None

    def _drop(self, entry_id: str) -> None:
        self._held.pop(entry_id, None)
        self._waiting.pop(entry_id, None)
        self._retries.pop(entry_id, None)

    def _shelve(self, entry: AuthorizedEntry) -> None:
        shelf = min(entry.selectors, key=lambda selector: (len(self._shelves.get(selector, ())), selector))
        self._shelves.setdefault(shelf, {})[entry.id] = entry
        self._shelf_of[entry.id] = shelf

    def _unshelve(self, entry_id: str) -> None:
        shelf = self._shelf_of.pop(entry_id, None)
        if shelf is None:
            return
        entries = self._shelves[shelf]
        del entries[entry_id]
        if not entries:
            del self._shelves[shelf]


def _authorities(bundle: Bundle | None) -> tuple[Certificate, ...] | None:
    return None if bundle is None else bundle.x509_authorities
