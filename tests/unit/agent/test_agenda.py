"""What is to be signed, in which order, as the book tells it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from finial.agent.book import BookError
from finial.core.ids import SpiffeID
from support.books import (
    HOUR,
    ROOT,
    SECOND,
    book,
    due,
    entry,
    next_at,
    sign,
    svid,
    with_taint,
)
from support.forge import NOW


def test_what_is_missing_is_due_before_what_ends() -> None:
    a, b, c = entry("a"), entry("b"), entry("c")
    one = book(a, b, c)
    assert set(due(one)) == {"a", "b", "c"}
    sign(one, a, life=3 * HOUR)
    sign(one, b, life=HOUR)
    assert due(one) == ["c"]
    assert due(one, NOW + timedelta(minutes=59)) == ["c", "b"]
    assert due(one, NOW + timedelta(hours=2)) == ["c", "b", "a"]
    assert next_at(one) == NOW + HOUR / 2


def test_renewal_is_at_half_of_the_life_or_as_the_target_says() -> None:
    one, other = book(entry()), book(entry(), availability_target=timedelta(hours=24))
    for each in (one, other):
        sign(each, entry(), life=timedelta(hours=40))
    assert next_at(one) == NOW + timedelta(hours=20)
    assert next_at(other) == NOW + timedelta(hours=16) - timedelta(minutes=5)


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
        one.failed(entry(), now, 1.0)
        assert due(one, now) == []
        at = next_at(one, now)
        assert at is not None
        waits.append((at - now).total_seconds())
        now = at
        assert due(one, now) == ["e1"]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    sign(one, entry(), now=now)  # after a success from the beginning
    one.expire(now + HOUR)
    one.failed(entry(), now + HOUR, 1.0)
    assert next_at(one, now + HOUR) == now + HOUR + SECOND


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


# In which order


def test_what_workloads_ask_for_goes_first() -> None:
    entries = [entry(name) for name in "abcdef"]
    one = book(*entries, bundle=with_taint())
    sign(one, *entries[:4])
    one.set_bundle(with_taint(ROOT), NOW)
    one.demand([entries[1], entries[5]])
    assert due(one) == ["f", "b", "e", "a", "c", "d"]
    assert [each.id for each in one.take(NOW, 9, urgent=True)] == ["f", "b", "e"]
    assert not one.take(NOW, 9, urgent=True)
    assert [each.id for each in one.take(NOW, 9)] == ["a", "c", "d"]


def test_what_the_server_was_asked_before_the_taint_is_asked_for_again_at_once() -> None:
    one = book(entry(), bundle=with_taint())
    (taken,) = one.take(NOW, 1)
    one.set_bundle(with_taint(ROOT), NOW)
    one.accept(taken, svid(taken), now=NOW, spread=0.5)
    assert due(one) == ["e1"]
    (taken,) = one.take(NOW, 1)
    one.accept(taken, svid(taken), now=NOW, spread=0.5)
    assert due(one) == []  # it knows, and has no better one


def test_a_taint_that_is_taken_back_makes_nothing_due() -> None:
    one = book(entry(), bundle=with_taint())
    sign(one, entry())
    one.set_bundle(with_taint(ROOT), NOW)
    one.set_bundle(with_taint(), NOW)
    assert due(one) == []
    assert next_at(one) == NOW + HOUR / 2


def test_what_was_asked_for_earlier_does_not_replace_what_came_later() -> None:
    one = book(entry())
    (old,) = one.take(NOW, 1)
    changed = entry(revision=1)
    one.change_entries([changed], [])
    assert one.take(NOW, 1) == (changed,)
    assert one.accept(changed, svid(changed), now=NOW, spread=0.5)
    held = one.held("e1")
    assert not one.accept(old, svid(old), now=NOW, spread=0.5)
    assert one.held("e1") is held
    assert due(one) == []
