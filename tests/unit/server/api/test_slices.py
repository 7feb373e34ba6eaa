"""Batches in parts, and long work in slices."""

from __future__ import annotations

import asyncio

import pytest

from finial.rpc import RpcError, StatusCode
from finial.server.api import slices
from finial.server.api.slices import Slices, each, parts
from support.clock import ManualClock


def test_a_batch_is_worked_on_in_parts_and_answered_in_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "PART_ITEMS", 3)
    at_once, most = 0, 0

    async def double(item: int) -> int:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await ManualClock().sleep(ManualClock().now() - ManualClock().now())
        at_once -= 1
        return 2 * item

    assert list(parts(range(7))) == [range(3), range(3, 6), range(6, 7)]
    assert asyncio.run(each(range(7), double)) == [0, 2, 4, 6, 8, 10, 12]
    assert most == 3
    assert asyncio.run(each([], double)) == []


def test_a_batch_of_too_many_is_refused_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "MAX_ITEMS", 2)
    seen: list[int] = []

    async def see(item: int) -> None:
        seen.append(item)

    asyncio.run(each([1, 2], see))
    with pytest.raises(RpcError, match="3 items in one request, at most 2: send them in several") as caught:
        asyncio.run(each([1, 2, 3], see))
    assert caught.value.code is StatusCode.RESOURCE_EXHAUSTED
    assert seen == [1, 2]


def test_others_have_their_turn_when_a_slice_is_over() -> None:
    class Running(ManualClock):
        def monotonic(self) -> float:
            self._seconds += slices.SLICE_SECONDS
            return self._seconds

    async def main() -> None:
        work = Slices(Running(), look_every=2)
        assert [work.over() for _ in range(4)] == [False, False, False, True]
        await work.turn()
        assert [work.over() for _ in range(4)] == [False, False, False, True]

    asyncio.run(main())
