"""Turns: a few at a time, in order, and nobody keeps one for long."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest

from finial.rpc import RpcError, StatusCode
from finial.server.push import turns
from finial.server.push.turns import AT_ONCE, LARGE, MOST_WAITING, Turns
from support.clock import FixedChance, ManualClock, settle
from support.rpc import run


class _Queue:
    """Some who want turns, by name."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.turns = Turns(self.clock, FixedChance())
        self.running: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self._ends: dict[str, asyncio.Event] = {}

    def ask(self, name: str, size: int = LARGE + 1) -> None:
        self._ends[name] = asyncio.Event()
        self.tasks[name] = asyncio.ensure_future(self._work(name, size))

    async def _work(self, name: str, size: int) -> None:
        async with self.turns.turn(size):
            self.running.append(name)
            try:
                await self._ends[name].wait()
            finally:
                self.running.remove(name)

    def end(self, name: str) -> None:
        self._ends[name].set()

    async def close(self) -> None:
        for task in self.tasks.values():
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)


def _refusal(task: asyncio.Task[None]) -> RpcError:
    error = task.exception()
    assert isinstance(error, RpcError)
    return error


def test_small_ones_need_no_turn() -> None:
    async def main() -> None:
        queue = _Queue()
        async with AsyncExitStack() as stack:
            for _ in range(AT_ONCE + 1):
                await stack.enter_async_context(queue.turns.turn(LARGE))
            queue.ask("large")
            await settle()
            assert queue.running == ["large"]
            await queue.close()

    run(main())


def test_a_few_at_a_time_in_the_order_of_asking() -> None:
    async def main() -> None:
        queue = _Queue()
        for name in "abcdefg":
            queue.ask(name)
            await settle()
        assert queue.running == ["a", "b", "c", "d"]
        assert queue.turns.waiting == 3
        queue.end("b")
        await settle()
        assert queue.running == ["a", "c", "d", "e"]
        queue.tasks["f"].cancel()  # gives up while it waits
        queue.tasks["a"].cancel()  # and in the midst of it
        await settle()
        assert set(queue.running) == set("cdeg")
        queue.ask("h")
        await settle()
        assert queue.turns.waiting == 1
        await queue.close()

    run(main())


def test_who_has_waited_long_enough_is_told_when_to_come_back() -> None:
    async def main() -> None:
        queue = _Queue()
        for name in "abcdefghi":
            queue.ask(name)
        await queue.clock.advance(turns.PATIENCE - timedelta(milliseconds=1))
        assert not queue.tasks["i"].done()
        await queue.clock.advance(timedelta(milliseconds=1))
        assert queue.running == list("abcdefgh")
        error = _refusal(queue.tasks["i"])
        assert error.code is StatusCode.UNAVAILABLE
        assert error.retry_after == timedelta(seconds=20)
        assert not queue.turns.waiting
        await queue.close()

    run(main())


def test_when_too_many_wait_the_next_one_is_sent_away_at_once() -> None:
    async def main() -> None:
        queue = _Queue()
        for number in range(AT_ONCE + MOST_WAITING):
            queue.ask(str(number))
        await settle()
        assert queue.turns.waiting == MOST_WAITING
        queue.ask("last")
        await settle()
        assert _refusal(queue.tasks["last"]).retry_after is not None
        await queue.close()
        assert not queue.turns.waiting

    run(main())


def test_nobody_keeps_a_turn_for_long_however_slowly_the_agent_reads() -> None:
    async def main() -> None:
        queue = _Queue()
        for name in "abcd":
            queue.ask(name)
        await queue.clock.advance(timedelta(seconds=20))
        queue.ask("e")
        await queue.clock.advance(timedelta(seconds=9))
        assert queue.running == ["a", "b", "c", "d"]
        await queue.clock.advance(timedelta(seconds=1))  # nobody comes and nobody goes
        assert queue.running == ["a", "b", "c", "d", "e"]
        queue.ask("f")
        await settle()
        assert set(queue.running) == set("abcdef")
        # Those whose turn was passed on are not counted any more when they end.
        queue.end("a")
        for name in "ghi":
            queue.ask(name)
        await settle()
        assert set(queue.running) == set("bcdefgh")
        await queue.close()

    run(main())


def test_errors_give_a_turn_back() -> None:
    async def main() -> None:
        queue = _Queue()
        for _ in range(AT_ONCE + 1):
            with pytest.raises(ZeroDivisionError):
                async with queue.turns.turn(LARGE + 1):
                    raise ZeroDivisionError

    run(main())
