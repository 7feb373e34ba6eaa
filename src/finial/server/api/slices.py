"""Long work, cut into parts and slices, so that nobody else waits long for the loop or for the store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import timedelta
from typing import Final, TypeVar

from finial.rpc.status import RpcError, StatusCode
from finial.runtime.clock import Clock

SLICE_SECONDS: Final = 0.005
PART_ITEMS: Final = 250
"""How many items of a batch are worked on at once."""
MAX_ITEMS: Final = 50_000
"""How many items a batch may have: more than fit into one message when they say anything."""
_LOOK_EVERY: Final = 32

_Item = TypeVar("_Item")
_Outcome = TypeVar("_Outcome")


def parts(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    """The items of a batch, in parts.

    Raises:
        RpcError: RESOURCE_EXHAUSTED, before the first part: they are too many.
    """
    if len(items) > MAX_ITEMS:
        message = f"{len(items)} items in one request, at most {MAX_ITEMS}: send them in several requests"
        raise RpcError(StatusCode.RESOURCE_EXHAUSTED, message)
    for at in range(0, len(items), PART_ITEMS):
        yield items[at : at + PART_ITEMS]


async def each(items: Sequence[_Item], do: Callable[[_Item], Awaitable[_Outcome]]) -> list[_Outcome]:
    """What becomes of each item of a batch, in their order; those of a part are worked on together.

    Raises:
        RpcError: RESOURCE_EXHAUSTED, they are too many.
    """
    outcomes: list[_Outcome] = []
    for part in parts(items):
        outcomes += await asyncio.gather(*map(do, part))
    return outcomes


class Slices:
    """Counts steps of one piece of work.

    Args:
        clock: Measures them.
        look_every: After how many steps the time is looked at.
    """

    def __init__(self, clock: Clock, look_every: int = _LOOK_EVERY) -> None:
        self._clock = clock
        self._look_every = look_every
        self._steps = 0
        self._began = clock.monotonic()

    def over(self) -> bool:
        """Take note of a step; whether others should have their turn before the next one."""
        self._steps += 1
        due = self._steps % self._look_every == 0
        return due and self._clock.monotonic() - self._began > SLICE_SECONDS

    async def turn(self) -> None:
        """Let others have their turn."""
        await self._clock.sleep(timedelta(0))
        self._began = self._clock.monotonic()
