"""Looking at streams: each when it wants, all of them by one task, and none to the harm of others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from datetime import timedelta

import pytest

from finial.rpc import RpcError, StatusCode
from finial.server.push.rounds import Rounds
from support.clock import ManualClock, settle
from support.push_telling import HastyClock
from support.rpc import run

_SECOND = timedelta(seconds=1)


class _Stream:
    """Wants to be looked at every so many seconds."""

    def __init__(self, clock: ManualClock, every: float) -> None:
        self.every = every
        self.looks: list[float] = []
        self.errors: list[RpcError] = []
        self.fault: Exception | None = None
        self._clock = clock
        self._begun = clock.monotonic()

    def look(self) -> float:
        now = self._clock.monotonic()
        self.looks.append(now - self._begun)
        if self.fault is not None:
            raise self.fault
        return now + self.every

    def end(self, error: RpcError) -> None:
        self.errors.append(error)
        if self.fault is not None:
            raise self.fault


def _test(scenario: Callable[[ManualClock, Rounds], Awaitable[None]]) -> None:
    async def main() -> None:
        clock = ManualClock()
        rounds = Rounds(clock)
        await scenario(clock, rounds)
        await settle()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert rounds._walk is None
        assert not rounds._coming

    run(main())


def test_each_is_looked_at_when_it_wants() -> None:
    async def scenario(clock: ManualClock, rounds: Rounds) -> None:
        slow, quick = _Stream(clock, 30), _Stream(clock, 7)
        with rounds.entered(slow):
            assert slow.looks == [0]
            await clock.advance(_SECOND)
            quick = _Stream(clock, 7)
            with rounds.entered(quick):  # before anybody else is due
                await clock.advance(20 * _SECOND)
                assert quick.looks == [0, 7, 14]
            await clock.advance(40 * _SECOND)
            assert slow.looks == [0, 30, 60]
            with rounds.entered(_Stream(clock, 100)):  # behind everybody else
                await clock.advance(30 * _SECOND)
        assert slow.looks == [0, 30, 60, 90]
        assert quick.looks == [0, 7, 14]

    _test(scenario)


def test_they_come_and_go() -> None:
    async def scenario(clock: ManualClock, rounds: Rounds) -> None:
        for _ in range(2):
            with ExitStack() as stack:
                streams = [_Stream(clock, 30) for _ in range(10)]
                for stream in streams:
                    stack.enter_context(rounds.entered(stream))
                await clock.advance(30 * _SECOND)
                assert all(stream.looks == [0, 30] for stream in streams)
            await clock.advance(60 * _SECOND)
            assert all(stream.looks == [0, 30] for stream in streams)

    _test(scenario)


def test_a_fault_ends_one_stream_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(clock: ManualClock, rounds: Rounds) -> None:
        broken, other = _Stream(clock, 10), _Stream(clock, 10)
        with rounds.entered(broken), rounds.entered(other):
            broken.fault = ZeroDivisionError()
            await clock.advance(30 * _SECOND)
            assert [error.code for error in broken.errors] == [StatusCode.INTERNAL]
            assert other.looks == [0, 10, 20, 30]
            assert not other.errors

    with caplog.at_level(logging.ERROR, logger="finial.server"):
        _test(scenario)
    assert "cannot be looked at" in caplog.text


def test_many_at_once_let_others_have_their_turn() -> None:
    async def main() -> None:
        clock = HastyClock()
        rounds = Rounds(clock)
        with ExitStack() as stack:
            streams = [_Stream(clock, 30) for _ in range(320)]
            for stream in streams:
                stack.enter_context(rounds.entered(stream))
            turns = clock.turns
            await clock.advance(31 * _SECOND)
            assert all(len(stream.looks) == 2 for stream in streams)
            assert clock.turns - turns >= 5

    run(main())
