from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finial.core import base64url


@pytest.mark.parametrize(
    ("data", "text"),
    [(b"", ""), (b"\0", "AA"), (b"\xff", "_w"), (b"\xfb\xff", "-_8"), (b"abc", "YWJj"), (b"abcd", "YWJjZA")],
)
def test_both_ways(data: bytes, text: str) -> None:
    assert base64url.encode(data) == text
    assert base64url.decode(text) == data


@pytest.mark.parametrize(
    "text", ["A", "AAAAA", "AA==", "A A", "AA\n", "+w", "/w", "=", "ÄÄ", "AB", "_x", "-_9", "AAAB_", "AA.AA"]
)
def test_one_text_for_each_sequence_of_bytes(text: str) -> None:
    with pytest.raises(ValueError, match="it "):
        base64url.decode(text)


def test_numbers() -> None:
    assert base64url.encode_number(65537, 3) == "AQAB"
    assert base64url.encode_number(1, 3) == "AAAB"
    assert base64url.decode_number("AQAB") == 65537
    assert base64url.decode_number("AAAB") == 1
    with pytest.raises(ValueError, match="empty"):
        base64url.decode_number("")


_LIKELY = "AQgwZ09-_+/=* \n\0\x80\u00e4\ud800"


def _read(text: str) -> bytes | None:
    try:
        return base64url.decode(text)
    except ValueError:
        return None


@given(st.one_of(st.text(_LIKELY, max_size=9), st.text(max_size=9)))
def test_what_is_read_is_what_would_be_written(text: str) -> None:
    data = _read(text)
    assert data is None or base64url.encode(data) == text


@given(st.binary(max_size=70))
def test_what_is_written_is_read(data: bytes) -> None:
    assert base64url.decode(base64url.encode(data)) == data
