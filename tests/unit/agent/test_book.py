from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finial.agent.book import AuthorizedEntry, Book, BookError, Change
from finial.core.bundle import Bundle, BundleSet
from finial.core.ids import SpiffeID
from finial.core.selectors import Selector
from finial.core.x509svid import X509SVID
from support import forge
from support.forge import NOW, A, B

HOUR = timedelta(hours=1)
ROOT = forge.root()
OTHER = forge.root("other")
BUNDLE = forge.bundle(A, ROOT)
SECOND = timedelta(seconds=1)


def entry(entry_id: str = "e1", *selectors: str, **changes: Any) -> AuthorizedEntry:
    settings: dict[str, Any] = {
        "id": entry_id,
        "spiffe_id": SpiffeID(f"spiffe://a.test/{entry_id}"),
        "selectors": frozenset(Selector("t", each) for each in selectors or ("x",)),
        **changes,
    }
    return AuthorizedEntry(**settings)


def svid(
    of: AuthorizedEntry, root: forge.Made = ROOT, begin: datetime = NOW, life: timedelta = HOUR
) -> X509SVID:
    made = forge.leaf(root, of.spiffe_id.text, not_before=begin, not_after=begin + life)
    return X509SVID((made.certificate,), made.key)


def book(*entries: AuthorizedEntry, bundle: Bundle = BUNDLE, **changes: Any) -> Book:
    made = Book(bundle, **changes)
    made.replace_entries(entries)
    return made


def sign(of: Book, *entries: AuthorizedEntry, now: datetime = NOW, **how: Any) -> None:
    for each in entries:
        assert of.accept(each, svid(each, begin=now, **how), now=now, spread=0.5)


def due(of: Book, now: datetime = NOW) -> list[str]:
    return [each.id for each in of.due(now).entries]


def with_taint(*tainted: forge.Made) -> Bundle:
    return Bundle(
        trust_domain=A,
        x509_authorities=(ROOT.certificate, OTHER.certificate),
        tainted=frozenset(each.certificate for each in tainted),
    )


# Who is entitled


def test_all_selectors_have_to_be_there() -> None:
    one = book(entry("e1", "a"), entry("e2", "a", "b"), entry("e3", "c"))

    def ask(*values: str) -> list[str]:
        return [each.id for each in one.entitled(frozenset(Selector("t", value) for value in values))]

    assert ask("a") == ["e1"]
    assert ask("a", "b", "z") == ["e1", "e2"]
    assert ask("b") == []
    assert ask() == []


SELECTORS = st.frozensets(st.sampled_from("abcdef").map(lambda each: Selector("t", each)), max_size=5)
ENTRIES = st.lists(
    st.builds(
        lambda number, selectors, created, hint, stored: entry(
            f"e{number}", selectors=selectors, created_at=created, hint=hint, stored=stored
        ),
        st.integers(0, 12),
        SELECTORS.filter(bool),
        st.integers(0, 3),
        st.sampled_from(["", "h", "i"]),
        st.booleans(),
    ),
    max_size=12,
)


def plainly(entries: Iterable[AuthorizedEntry], selectors: frozenset[Selector]) -> list[str]:
    """The same answer, found without any index."""
    found: list[AuthorizedEntry] = []
    for each in sorted(entries, key=lambda entry: (entry.created_at, entry.id)):
        fits = each.selectors <= selectors and not each.stored
        if fits and not (each.hint and each.hint in [other.hint for other in found]):
            found.append(each)
    return [each.id for each in found]


@given(rounds=st.lists(ENTRIES, min_size=1, max_size=4), selectors=SELECTORS)
def test_the_index_answers_as_a_plain_search_does_after_any_changes(
    rounds: list[list[AuthorizedEntry]], selectors: frozenset[Selector]
) -> None:
    one = book()
    for entries in rounds:
        before = dict(one.entries)
        change = one.replace_entries(entries)
        after = {each.id: each for each in entries}
        assert dict(one.entries) == after
        assert change.entries == {
            key for key in before.keys() | after.keys() if before.get(key) != after.get(key)
        }
        assert {each.id for each in change.came} == change.entries & after.keys()
        assert [each.id for each in one.entitled(selectors)] == plainly(after.values(), selectors)
    one.wipe()
    assert not one._shelves
    assert not one._shelf_of


