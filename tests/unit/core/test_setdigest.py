"""A digest of a set: the same in any order, another for any other set."""

from __future__ import annotations

from functools import reduce

from hypothesis import given
from hypothesis import strategies as st

from finial.core.setdigest import MARK_BYTES, SetDigest, mark_of, to_bytes

members = st.lists(st.binary(max_size=40), unique=True, max_size=30)


def _digest(data: list[bytes]) -> SetDigest:
    return reduce(lambda digest, each: digest.plus(mark_of(each)), data, SetDigest())


@given(members)
def test_the_order_does_not_matter(data: list[bytes]) -> None:
    shuffled = sorted(data, key=lambda each: (len(each), each))
    assert _digest(shuffled) == _digest(data)


@given(members)
def test_what_is_taken_away_leaves_nothing_behind(data: list[bytes]) -> None:
    digest = _digest(data)
    for each in data:
        digest = digest.minus(mark_of(each))
    assert digest == SetDigest()


@given(members, st.integers(0, 30))
def test_parts_join(data: list[bytes], at: int) -> None:
    assert _digest(data[:at]).joined(_digest(data[at:])) == _digest(data)


def test_another_content_is_another_digest() -> None:
    assert _digest([b"a", b"b"]) != _digest([b"a", b"c"])
    assert _digest([b"a"]).digest == to_bytes(mark_of(b"a"))
    assert len(to_bytes(0)) == len(_digest([b"a", b"b", b"c"]).digest) == MARK_BYTES
