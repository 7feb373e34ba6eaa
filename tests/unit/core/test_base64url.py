from __future__ import annotations

import pytest

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
