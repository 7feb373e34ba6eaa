"""Hints: read when they are well made, and otherwise as if they had not been sent."""

from __future__ import annotations

from datetime import timedelta

import pytest

from finial.wire.hints import REMAINING, read_remaining, write_remaining


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (timedelta(0), "0"),
        (timedelta(seconds=-5), "0"),
        (timedelta(seconds=59, milliseconds=999), "59"),
        (timedelta(hours=1), "3600"),
    ],
)
def test_what_is_written_can_be_read(left: timedelta, said: str) -> None:
    assert write_remaining(left) == (REMAINING, said)
    assert read_remaining([("other", "1"), write_remaining(left)]) == timedelta(seconds=int(said))


@pytest.mark.parametrize(
    "values",
    [
        [],
        [""],
        ["-1"],
        ["+1"],
        [" 1"],
        ["1.5"],
        ["1e3"],
        ["\xb2"],
        ["0x10"],
        ["1_0"],
        ["9" * 10],
        ["9" * 5_000],
        ["nan"],
        ["1\n"],
        ["1,2"],
        ["1", "1"],
        ["1", "x"],
        [b"1"],
    ],
)
def test_whatever_else_comes_counts_as_nothing(values: list[str | bytes]) -> None:
    assert read_remaining([(REMAINING, value) for value in values]) is None


def test_the_longest_time_that_can_be_said_is_one() -> None:
    assert read_remaining([(REMAINING, "9" * 9)]) == timedelta(seconds=999_999_999)