@given(entries=ENTRIES, signed=st.sets(st.integers(0, 12)), hours=st.integers(0, 3))
def test_whatever_is_wanted_is_held_or_waits_or_is_due(
    entries: list[AuthorizedEntry], signed: set[int], hours: int
) -> None:
    one = book(*entries)
    for each in one.entries.values():
        if int(each.id[1:]) in signed:
            one.accept(each, svid(each), now=NOW, spread=0.5)
    now = NOW + HOUR * hours
    one.expire(now)
    wanted = {each.id for each in one.entries.values() if not each.stored}
    held = {key for key in one.entries if one.held(key) is not None}
    answer = one.due(now)
    assert {each.id for each in answer.entries} >= wanted - held
    assert all(one.held(key).expires_at > now for key in held)  # type: ignore[union-attr]
    assert answer.next_at is None or answer.next_at > now


def test_of_one_hint_the_older_entry_is_kept_then_the_lower_id() -> None:
    one = book(
        entry("b", hint="h", created_at=2),
        entry("c", hint="h", created_at=1),
        entry("a", created_at=3),
        entry("d", created_at=3),
    )
    assert [each.id for each in one.entitled(frozenset({Selector("t", "x")}))] == ["c", "a", "d"]


# What is to be signed


def test_what_is_missing_is_due_before_what_ends() -> None:
    a, b, c = entry("a"), entry("b"), entry("c")
    one = book(a, b, c)
    assert set(due(one)) == {"a", "b", "c"}
    sign(one, a, life=3 * HOUR)
    sign(one, b, life=HOUR)
    assert due(one) == ["c"]
    assert due(one, NOW + timedelta(minutes=59)) == ["c", "b"]
    assert due(one, NOW + timedelta(hours=2)) == ["c", "b", "a"]
    assert one.due(NOW).next_at == NOW + HOUR / 2


def test_renewal_is_at_half_of_the_life_or_as_the_target_says() -> None:
    one, other = book(entry()), book(entry(), availability_target=timedelta(hours=24))
    for each in (one, other):
        sign(each, entry(), life=timedelta(hours=40))
    assert one.due(NOW).next_at == NOW + timedelta(hours=20)
    assert other.due(NOW).next_at == NOW + timedelta(hours=16) - timedelta(minutes=5)


def test_a_life_that_is_over_half_when_it_comes_is_not_renewed_at_once() -> None:
    one = book(entry())
    late = NOW + timedelta(minutes=50)
    one.accept(entry(), svid(entry()), now=late, spread=0.5)
    assert due(one, late) == []
    assert due(one, late + timedelta(minutes=5)) == ["e1"]


def test_a_new_revision_is_signed_anew_while_the_old_svid_stays() -> None:
    one = book(entry())
    sign(one, entry())
    changed = entry(revision=1)
    assert one.replace_entries([changed]).entries == {"e1"}
    assert due(one) == ["e1"]
    assert one.held("e1") is not None
    sign(one, changed)
    assert due(one) == []


@pytest.mark.parametrize(
    "changes",
    [{"spiffe_id": SpiffeID("spiffe://a.test/another")}, {"created_at": 2}],
    ids=["another ID", "made anew"],
)
def test_another_entry_under_the_same_id_has_no_svid(changes: dict[str, Any]) -> None:
    first = entry(created_at=1)
    one = book(first)
    sign(one, first)
    later = entry(**{"created_at": 1, **changes})
    one.replace_entries([later])
    assert one.held("e1") is None
    # What was under way for the entry that was there before is not taken for this one.
    assert not one.accept(first, svid(first), now=NOW, spread=0.5)
    assert one.held("e1") is None


def test_a_server_that_tells_no_time_of_creation_changes_nothing() -> None:
    first = entry(created_at=1)
    one = book(first)
    sign(one, first)
    one.replace_entries([entry(created_at=0)])
    assert one.held("e1") is not None


def test_what_was_signed_for_an_entry_that_has_gone_is_dropped() -> None:
    one = book()
    assert not one.accept(entry(), svid(entry()), now=NOW, spread=0.5)
    assert one.held("e1") is None


def test_an_svid_of_another_id_is_refused() -> None:
    one = book(entry())
    with pytest.raises(BookError, match="signed spiffe://a.test/e2 for entry e1"):
        one.accept(entry(), svid(entry("e2")), now=NOW, spread=0.5)


def test_failures_are_tried_again_later_and_later() -> None:
    one = book(entry())
    now, waits = NOW, []
    for _ in range(9):
        one.failed("e1", now, 1.0)
        assert due(one, now) == []
        at = one.due(now).next_at
        assert at is not None
        waits.append((at - now).total_seconds())
        now = at
        assert due(one, now) == ["e1"]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    sign(one, entry(), now=now)  # after a success from the beginning
    one.expire(now + HOUR)
    one.failed("e1", now + HOUR, 1.0)
    assert one.due(now + HOUR).next_at == now + HOUR + SECOND


