"""Turns for a single signature: at once where nobody waits, else like all others."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from finial.rpc.status import RpcError, StatusCode
from finial.server import signing
from finial.server.signing import UNSAID
from support.clock import settle
from support.rpc import run
from support.signing_desk import NOTHING, Desk, Panic


def test_a_single_one_is_signed_at_once_where_nobody_waits() -> None:
    async def main() -> None:
        desk = Desk(cost=0.0001)
        waiting = [desk.single("x") for _ in range(20)]
        await desk.clock.sleep(timedelta(0))
        assert len(desk.done) == 20
        assert await asyncio.gather(*waiting) == ["X"] * 20
        assert not desk.turns._single_of

    run(main())


@pytest.mark.parametrize("cost", [0.001, 0.003, 0.5])
def test_many_single_ones_have_slices_as_well(cost: float) -> None:
    async def main() -> None:
        desk = Desk(cost=cost)
        waiting = [desk.single("x", owner=f"agent {number % 4}") for number in range(40)]
        most = 0
        while not all(task.done() for task in waiting):
            before = len(desk.done)
            await desk.clock.sleep(timedelta(0))
            most = max(most, len(desk.done) - before)
        assert most * cost < 0.004 + cost + max(0.004, cost)  # in one turn of the loop: one ends, one begins
        assert desk.done == ["x"] * 40
        assert (desk.turns._single, dict(desk.turns._single_of)) == (0, {})

    run(main())


def test_a_slice_that_is_used_up_is_followed_by_another_one() -> None:
    async def main() -> None:
        desk = Desk(cost=1.0)
        for number in range(3):
            at_once = desk.single("x")
            await desk.clock.sleep(timedelta(0))
            assert len(desk.done) == number + 1
            assert await at_once == "X"
            await settle()
            assert not desk.turns._turning

    run(main())


@pytest.mark.parametrize("cost", [0.001, 1.0])
def test_single_ones_and_others_have_every_second_step(cost: float) -> None:
    async def main() -> None:
        desk = Desk(cost=cost)
        large = desk.call(*["large"] * 20, left=NOTHING)
        later = desk.call("later", left=UNSAID)
        await desk.clock.sleep(timedelta(0))
        singles = [desk.single("single", left=signing.WAITED_FOR) for _ in range(8)]
        await asyncio.gather(large, later, *singles)
        first = desk.done.index("single")
        assert desk.done[first : first + 16] == ["single", "large"] * 8
        assert desk.done[first + 16 :] == ["large"] * (12 - first) + ["later"]

    run(main())


def test_no_number_of_single_ones_holds_up_who_wants_more() -> None:
    async def main() -> None:
        desk = Desk(cost=1.0)
        flood = [desk.single("flood", owner="greedy") for _ in range(signing.MOST_SINGLE_OF_ONE)]
        other = desk.call("other", owner="modest", left=signing.LONGEST)
        await other
        assert len(desk.done) <= 4
        await asyncio.gather(*flood)

    run(main())


@pytest.mark.parametrize("before", [0, 1])
def test_a_single_one_that_fails_ends_its_call(before: int) -> None:
    async def main() -> None:
        desk = Desk(cost=1.0)

        def fail(_: str) -> str:
            raise Panic

        others = [desk.single("x") for _ in range(before)]  # which use the slice up
        with pytest.raises(Panic):
            await desk.single("bad", do=fail)
        assert await desk.single("fine") == "FINE"
        await asyncio.gather(*others)
        assert desk.turns._single == 0

    run(main())


def test_single_ones_have_places_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing, "MOST_SINGLE_OF_ONE", 2)
    monkeypatch.setattr(signing, "MOST_SINGLE", 3)

    async def main() -> None:
        desk = Desk(cost=1.0)
        calls = [desk.call("x", owner="greedy") for _ in range(signing.MOST_CALLS_OF_ONE)]
        await desk.clock.sleep(timedelta(0))
        single = [desk.single("s", owner="greedy") for _ in range(3)]
        single += [desk.single("s", owner="modest") for _ in range(2)]
        await desk.clock.sleep(timedelta(0))
        refused = [task for task in single if task.done()]
        assert refused == [single[2], single[4]]
        for task in refused:
            error = task.exception()
            assert isinstance(error, RpcError)
            assert error.code is StatusCode.RESOURCE_EXHAUSTED
            assert error.retry_after is not None
        await asyncio.gather(*calls, *(task for task in single if task not in refused))
        assert await desk.single("s", owner="greedy") == "S"

    run(main())


def test_whoever_asked_for_a_single_one_and_goes_away_leaves_its_place() -> None:
    async def main() -> None:
        desk = Desk(cost=1.0)
        others = desk.call("x", "x", "x")
        await desk.clock.sleep(timedelta(0))
        gone = desk.single("never")
        await desk.clock.sleep(timedelta(0))
        assert desk.turns._single == 1
        gone.cancel()
        await asyncio.gather(others, gone, return_exceptions=True)
        await settle()
        assert (desk.turns._single, desk.done) == (0, ["x"] * 3)
        assert not desk.turns._jobs

    run(main())
