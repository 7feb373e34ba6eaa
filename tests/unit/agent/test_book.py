from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from finial.agent.book import AuthorizedEntry
from finial.agent.change import Change, Profile
from finial.core.bundle import Bundle, BundleSet
from finial.core.selectors import Selector
from support import forge
from support.books import (
    BUNDLE,
    HOUR,
    OTHER,
    ROOT,
    SECOND,
    book,
    due,
    entry,
    next_at,
    settle,
    sign,
    svid,
    with_taint,
)
from support.forge import NOW, A, B

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
    assert not one._shelves._shelves
    assert not len(one._shelves)


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
    assert set(due(one, now)) >= wanted - held
    assert all(one.held(key).expires_at > now for key in held)  # type: ignore[union-attr]
    at = next_at(one, now)
    assert at is None or at > now


def test_of_one_hint_the_older_entry_is_kept_then_the_lower_id() -> None:
    one = book(
        entry("b", hint="h", created_at=2),
        entry("c", hint="h", created_at=1),
        entry("a", created_at=3),
        entry("d", created_at=3),
    )
    assert [each.id for each in one.entitled(frozenset({Selector("t", "x")}))] == ["c", "a", "d"]


# Bundles


def test_an_svid_waits_for_the_bundle_that_proves_it() -> None:
    one = book(entry())
    assert not one.accept(entry(), svid(entry(), OTHER), now=NOW, spread=0.5)
    assert one.held("e1") is None
    assert one.waiting
    assert due(one) == []
    change = one.set_bundle(forge.bundle(A, ROOT, OTHER), NOW)
    assert change == Change(frozenset({"e1"}), own_bundle=frozenset({Profile.X509}))
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
    assert one.set_bundle(BUNDLE, NOW) == Change(frozenset({"e1"}))  # whoever waits for it may give up
    assert not one.waiting
    assert due(one) == []
    assert due(one, NOW + SECOND) == ["e1"]


def test_what_rests_on_an_authority_that_goes_is_dropped_at_once() -> None:
    a, b = entry("a"), entry("b")
    one = book(a, b, bundle=forge.bundle(A, ROOT, OTHER))
    sign(one, a)
    sign(one, b, root=OTHER)
    change = one.set_bundle(forge.bundle(A, OTHER), NOW)
    assert change == Change(frozenset({"a"}), own_bundle=frozenset({Profile.X509}))
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
    assert one.set_foreign(BundleSet([foreign])) == Change(domains=frozenset((B, each) for each in Profile))
    again = Bundle(trust_domain=B, x509_authorities=foreign.x509_authorities)
    assert not one.set_foreign(BundleSet([again]))
    assert one.foreign.bundle_for(B) is foreign
    assert one.set_foreign(BundleSet()) == Change(domains=frozenset((B, each) for each in Profile))


def test_wiping_leaves_nothing() -> None:
    one = book(entry("a"), entry("b"))
    sign(one, entry("a"))
    one.accept(entry("b"), svid(entry("b"), OTHER), now=NOW, spread=0.5)
    assert one.wipe().entries == {"a", "b"}
    assert not one.entries
    assert one.held("a") is None
    assert not one.waiting
    assert due(one) == []


# Much at once


def test_an_svid_that_came_while_another_is_judged_waits_for_the_next_bundle() -> None:
    entries = [entry(f"e{number:03}") for number in range(100)]
    one = book(*entries)
    for each in entries:
        one.accept(each, svid(each, OTHER), now=NOW, spread=0.5)
    one.set_bundle(BUNDLE, NOW)  # it proves none of them; some have been looked at
    assert one.unsettled
    last = entries[-1]
    one.accept(last, svid(last, OTHER, life=2 * HOUR), now=NOW, spread=0.5)
    settle(one)
    assert one.waiting
    one.set_bundle(forge.bundle(A, OTHER), NOW)
    assert one.held(last.id) is not None


def test_entries_that_go_while_they_are_judged_are_gone() -> None:
    entries = [entry(f"e{number:03}") for number in range(100)]
    one = book(*entries, bundle=forge.bundle(A, ROOT, OTHER))
    sign(one, *entries)
    one.set_bundle(forge.bundle(A, OTHER), NOW)
    assert one.judged(entries[-1].id, NOW) is None
    one.change_entries([], [each.id for each in entries[:50]])
    one.change_entries([], [each.id for each in entries[90:]])
    settle(one)
    assert due(one) == [each.id for each in entries[50:90]]


def test_a_wipe_forgets_what_was_in_question_and_what_is_being_signed() -> None:
    entries = [entry(f"e{number:03}") for number in range(100)]
    one = book(*entries, bundle=forge.bundle(A, ROOT, OTHER))
    sign(one, *entries)
    one.set_bundle(forge.bundle(A, OTHER), NOW)
    (taken,) = one.take(NOW, 1)
    one.wipe()
    assert one.settle(NOW) == Change()
    assert not one.failed(taken, NOW, 0.5)
    one.give_back([taken])
    assert not one.accept(taken, svid(taken, OTHER), now=NOW, spread=0.5)
    assert due(one) == []


def test_what_ends_at_once_in_great_number_ends_in_parts() -> None:
    entries = [entry(f"e{number}") for number in range(1_200)]
    one = book(*entries)
    shared = svid(entry("e0"))
    for each in entries:
        each_of = AuthorizedEntry(id=each.id, spiffe_id=entry("e0").spiffe_id, selectors=each.selectors)
        one.change_entries([each_of], [])
        one.accept(each_of, shared, now=NOW, spread=0.5)
    parts = []
    while change := one.expire(NOW + HOUR):
        parts.append(len(change.entries))
    assert parts == [500, 500, 200]
    assert one.next_end() is None
