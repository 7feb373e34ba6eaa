"""Turns at signing, and callers who take note of what happens, on a clock that moves when work is done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest

from finial.rpc.status import RpcError, StatusCode
from finial.server.signing import Turns
from support.clock import FixedChance, ManualClock

NOTHING, MUCH = timedelta(0), timedelta(days=365)


class Panic(BaseException):
    """What a library in Rust raises, which is no Exception."""


class WorkingClock(ManualClock):
    """Moves when work is done."""

    def work(self, seconds: float) -> None:
        self._move_to(self._seconds + seconds)


class Desk:
    """Turns, and callers who take note of what happens.

    Args:
        cost: Seconds that each item takes.
        fraction: What chance draws.
    """

    def __init__(self, cost: float = 0.001, *, fraction: float = 0.5) -> None:
        self.clock = WorkingClock()
        self.turns = Turns(clock=self.clock, chance=FixedChance(fraction))
        self.cost = cost
        self.done: list[str] = []
        self.asked = 0

    def sign(self, item: str) -> str:
        self.clock.work(self.cost)
        self.done.append(item)
        return item.upper()

    def call(
        self,
        *items: str,
        left: timedelta | None = None,
        owner: str = "",
        do: Callable[[str], str] | None = None,
    ) -> asyncio.Task[list[str]]:
        """A call of an agent that has not called before, unless it is named."""
        self.asked += 1
        owner = owner or f"agent {self.asked}"
        due = self.turns.due(left)
        return asyncio.ensure_future(self.turns.each(items, do or self.sign, owner=owner, due=due))

    def single(
        self,
        item: str,
        *,
        left: timedelta | None = None,
        owner: str = "",
        do: Callable[[str], str] | None = None,
    ) -> asyncio.Task[str]:
        """A call for one signature."""
        self.asked += 1
        owner, work = owner or f"agent {self.asked}", do or self.sign
        call = self.turns.one(lambda: work(item), owner=owner, due=self.turns.due(left))
        return asyncio.ensure_future(call)

    async def refused(self, *items: str, owner: str = "") -> RpcError:
        """The error that a call is refused with."""
        with pytest.raises(RpcError) as caught:
            await self.call(*items, owner=owner)
        assert caught.value.code is StatusCode.RESOURCE_EXHAUSTED
        return caught.value
