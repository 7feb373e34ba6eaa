"""What an agent says that it holds: kept within bounds, and once."""

from __future__ import annotations

import pytest

from finial.rpc import RpcError, StatusCode
from finial.server.push import held
from finial.server.push.conversation import most_held
from finial.server.push.held import Holdings
from finial.wire.push import Held
from support.push_world import a_record

_MARK = bytes(16)


def _nobody(_: str) -> None:
    """Knows no entry."""


def _page(count: int, *, more: bool = True) -> Held:
    return Held(tuple((f"e{each}", _MARK) for each in range(count)), more)


def test_marks_are_kept_by_the_ids_that_are_known() -> None:
    known = a_record("a", seq=1)
    holdings = Holdings(1, {"a": known}.get)
    name = b"a".decode()
    holdings.begin(Held(((name, _MARK), ("x", b"m" * 16)), more=False))
    holdings.put(name, _MARK)
    holdings.put("x", b"m" * 16)
    assert holdings.marks == {"a": _MARK, "x": b"m" * 16}
    assert next(iter(holdings.marks)) is known.id
    assert not holdings.beyond


def test_an_agent_that_holds_far_more_than_it_may_serve_is_not_listened_to() -> None:
    holdings = Holdings(0, _nobody)
    holdings.begin(_page(most_held(0)))
    holdings.put("e1", _MARK)
    assert holdings.marks
    holdings.begin(_page(1))
    assert holdings.beyond
    holdings.put("e2", _MARK)
    assert not holdings.marks


@pytest.mark.parametrize("pages", [held.MOST_PAGES, held.MOST_MARKS // 5_000])
def test_an_agent_that_finds_no_end_is_ended(pages: int) -> None:
    holdings = Holdings(0, _nobody)
    size = 5_000 if pages < held.MOST_PAGES else 0
    page = _page(size)
    for _ in range(pages):
        holdings.begin(page)
    with pytest.raises(RpcError, match="too much to be compared") as caught:
        holdings.begin(page)
    assert caught.value.code is StatusCode.RESOURCE_EXHAUSTED


def test_what_is_held_is_said_once() -> None:
    holdings = Holdings(0, _nobody)
    holdings.begin(_page(0, more=False))
    holdings.complete.set()
    with pytest.raises(RpcError, match="says again"):
        holdings.begin(_page(0, more=False))
