"""The agent's book against a plain one, which sorts nothing beforehand and looks at everything each time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from finial.agent import book as book_module
from finial.agent.book import AuthorizedEntry, Book
from finial.agent.change import Change, Profile
from finial.core.bundle import Bundle, BundleSet
from finial.core.errors import X509VerifyError
from finial.core.ids import SpiffeID
from finial.core.selectors import Selector
from finial.core.x509cert import Certificate
from finial.core.x509path import verify_certificates
from finial.core.x509svid import X509SVID
from support import forge
from support.forge import NOW, A

LONG = NOW + timedelta(days=30)
FIRST = forge.root("first", not_after=LONG)
SECOND = forge.root("second", not_after=LONG)
SHORT = forge.root("short", not_after=NOW + timedelta(minutes=40))
TWIN = forge.root("first", not_after=LONG)  # the same name and key, another certificate
ROOTS = (FIRST, SECOND, SHORT, TWIN)
SIGNERS = (FIRST, SECOND, SHORT)
IDS = tuple(f"e{number}" for number in range(6))
TOGETHER = timedelta(milliseconds=500)


@cache
def svid_of(path: str, signer: int, begin: datetime) -> X509SVID:
    made = forge.leaf(SIGNERS[signer], path, not_before=begin, not_after=begin + timedelta(hours=1))
    return X509SVID((made.certificate,), made.key)


@dataclass
class PlainHeld:
    svid: X509SVID
    revision: int
    authority: Certificate
    end: datetime
    renew_at: datetime


@dataclass
class PlainBook:
    """The rules of the book, said as plainly as can be."""

    bundle: Bundle
    entries: dict[str, AuthorizedEntry] = field(default_factory=dict)
    held: dict[str, PlainHeld] = field(default_factory=dict)
    waiting: dict[str, tuple[X509SVID, int]] = field(default_factory=dict)
    retries: dict[str, tuple[datetime, int]] = field(default_factory=dict)
    demanded: set[str] = field(default_factory=set)
    taken: dict[str, tuple[AuthorizedEntry, frozenset[Certificate]]] = field(default_factory=dict)

    def change(self, came: Iterable[AuthorizedEntry], gone: Iterable[str]) -> None:
        for key in gone:
            for kept in (self.entries, self.held, self.waiting, self.retries, self.taken):
                kept.pop(key, None)
            self.demanded.discard(key)
        for entry in came:
            old = self.entries.get(entry.id)
            if old == entry:
                continue
            self.entries[entry.id] = entry
            self.retries.pop(entry.id, None)
            self.taken.pop(entry.id, None)
            if old is not None and not old.same_subject(entry):
                self.held.pop(entry.id, None)
                self.waiting.pop(entry.id, None)

    def proof(self, svid: X509SVID, now: datetime) -> tuple[Certificate, datetime] | None:
        try:
            found = verify_certificates(svid.certificates, BundleSet([self.bundle]), now=now)
        except X509VerifyError:
            return None
        return found.authority, found.expires_at

    def hold(
        self, key: str, svid: X509SVID, revision: int, now: datetime, known: frozenset[Certificate]
    ) -> bool:
        found = self.proof(svid, now)
        if found is None:
            return False
        authority, end = found
        half = svid.leaf.not_before + (svid.leaf.not_after - svid.leaf.not_before) / 2
        self.held[key] = PlainHeld(svid, revision, authority, end, max(half, now + (end - now) / 2))
        if authority in self.bundle.tainted and authority in known:
            self.fail(key, now)
        return True

    def fail(self, key: str, now: datetime) -> None:
        tries = self.retries[key][1] + 1 if key in self.retries else 0
        delay = min(timedelta(seconds=1 << tries), timedelta(minutes=1))
        self.retries[key] = now + delay * 0.75, tries

    def set_bundle(self, bundle: Bundle, now: datetime) -> None:
        self.bundle = bundle
        for key, held in list(self.held.items()):
            if held.authority in bundle.x509_authorities:
                continue
            found = self.proof(held.svid, now)
            if found is None:
                del self.held[key]
                self.waiting.pop(key, None)
                self.retries.pop(key, None)
            else:
                held.authority, held.end = found
        for key, (svid, revision) in list(self.waiting.items()):
            del self.waiting[key]
            if not self.hold(key, svid, revision, now, bundle.tainted):
                self.fail(key, now)

    def end_of(self, entry: AuthorizedEntry) -> frozenset[Certificate] | None:
        taken = self.taken.get(entry.id)
        if taken is None or taken[0] != entry:
            return None
        return self.taken.pop(entry.id)[1]

    def accept(self, entry: AuthorizedEntry, svid: X509SVID, now: datetime) -> None:
        known = self.end_of(entry)
        current, held = self.entries.get(entry.id), self.held.get(entry.id)
        if current is None or not current.same_subject(entry):
            return
        if held is not None and held.revision == current.revision != entry.revision:
            return
        self.retries.pop(entry.id, None)
        if not self.hold(
            entry.id, svid, entry.revision, now, self.bundle.tainted if known is None else known
        ):
            self.waiting[entry.id] = svid, entry.revision

    def failed(self, entry: AuthorizedEntry, now: datetime) -> None:
        self.end_of(entry)
        if self.entries.get(entry.id) == entry:
            self.fail(entry.id, now)

    def expire(self, now: datetime) -> set[str]:
        ended = {key for key, held in self.held.items() if held.end <= now}
        for key in ended:
            del self.held[key]
        return ended

    def planned(self) -> list[tuple[int, datetime, str, datetime | None]]:
        """Rank, end, id and when, of all that will be signed some time."""
        found = []
        for key, entry in self.entries.items():
            asked = key in self.demanded
            if entry.stored or (entry.on_demand and not asked) or key in self.waiting or key in self.taken:
                continue
            held = self.held.get(key)
            at: datetime | None = None
            if held is None:
                rank, end = (0 if asked else 2), NOW
            else:
                outdated = held.revision != entry.revision or held.authority in self.bundle.tainted
                rank, end = (1 if outdated and asked else 3), held.end
                at = None if outdated else held.renew_at
            if key in self.retries:
                at = self.retries[key][0] if at is None else max(at, self.retries[key][0])
            found.append((rank, end, key, at))
        return sorted(found, key=lambda each: each[:3])

    def due(self, now: datetime) -> list[str]:
        """What is to be taken, in this order."""

        def by(instant: datetime) -> list[tuple[int, datetime, str, datetime | None]]:
            return [each for each in self.planned() if each[3] is None or each[3] <= instant]

        first = [each[2] for each in by(now) if each[0] < 3]
        if all(each[0] < 3 for each in by(now)):
            return first
        return first + [each[2] for each in by(now + TOGETHER) if each[2] not in first]

    def next_at(self, now: datetime) -> datetime | None:
        return min((at for _, _, _, at in self.planned() if at is not None and at > now), default=None)

    def entitled(self, selectors: frozenset[Selector]) -> list[str]:
        kept: list[AuthorizedEntry] = []
        for entry in sorted(self.entries.values(), key=lambda each: (each.created_at, each.id)):
            fits = entry.selectors <= selectors and not entry.stored
            if fits and not (entry.hint and entry.hint in [each.hint for each in kept]):
                kept.append(entry)
        return [entry.id for entry in kept]


def bundle_of(roots: Iterable[int], tainted: Iterable[int]) -> Bundle:
    return Bundle(
        trust_domain=A,
        x509_authorities=tuple(ROOTS[each].certificate for each in sorted(set(roots))),
        tainted=frozenset(ROOTS[each].certificate for each in tainted),
    )


SELECTORS = st.frozensets(st.sampled_from("abc").map(lambda each: Selector("t", each)), min_size=1)
ENTRY = st.builds(
    AuthorizedEntry,
    id=st.sampled_from(IDS),
    spiffe_id=st.sampled_from(["/one", "/two"]).map(lambda path: SpiffeID(f"spiffe://a.test{path}")),
    selectors=SELECTORS,
    hint=st.sampled_from(["", "h"]),
    created_at=st.sampled_from([0, 1, 1, 2]),
    revision=st.integers(0, 2),
    on_demand=st.sampled_from([False, False, True]),
    stored=st.sampled_from([False, False, False, True]),
)
BUNDLE = st.builds(bundle_of, st.sets(st.integers(0, 3), min_size=1), st.sets(st.integers(0, 3), max_size=2))
STEP = st.one_of(
    st.tuples(st.just("change"), st.lists(ENTRY, max_size=3), st.sets(st.sampled_from(IDS), max_size=2)),
    st.tuples(st.just("replace"), st.lists(ENTRY, max_size=6, unique_by=lambda entry: entry.id)),
    st.tuples(st.just("bundle"), BUNDLE),
    st.tuples(st.just("sign"), st.sampled_from(IDS), st.integers(0, 2)),
    st.tuples(st.just("sign all"), st.integers(0, 2)),
    st.tuples(st.just("sign old"), st.sampled_from(IDS), st.integers(0, 2)),
    st.tuples(st.just("take"), st.integers(1, 4), st.booleans()),
    st.tuples(st.just("take"), st.integers(1, 4), st.booleans()),
    st.tuples(st.just("answer"), st.sampled_from(["sign", "fail", "give back"]), st.integers(0, 2)),
    st.tuples(st.just("answer"), st.sampled_from(["sign", "fail", "give back"]), st.integers(0, 2)),
    st.tuples(st.just("demand"), st.sets(st.sampled_from(IDS), max_size=3)),
    st.tuples(st.just("time"), st.sampled_from([0.3, 1, 40, 600, 1_500, 2_400, -600])),
    st.tuples(st.just("expire")),
)


@dataclass
class Both:
    """The book and the plain one, told the same."""

    book: Book
    plain: PlainBook
    now: datetime = NOW
    flying: list[AuthorizedEntry] = field(default_factory=list)
    before: dict[str, AuthorizedEntry] = field(default_factory=dict)

    def do(self, step: tuple[object, ...]) -> None:
        name, *rest = step
        getattr(self, "do_" + str(name).replace(" ", "_"))(*rest)

    def do_change(self, came: list[AuthorizedEntry], gone: set[str]) -> None:
        known = dict(self.plain.entries)
        self.before.update(known)
        change = self.book.change_entries(came, gone)
        self.plain.change(came, gone)
        after = self.plain.entries
        different = {key for key in known.keys() | after.keys() if known.get(key) != after.get(key)}
        assert different <= change.entries <= different | (gone & known.keys()) | {each.id for each in came}
        assert {each.id for each in change.came} >= different & after.keys()
        assert all(after[each.id] is each for each in change.came)

    def do_replace(self, entries: list[AuthorizedEntry]) -> None:
        known = dict(self.plain.entries)
        self.before.update(known)
        change = self.book.replace_entries(entries)
        self.plain.change(entries, known.keys() - {each.id for each in entries})
        after = self.plain.entries
        assert change.entries == {
            key for key in known.keys() | after.keys() if known.get(key) != after.get(key)
        }
        assert {each.id for each in change.came} == change.entries & after.keys()

    def do_bundle(self, bundle: Bundle) -> None:
        other = bundle.x509_authorities != self.book.bundle.x509_authorities
        had = {key: held.authority for key, held in self.plain.held.items()}
        changes = [self.book.set_bundle(bundle, self.now)]
        while self.book.unsettled:
            # Nothing that is not proven is shown while there is something left to be settled.
            for key in self.plain.entries:
                held = self.book.held(key)
                assert held is None or held.authority in bundle.x509_authorities
            changes.append(self.book.settle(self.now))
        self.plain.set_bundle(bundle, self.now)
        assert changes[0].own_bundle == ({Profile.X509} if other else set())
        told = frozenset[str]().union(*(each.entries for each in changes))
        has = {key: held.authority for key, held in self.plain.held.items()}
        assert told >= {key for key in had.keys() | has.keys() if had.get(key) != has.get(key)}

    def do_sign(self, key: str, signer: int) -> None:
        if key in self.plain.entries:
            self._accept(self.plain.entries[key], signer)

    def do_sign_all(self, signer: int) -> None:
        for entry in self.plain.entries.values():
            self._accept(entry, signer)

    def do_sign_old(self, key: str, signer: int) -> None:
        if key in self.before:
            self._accept(self.before[key], signer)

    def _accept(self, entry: AuthorizedEntry, signer: int) -> None:
        begin = NOW + (self.now - NOW) // timedelta(minutes=10) * timedelta(minutes=10)
        svid = svid_of(entry.spiffe_id.text, signer, begin)
        change = self.book.accept(entry, svid, now=self.now, spread=0.5)
        had = self.plain.held.get(entry.id)
        self.plain.accept(entry, svid, self.now)
        assert bool(change) == (self.plain.held.get(entry.id) is not had)

    def do_take(self, most: int, urgent: bool) -> None:
        found = self.book.take(self.now, most, urgent=urgent)
        expected = self.plain.due(self.now)
        rank = {key: each for each, _, key, _ in self.plain.planned()}
        now = [key for key in expected if rank[key] < 3]
        if expected and rank[expected[0]] < 3 and now == expected[: len(now)]:
            expected = now
        elif urgent:
            expected = []
        assert [each.id for each in found] == expected[:most]
        for entry in found:
            self.plain.taken[entry.id] = entry, self.plain.bundle.tainted
        self.flying += found

    def do_answer(self, how: str, signer: int) -> None:
        if not self.flying:
            return
        entry = self.flying.pop(0)
        if how == "sign":
            self._accept(entry, signer)
        elif how == "fail":
            self.book.failed(entry, self.now, 0.5)
            self.plain.failed(entry, self.now)
        else:
            self.book.give_back([entry])
            self.plain.end_of(entry)

    def do_demand(self, keys: set[str]) -> None:
        entries = [self.plain.entries[key] for key in keys if key in self.plain.entries]
        fresh = [each.id for each in entries if each.id not in self.plain.demanded]
        assert self.book.demand(entries) == any(key not in self.plain.held for key in fresh)
        self.plain.demanded.update(fresh)

    def do_time(self, seconds: float) -> None:
        self.now = max(self.now + timedelta(seconds=seconds), NOW)

    def do_expire(self) -> None:
        told = set[str]()
        while change := self.book.expire(self.now):
            told |= change.entries
        assert told == self.plain.expire(self.now)

    def compare(self, selectors: frozenset[Selector]) -> None:
        book, plain = self.book, self.plain
        assert book.entries == plain.entries
        assert [each.id for each in book.entitled(selectors)] == plain.entitled(selectors)
        for key in IDS:
            held, expected = book.held(key), plain.held.get(key)
            assert (held is None) == (expected is None)
            if held is not None and expected is not None:
                assert held.svid is expected.svid
                assert (held.revision, held.authority) == (expected.revision, expected.authority)
                assert (held.expires_at, held.renew_at) == (expected.end, expected.renew_at)
            assert book.failing(key) == (key in plain.retries)
            assert book.judged(key, self.now) is held
        ends = [held.end for held in plain.held.values()]
        assert (book.next_end(), book.last_end()) == (min(ends, default=None), max(ends, default=None))
        resting: dict[str, int] = {}
        for each in plain.held.values():
            name = (each.authority.subject_key_id or b"").hex()
            resting[name] = resting.get(name, 0) + 1
        assert book.resting == resting
        assert book.waiting == bool(plain.waiting)
        self._compare_due()

    def _compare_due(self) -> None:
        found: list[AuthorizedEntry] = []
        while batch := self.book.take(self.now, 100):
            found += batch
        assert [each.id for each in found] == self.plain.due(self.now)
        self.book.give_back(found)
        assert self.book.due(self.now) == bool(found)
        assert self.book.next_at() == self.plain.next_at(self.now)


@given(
    first=st.lists(ENTRY, min_size=3, max_size=8),
    steps=st.lists(STEP, min_size=6, max_size=40),
    selectors=SELECTORS,
    small=st.booleans(),
)
def test_the_book_answers_as_a_plain_one_does(
    first: list[AuthorizedEntry], steps: list[tuple[object, ...]], selectors: frozenset[Selector], small: bool
) -> None:
    bundle = bundle_of([0, 1, 2], [])
    both = Both(Book(bundle), PlainBook(bundle))
    proofs, looks = (1, 2) if small else (book_module._PROOFS, book_module._LOOKS)
    with patch.multiple(book_module, _PROOFS=proofs, _LOOKS=looks):
        for step in [("change", first, set()), *steps]:
            both.do(step)
            both.compare(selectors)
    assert both.book.wipe() == Change(frozenset(both.plain.entries))
    both.plain = PlainBook(both.book.bundle)
    both.compare(selectors)
