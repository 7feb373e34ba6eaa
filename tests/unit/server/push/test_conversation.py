"""How a stream begins, and who has to wait: decided from two states."""

from __future__ import annotations

from dataclasses import replace

import pytest

from finial.server.push.conversation import Acknowledged, Opening, differs, is_ahead, most_held, opening
from finial.wire.push import State

_HERE = State("e", 7, 3, b"d" * 16, b"b" * 16)


@pytest.mark.parametrize(
    ("held", "wanted"),
    [
        (None, Opening.WHOLE),
        (_HERE, Opening.CURRENT),
        # Where it stands does not matter when it holds the same.
        (replace(_HERE, epoch="other", seq=1), Opening.CURRENT),
        (replace(_HERE, seq=3), Opening.CURRENT),
        (replace(_HERE, bundles=bytes(16)), Opening.BUNDLES),
        (replace(_HERE, digest=bytes(16)), Opening.COMPARE),
        (replace(_HERE, count=2), Opening.COMPARE),
        (replace(_HERE, count=0, digest=bytes(16), bundles=bytes(16)), Opening.COMPARE),
        (replace(_HERE, count=most_held(3)), Opening.COMPARE),
        (replace(_HERE, count=most_held(3) + 1), Opening.WHOLE),
    ],
)
def test_opening(held: State | None, wanted: Opening) -> None:
    assert opening(held, _HERE) is wanted


def test_only_within_an_epoch_can_one_be_ahead() -> None:
    assert is_ahead(_HERE, "e", 6)
    assert not is_ahead(_HERE, "e", 7)
    assert not is_ahead(_HERE, "other", 0)


@pytest.mark.parametrize(
    ("held", "wanted"),
    [
        (_HERE, False),
        (replace(_HERE, count=2), True),
        (replace(_HERE, digest=bytes(16)), True),
        (replace(_HERE, bundles=bytes(16)), True),
        (replace(_HERE, count=2, seq=9), True),
        (replace(_HERE, count=2, seq=6), False),
        (replace(_HERE, count=2, seq=10), False),
        (replace(_HERE, count=2, epoch="other"), False),
    ],
)
def test_an_agent_that_stands_where_it_stood_should_hold_what_it_held(held: State, wanted: bool) -> None:
    assert differs(held, Acknowledged(_HERE, until=9)) is wanted
