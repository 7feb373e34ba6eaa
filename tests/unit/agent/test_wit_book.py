from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from finial.agent.book import Book
from finial.agent.entry import AuthorizedEntry
from finial.agent.wit_book import HeldWIT, ProvenWIT, WITBook
from finial.core.bundle import Bundle
from finial.core.token_authority import TokenAuthority
from finial.core.witsvid import WITSVID
from support import tokens
from support.books import BUNDLE, SECOND, entry
from support.forge import NOW

W1, W2 = tokens.authority("w1")[0], tokens.authority("w2")[0]
OWN = replace(BUNDLE, wit_authorities=(W1,))
HOUR = timedelta(hours=1)
ONE = entry("e1")


def books(*entries: AuthorizedEntry, own: Bundle = OWN) -> tuple[Book, WITBook]:
    book = Book(own)
    book.replace_entries(entries)
    return book, WITBook(book)


def proven(
    of: AuthorizedEntry, authority: TokenAuthority = W1, now: datetime = NOW, life: timedelta = HOUR
) -> ProvenWIT:
    end = int((now + life).timestamp())
    token = tokens.wit(kid=authority.key_id, sub=of.spiffe_id.text, exp=end)
    return ProvenWIT(WITSVID(token), b"fragment", authority)


def hold(wits: WITBook, of: AuthorizedEntry = ONE, now: datetime = NOW, **how: Any) -> HeldWIT | None:
    """Have one signed that somebody looks at."""
    wits.demand([of], now)
    assert wits.take(now, 10) == (of,)
    wits.accept(of, proven(of, now=now, **how), now=now, spread=0.5)
    return wits.shown(of, now)


def test_none_is_made_before_a_workload_asks() -> None:
    _, wits = books(ONE, entry("e2"))
    assert wits.take(NOW, 10) == ()
    assert wits.demand([ONE], NOW)
    assert wits.take(NOW, 10) == (ONE,)
    assert wits.take(NOW, 10) == ()


def test_what_is_held_is_shown_until_its_end() -> None:
    _, wits = books(ONE)
    held = hold(wits)
    assert held is not None
    assert held.expires_at == NOW + HOUR
    assert wits.shown(ONE, NOW + HOUR - SECOND) is held
    assert wits.shown(ONE, NOW + HOUR) is None
    assert not wits.demand([ONE], NOW)
    assert wits.expire(NOW + HOUR - SECOND, 10) == []
    assert len(wits) == 1
    assert wits.next_end() == NOW + HOUR
    assert wits.expire(NOW + HOUR, 10) == [ONE.id]
    assert len(wits) == 0
    assert wits.next_end() is None


def test_it_is_renewed_at_half_of_its_life_when_somebody_has_looked_at_it() -> None:
    _, wits = books(ONE)
    hold(wits)
    wits.demand([ONE], NOW)
    assert wits.take(NOW + HOUR / 2 - SECOND, 10) == ()
    assert wits.next_at() == NOW + HOUR / 2
    assert wits.take(NOW + HOUR / 2, 10) == (ONE,)


def test_what_nobody_looks_at_is_renewed_when_somebody_does() -> None:
    _, wits = books(ONE)
    held = hold(wits)
    later = NOW + HOUR / 2
    assert wits.take(later, 10) == ()
    assert wits.demand([ONE], later)
    assert wits.shown(ONE, later) is held
    assert wits.take(later, 10) == (ONE,)


def test_another_revision_wants_another_one_and_another_subject_takes_it_away() -> None:
    book, wits = books(ONE)
    held = hold(wits)
    changed = replace(ONE, revision=1)
    book.change_entries([changed], [])
    wits.changed(ONE.id)
    assert wits.shown(changed, NOW) is held
    assert wits.demand([changed], NOW)
    assert wits.take(NOW, 10) == (changed,)
    other = replace(changed, spiffe_id=entry("e9").spiffe_id)
    book.change_entries([other], [])
    wits.changed(ONE.id)
    assert wits.shown(other, NOW) is None
    assert len(wits) == 0
    assert not wits.accept(changed, proven(changed), now=NOW, spread=0.5)


def test_what_has_gone_is_neither_held_nor_signed() -> None:
    book, wits = books(ONE)
    hold(wits)
    book.change_entries([], [ONE.id])
    wits.changed(ONE.id)
    assert len(wits) == 0
    assert wits.take(NOW + HOUR, 10) == ()
    assert not wits.accept(ONE, proven(ONE), now=NOW, spread=0.5)
    wits.failed(ONE, NOW, 0.5)
    wits.give_back([ONE], NOW)
    assert wits.take(NOW + HOUR, 10) == ()


def test_an_entry_that_goes_before_it_is_taken() -> None:
    book, wits = books(ONE)
    wits.demand([ONE], NOW)
    book.change_entries([], [ONE.id])
    assert wits.take(NOW, 10) == ()


def test_what_a_tainted_key_has_signed_is_shown_until_there_is_another() -> None:
    book, wits = books(ONE)
    old = hold(wits)
    book.set_bundle(replace(OWN, wit_authorities=(replace(W1, tainted=True), W2)), NOW)
    assert wits.demand([ONE], NOW)
    assert wits.shown(ONE, NOW) is old
    assert wits.take(NOW, 10) == (ONE,)
    wits.accept(ONE, proven(ONE, W2), now=NOW, spread=0.5)
    assert wits.shown(ONE, NOW) is not old
    book.set_bundle(replace(OWN, wit_authorities=(W1,)), NOW)
    assert wits.shown(ONE, NOW) is None


def test_a_server_that_has_no_better_key_is_asked_again_later() -> None:
    tainted = replace(W1, tainted=True)
    book, wits = books(ONE, own=replace(OWN, wit_authorities=(tainted,)))
    held = hold(wits, authority=tainted)
    assert held is not None
    wits.demand([ONE], NOW)
    assert wits.take(NOW, 10) == ()
    assert wits.take(NOW + 2 * SECOND, 10) == (ONE,)
    book.set_bundle(replace(OWN, wit_authorities=()), NOW)
    assert wits.shown(ONE, NOW) is None


def test_another_key_by_the_same_name_proves_nothing() -> None:
    book, wits = books(ONE)
    hold(wits)
    book.set_bundle(replace(OWN, wit_authorities=(replace(W1, key=W2.key),)), NOW)
    assert wits.shown(ONE, NOW) is None


def test_what_fails_is_tried_again_later_each_time() -> None:
    _, wits = books(ONE)
    wits.demand([ONE], NOW)
    wits.take(NOW, 10)
    wits.failed(ONE, NOW, 1.0)
    assert wits.failing(ONE.id)
    wits.demand([ONE], NOW)
    assert wits.take(NOW, 10) == ()
    assert wits.take(NOW + SECOND, 10) == (ONE,)
    wits.give_back([ONE], NOW + SECOND)
    assert wits.take(NOW + SECOND, 10) == (ONE,)
    wits.accept(ONE, proven(ONE), now=NOW, spread=0.5)
    assert not wits.failing(ONE.id)


def test_wiping_leaves_nothing() -> None:
    _, wits = books(ONE)
    hold(wits)
    wits.demand([ONE], NOW)
    wits.wipe()
    assert len(wits) == 0
    assert wits.next_at() is None
    assert wits.take(NOW + HOUR, 10) == ()


def test_keys_are_not_to_be_seen() -> None:
    _, wits = books(ONE)
    held = hold(wits)
    assert held is not None
    assert "fragment'" not in repr(held)
    assert held.proven.svid.token not in repr(held)
