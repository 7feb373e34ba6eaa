"""Pages: tokens are row numbers, and every page that holds anything has one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finial.core.errors import FinialError, Kind
from finial.wire import paging
from finial.wire.paging import Page


def test_without_a_size_everything_comes_and_no_token() -> None:
    page = paging.read(0, "a token that nobody looks at")
    assert page == Page()
    assert page.take(range(1, 4)) == [1, 2, 3]
    assert page.token([1, 2, 3]) == ""
    assert paging.read(-5, "7") == Page()


def test_the_last_page_has_a_token_and_the_empty_one_behind_it_has_none() -> None:
    first = paging.read(2, "")
    rows = first.take(range(1, 4))
    assert rows == [1, 2]
    assert first.token(rows) == "2"
    second = paging.read(2, "2")
    assert second == Page(2, 2)
    assert second.take([3]) == [3]
    assert second.token([3]) == "3"
    assert paging.read(2, "3").token([]) == ""


@pytest.mark.parametrize("token", ["zz", "-1", "1\n", " 1", "1.0", "\u0661", "9" * 19])
def test_a_token_of_another_making_is_refused(token: str) -> None:
    with pytest.raises(FinialError, match="page_token: could not parse token") as caught:
        paging.read(1, token)
    assert caught.value.reason.kind is Kind.INVALID


@given(st.integers(-(2**31), 2**31 - 1), st.text(max_size=25))
def test_reading_is_total(size: int, token: str) -> None:
    try:
        page = paging.read(size, token)
    except FinialError as error:
        assert error.reason is paging.PAGE_TOKEN  # noqa: PT017 - other inputs are read
        return
    assert page.size >= 0
    assert 0 <= page.after < 10**18
