"""Who is connected: counted, bounded, and compared with what it has acknowledged."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from finial.rpc import RpcError, StatusCode
from finial.server.push import hub as hub_module
from finial.server.push.hub import Hub
from finial.wire.push import State
from support.clock import ManualClock
from support.rpc import run

_STATE = State("e", 7, 3, b"d" * 16, b"b" * 16)


@dataclass(eq=False)
class _Stream:
    behind_since: float | None = None
    synced: bool = True
    errors: list[RpcError] = field(default_factory=list)

    def end(self, error: RpcError) -> None:
        self.errors.append(error)


def test_agents_are_counted_however_many_streams_they_have() -> None:
    hub = Hub(ManualClock())
    a1, a2, b = _Stream(), _Stream(), _Stream()
    with hub.entered("a", a1), hub.entered("b", b):
        with hub.entered("a", a2):
            assert (hub.connected, hub.spread_ms) == (2, 8)
            assert hub.stream("a") is a2
        assert hub.stream("a") is a1
        assert hub.stream("b") is b
        assert hub.stream("c") is None
    assert (hub.connected, hub.spread_ms) == (0, 0)
    assert hub.stream("a") is None


def test_a_third_stream_ends_the_oldest() -> None:
    hub = Hub(ManualClock())
    streams = [_Stream() for _ in range(4)]
    places = [ExitStack() for _ in streams]
    for stream, place in zip(streams, places, strict=True):
        place.enter_context(hub.entered("a", stream))
    assert [[error.code for error in stream.errors] for stream in streams] == [
        [StatusCode.RESOURCE_EXHAUSTED], [StatusCode.RESOURCE_EXHAUSTED], [], [],
    ]  # fmt: skip
    places[3].close()
    places[2].close()
    assert not hub.connected
    # Those that were ended leave last, and take nothing with them that is not theirs.
    with hub.entered("a", _Stream()):
        places[0].close()
        places[1].close()
        assert hub.connected


def test_an_agent_is_behind_when_it_has_not_had_everything_for_more_than_a_second() -> None:
    async def main() -> None:
        clock = ManualClock()
        hub = Hub(clock)
        late, soon, fresh = _Stream(clock.monotonic()), _Stream(clock.monotonic() + 1), _Stream()
        old = _Stream(clock.monotonic())
        with hub.entered("a", late), hub.entered("b", soon), hub.entered("c", old), hub.entered("c", fresh):
            await clock.advance(timedelta(seconds=1))
            assert hub.behind() == 0
            await clock.advance(timedelta(seconds=1))
            assert hub.behind() == 1
            await clock.advance(timedelta(seconds=1))
            assert hub.behind() == 2

    run(main())


def test_an_agent_that_holds_something_else_than_it_acknowledged_is_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hub = Hub(ManualClock())
    hub.check("a", _STATE)
    hub.acknowledged("a", replace(_STATE, seq=6))
    hub.acknowledged("a", _STATE)
    hub.check("a", None)
    hub.check("a", _STATE)
    hub.check("b", replace(_STATE, count=2))
    hub.check("a", replace(_STATE, count=2, seq=6))
    assert hub.mismatches == 0
    with caplog.at_level(logging.WARNING, logger="finial.server"):
        hub.check("a", replace(_STATE, count=2))
    assert hub.mismatches + 0 == 1
    assert "holds something else" in caplog.text


def test_what_has_not_changed_since_is_compared_as_well() -> None:
    hub = Hub(ManualClock())
    hub.unchanged("a", _STATE)
    hub.acknowledged("a", _STATE)
    hub.unchanged("a", replace(_STATE, seq=9))
    hub.unchanged("a", replace(_STATE, seq=12, count=4))  # another stream of it is further
    hub.check("a", replace(_STATE, seq=9))
    hub.check("a", replace(_STATE, seq=10, count=2))
    assert hub.mismatches == 0
    hub.check("a", replace(_STATE, seq=8, count=2))
    assert hub.mismatches == 1


def test_what_agents_acknowledged_is_remembered_of_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "_MOST_REMEMBERED", 2)
    hub = Hub(ManualClock())
    for name in "abac":
        hub.acknowledged(name, _STATE)
    for name in "abc":
        hub.check(name, replace(_STATE, count=1))
    assert hub.mismatches == 2
