from __future__ import annotations

from datetime import timedelta

import pytest

from finial.agent import refusals
from finial.agent.refusals import Refusals
from finial.rpc import RpcError, StatusCode

NO = RpcError(StatusCode.INVALID_ARGUMENT, "no")


def test_what_was_refused_is_in_peace_for_longer_each_time() -> None:
    one, now, pauses = Refusals(), 1_000.0, []
    assert one.of("x", now) is None
    for _ in range(8):
        pause = one.add("x", NO, now, 1.0)
        pauses.append(pause.total_seconds())
        kept = one.of("x", now + pause.total_seconds() - 0.01)
        assert kept is not None
        assert kept.message == "no"
        assert one.of("y", now) is None
        now += pause.total_seconds()
        assert one.of("x", now) is None
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30]
    one.forget("x")
    one.forget("x")
    assert one.of("x", 0) is None
    assert one.add("x", NO, now, 0.0) == timedelta(seconds=0.25)


def test_only_so_many_are_kept_in_mind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "MOST", 3)
    one = Refusals()
    for name in ("a", "b", "c", "a", "d"):
        one.add(name, NO, 0, 1.0)
    assert len(one) == 3
    assert [name for name in "abcd" if one.of(name, 0)] == ["a", "c", "d"]


def test_what_an_error_came_by_is_not_kept() -> None:
    one, frames = Refusals(), []
    try:
        raise NO
    except RpcError as error:
        one.add("x", error, 0, 1.0)
        frames.append(error.__traceback__)
    kept = one.of("x", 0)
    assert kept is not None
    assert frames[0] is not None
    assert kept.__traceback__ is None
    assert kept.__context__ is None
