"""A page in the making: nothing twice, nothing beyond the bounds, nothing left behind."""

from __future__ import annotations

from finial.server.push.draft import PAGE_BYTES, PAGE_ITEMS, Draft
from finial.wire.push import Page, State

_STATE = State("e", 1, 0, bytes(16), bytes(16))


def test_an_empty_draft_is_an_empty_page() -> None:
    assert Draft().take() == Page(items=[], gone=[], bundles=[], bundles_gone=[], more=True)
    last = Page(items=[], gone=[], bundles=[], bundles_gone=[], number=3, state=_STATE)
    assert Draft().take(number=3, state=_STATE) == last


def test_only_the_first_page_resets() -> None:
    draft = Draft(reset=True)
    assert draft.take().reset
    assert not draft.take().reset


def test_what_is_said_later_counts() -> None:
    draft = Draft()
    assert draft.entry("a", b"1")
    assert draft.entry("b", None)
    assert draft.entry("a", None)
    assert draft.entry("b", b"2")
    assert draft.entry("c", b"3")
    assert draft.entry("c", b"4")
    assert draft.bundle("x.test", b"5")
    assert draft.bundle("y.test", None)
    assert draft.bundle("x.test", None)
    assert draft.bundle("y.test", b"6")
    page = draft.take()
    assert (page.items, page.gone) == ([b"2", b"4"], ["a"])
    assert (page.bundles, page.bundles_gone) == ([b"6"], ["x.test"])
    assert draft.take() == Page(items=[], gone=[], bundles=[], bundles_gone=[], more=True)


def test_a_page_holds_so_many_and_no_more() -> None:
    draft = Draft()
    assert all(draft.entry(f"e{each}", b"" if each % 2 else None) for each in range(PAGE_ITEMS - 1))
    assert draft.bundle("a.test", b"")
    assert not draft.bundle("b.test", b"")
    assert not draft.bundle("b.test", None)
    assert not draft.entry("more", b"")
    assert not draft.entry("more", None)
    draft.take()
    assert draft.entry("more", b"")


def test_a_page_is_so_long_and_no_longer() -> None:
    draft = Draft()
    assert draft.entry("a", bytes(PAGE_BYTES - 10))
    assert not draft.entry("b", bytes(11))
    assert not draft.bundle("b.test", bytes(11))
    assert not draft.entry("i" * 11, None)
    assert draft.entry("b", bytes(10))
    assert not draft.bundle("b.test", None)


def test_what_is_too_long_goes_alone() -> None:
    draft = Draft()
    assert draft.bundle("a.test", bytes(PAGE_BYTES + 1))
    assert not draft.entry("a", b"")
    draft.take()
    assert draft.entry("a", bytes(PAGE_BYTES + 1))
    assert not draft.bundle("a.test", b"")