def test_stored_ones_are_not_signed_and_lazy_ones_on_demand() -> None:
    lazy = entry("lazy", on_demand=True)
    one = book(entry("s", stored=True), lazy)
    assert due(one) == []
    assert one.demand([lazy])
    assert not one.demand([lazy])
    assert due(one) == ["lazy"]
    one.replace_entries([])
    one.replace_entries([lazy])
    assert due(one) == []


# Bundles


def test_an_svid_waits_for_the_bundle_that_proves_it() -> None:
    one = book(entry())
    assert not one.accept(entry(), svid(entry(), OTHER), now=NOW, spread=0.5)
    assert one.held("e1") is None
    assert one.waiting
    assert due(one) == []
    change = one.set_bundle(forge.bundle(A, ROOT, OTHER), NOW)
    assert change == Change(frozenset({"e1"}), own_bundle=True)
    assert one.held("e1") is not None
    assert not one.waiting


def test_the_old_svid_is_served_while_the_new_one_waits() -> None:
    one = book(entry())
    sign(one, entry())
    old = one.held("e1")
    one.accept(entry(), svid(entry(), OTHER), now=NOW, spread=0.5)
    assert one.held("e1") is old


def test_an_svid_that_the_next_bundle_does_not_prove_either_is_dropped_and_signed_anew() -> None:
    one = book(entry())
    one.accept(entry(), svid(entry(), OTHER), now=NOW, spread=0.5)
    assert not one.set_bundle(BUNDLE, NOW)
    assert not one.waiting
    assert due(one) == []
    assert due(one, NOW + SECOND) == ["e1"]


def test_what_rests_on_an_authority_that_goes_is_dropped_at_once() -> None:
    a, b = entry("a"), entry("b")
    one = book(a, b, bundle=forge.bundle(A, ROOT, OTHER))
    sign(one, a)
    sign(one, b, root=OTHER)
    change = one.set_bundle(forge.bundle(A, OTHER), NOW)
    assert change == Change(frozenset({"a"}), own_bundle=True)
    assert one.held("a") is None
    assert one.held("b") is not None
    assert due(one) == ["a"]


def test_an_svid_that_another_authority_proves_too_stays() -> None:
    twin = forge.root("root", not_after=NOW + 7 * forge.DAY)  # the same name and key, another certificate
    one = book(entry())
    sign(one, entry())
    one.set_bundle(forge.bundle(A, twin), NOW)
    held = one.held("e1")
    assert held is not None
    assert held.authority == twin.certificate


def test_an_svid_ends_with_the_first_certificate_of_its_path() -> None:
    short = forge.root("short", not_after=NOW + timedelta(minutes=10))
    one = book(entry(), bundle=forge.bundle(A, short))
    sign(one, entry(), root=short)
    held = one.held("e1")
    assert held is not None
    assert held.expires_at == one.next_end() == one.last_end() == NOW + timedelta(minutes=10)
    assert not one.expire(NOW + timedelta(minutes=9))
    assert one.expire(NOW + timedelta(minutes=10)) == Change(frozenset({"e1"}))
    assert one.held("e1") is None
    assert one.next_end() is None


def test_a_tainted_authority_makes_its_svids_due() -> None:
    a, b = entry("a"), entry("b")
    one = book(a, b, bundle=with_taint())
    sign(one, a)
    sign(one, b, root=OTHER)
    assert due(one) == []
    assert not one.set_bundle(with_taint(ROOT), NOW)  # nothing to tell workloads, whom it still proves
    assert due(one) == ["a"]
    sign(one, a, root=OTHER)
    assert due(one) == []


def test_a_server_that_still_signs_with_the_tainted_authority_is_not_asked_in_a_loop() -> None:
    one = book(entry(), bundle=with_taint(ROOT))
    sign(one, entry())
    assert due(one) == []
    assert due(one, NOW + SECOND) == ["e1"]


def test_equal_bundles_stay_the_same_objects() -> None:
    one = book()
    own = one.bundle
    assert not one.set_bundle(forge.bundle(A, ROOT), NOW)
    assert one.bundle is own
    foreign = forge.bundle(B, forge.root(domain=B))
    assert one.set_foreign(BundleSet([foreign])) == Change(domains=frozenset({B}))
    again = Bundle(trust_domain=B, x509_authorities=foreign.x509_authorities)
    assert not one.set_foreign(BundleSet([again]))
    assert one.foreign.bundle_for(B) is foreign
    assert one.set_foreign(BundleSet()) == Change(domains=frozenset({B}))


def test_wiping_leaves_nothing() -> None:
    one = book(entry("a"), entry("b"))
    sign(one, entry("a"))
    one.accept(entry("b"), svid(entry("b"), OTHER), now=NOW, spread=0.5)
    assert one.wipe().entries == {"a", "b"}
    assert not one.entries
    assert one.held("a") is None
    assert not one.waiting
    assert due(one) == []
