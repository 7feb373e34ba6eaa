from __future__ import annotations

import pytest

from finial.runtime.text import is_unicode, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("web \u65e5\u672c", "web \u65e5\u672c"),
        ("\x1b]0;owned\x07", "\\x1b]0;owned\\x07"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("moc.\u202eexample", "moc.\\u202eexample"),
        ("\x9b31m", "\\x9b31m"),
        ("not UTF-8: \udcff", "not UTF-8: \\udcff"),
        ("", ""),
    ],
)
def test_what_is_not_printed_is_spelled_out(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_some_may_stay() -> None:
    assert visible("a\nb\rc", keep="\n") == "a\nb\\rc"


def test_a_surrogate_is_no_unicode() -> None:
    assert is_unicode("web \u65e5\U0001f511")
    assert not is_unicode("a\udcff")
    assert not is_unicode("\ud83d")
