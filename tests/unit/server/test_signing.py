"""Turns: short slices, the most urgent first, nobody starves, nobody fills the queue."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from itertools import pairwise

import pytest

from finial.rpc.status import RpcError, StatusCode
from finial.server import signing
from finial.server.signing import LONGEST, UNSAID
from support.clock import settle
from support.rpc import run
from support.signing_desk import MUCH, NOTHING, Desk, Panic


def test_each_item_is_answered_in_its_place() -> None:
    async def main() -> None:
        desk = Desk()
        assert await desk.call("a", "b", "c") == ["A", "B", "C"]
        assert (desk.turns.calls, desk.turns.items, dict(desk.turns._calls_of)) == (0, 0, {})

    run(main())


@pytest.mark.parametrize(("calls", "items"), [(1, 40), (40, 1), (5, 8)])
def test_everybody_else_has_a_turn_after_each_slice(calls: int, items: int) -> None:
    async def main() -> None:
        desk = Desk(cost=0.001)
        waiting = [desk.call(*["x"] * items) for _ in range(calls)]
        seen: list[float] = []

        async def somebody_else() -> None:
            while not all(task.done() for task in waiting):
                seen.append(desk.clock.monotonic())
                await desk.clock.sleep(timedelta(0))

        other = asyncio.ensure_future(somebody_else())
        await asyncio.gather(*waiting)
        await other
        longest = max(after - before for before, after in pairwise(seen))
        assert 0.003 < longest < 0.0055
        assert len(desk.done) == calls * items

    run(main())


def test_a_step_that_takes_longer_than_a_slice_has_a_turn_of_its_own() -> None:
    async def main() -> None:
        desk = Desk(cost=1.0)
        task = desk.call("a", "b", "c")
        turns = 0
        while not task.done():
            before = len(desk.done)
            await desk.clock.sleep(timedelta(0))
            assert len(desk.done) - before <= 1
            turns += 1
        assert turns >= 3

    run(main())


def test_whoever_has_least_time_comes_first() -> None:
    async def main() -> None:
        desk = Desk()
        calls = [
            desk.call("much", left=MUCH),
            desk.call("unsaid"),
            desk.call("eleven", left=UNSAID + timedelta(seconds=1)),
            desk.call("nine", left=UNSAID - timedelta(seconds=1)),
            desk.call("nothing", left=NOTHING),
            desk.call("longest", left=LONGEST),
            desk.call("nothing too", left=NOTHING),
        ]
        await asyncio.gather(*calls)
        assert desk.done == ["nothing", "nothing too", "nine", "unsaid", "eleven", "much", "longest"]

    run(main())


def test_somebody_in_a_hurry_is_let_in_between_the_slices_of_a_large_batch() -> None:
    async def main() -> None:
        desk = Desk()
        large = desk.call(*["large"] * 400, left=MUCH)
        await settle()
        assert 0 < len(desk.done) < 400
        before = len(desk.done)
        await desk.call("small", left=NOTHING)
        assert desk.done[before : before + 9].count("small") == 1
        assert not large.done()
        await large

    run(main())


def test_whoever_waits_is_not_passed_for_ever_by_those_who_say_that_they_hold_nothing() -> None:
    async def main() -> None:
        desk = Desk(cost=1.0)
        patient = desk.call("patient", left=MUCH)
        began = desk.clock.monotonic()
        others = [desk.call("hurried", left=NOTHING) for _ in range(3)]
        while not patient.done():
            others.append(desk.call("hurried", left=NOTHING))  # there is always somebody who came just now
            await desk.clock.sleep(timedelta(0))
        assert 55 < desk.clock.monotonic() - began < 70
        await asyncio.gather(*others)

    run(main())


@pytest.mark.parametrize("error", [RpcError(StatusCode.PERMISSION_DENIED, "banned"), ValueError(), Panic()])
def test_an_item_that_fails_ends_its_call_and_no_other(error: BaseException) -> None:
    async def main() -> None:
        desk = Desk()

        def fail(item: str) -> str:
            if item == "bad":
                raise error
            return desk.sign(item)

        broken = desk.call("first", "bad", "never", do=fail)
        fine = desk.call("fine")
        with pytest.raises(type(error)):
            await broken
        assert await fine == ["FINE"]
        assert desk.done == ["first", "fine"]
        assert (desk.turns.calls, desk.turns.items) == (0, 0)

    run(main())


def test_whoever_goes_away_has_nothing_more_signed_and_leaves_its_place() -> None:
    async def main() -> None:
        desk = Desk()
        waiting = desk.call("never", left=MUCH)
        begun = desk.call(*["x"] * 40)
        fine = desk.call("fine", left=MUCH)
        while not desk.done:
            await desk.clock.sleep(timedelta(0))
        assert (desk.turns.calls, desk.turns.items) == (3, 42)
        for task in (waiting, begun):
            task.cancel()
        await asyncio.gather(waiting, begun, return_exceptions=True)
        assert await fine == ["FINE"]
        assert (desk.turns.calls, desk.turns.items) == (0, 0)
        assert len(desk.done) < 12
        assert "never" not in desk.done
        assert not desk.turns._jobs

    run(main())


def test_what_somebody_had_asked_who_went_away_is_not_kept_until_its_turn() -> None:
    async def main() -> None:
        desk = Desk(cost=1.0)
        others = [desk.call(*["x"] * 30)]
        gone = desk.call("kept?", left=MUCH)
        await desk.clock.sleep(timedelta(0))
        gone.cancel()
        await asyncio.wait([gone])
        left = [job for _, _, job in desk.turns._jobs if job.future.cancelled()]
        assert [job._items for job in left] == [()]
        await asyncio.gather(*others)

    run(main())


def test_one_agent_has_a_few_places_and_others_find_room() -> None:
    async def main() -> None:
        desk = Desk()
        calls = [desk.call("x", owner="greedy") for _ in range(signing.MOST_CALLS_OF_ONE)]
        await desk.clock.sleep(timedelta(0))
        error = await desk.refused("x", owner="greedy")
        assert error.message == "too many requests wait for signatures already; try again later"
        assert await desk.call("y", owner="modest") == ["Y"]
        await asyncio.gather(*calls)
        assert await desk.call("x", owner="greedy") == ["X"]

    run(main())


def test_one_agent_does_not_fill_all_the_room_by_a_few_large_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing, "MOST_ITEMS_OF_ONE", 3)

    async def main() -> None:
        desk = Desk()
        large = desk.call(*"xxxx", owner="greedy")  # alone it may be as large as it likes
        await desk.clock.sleep(timedelta(0))
        await desk.refused("x", owner="greedy")
        assert await desk.call("y", owner="modest") == ["Y"]
        await large
        calls = [desk.call("x", owner="greedy"), desk.call("x", "x", owner="greedy")]
        await desk.clock.sleep(timedelta(0))
        await desk.refused("x", owner="greedy")
        await asyncio.gather(*calls)
        assert not desk.turns._items_of

    run(main())


@pytest.mark.parametrize(("bound", "most"), [("MOST_CALLS", 3), ("MOST_ITEMS", 6)])
def test_when_too_much_waits_whoever_comes_is_told_to_come_back(
    bound: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing, bound, most)

    async def main() -> None:
        desk = Desk(cost=1.0)
        calls = [desk.call("x", "x") for _ in range(3)]
        await desk.clock.sleep(timedelta(0))
        await desk.refused("x")
        assert (desk.turns.calls, desk.turns.items) == (3, 6)
        await asyncio.gather(*calls)
        assert await desk.call("y") == ["Y"]

    run(main())


@pytest.mark.parametrize(
    ("cost", "fraction", "least", "most"),
    [(0.0, 0.0, 1.0, 1.0), (0.001, 0.5, 1.5, 1.5), (1.0, 0.0, 20.0, 30.0), (1.0, 0.999, 40.0, 60.0)],
)
def test_how_long_they_are_to_stay_away_follows_what_waits_and_is_spread(
    cost: float, fraction: float, least: float, most: float
) -> None:
    async def main() -> None:
        desk = Desk(cost, fraction=fraction)
        await asyncio.gather(*(desk.call("x") for _ in range(50)))
        calls = [desk.call("x", owner="greedy") for _ in range(signing.MOST_CALLS_OF_ONE - 1)]
        calls.append(desk.call(*["x"] * 20, owner="greedy"))
        await desk.clock.sleep(timedelta(0))
        error = await desk.refused("x", owner="greedy")
        assert error.retry_after is not None
        assert least <= error.retry_after.total_seconds() <= most
        await asyncio.gather(*calls)

    run(main())


def test_the_turns_begin_anew_after_a_rest() -> None:
    async def main() -> None:
        desk = Desk()
        for _ in range(3):
            assert await desk.call("a") == ["A"]
            await settle()
            assert not desk.turns._turning

    run(main())


def test_the_arrival_counts_and_not_when_the_turn_was_asked_for() -> None:
    async def main() -> None:
        desk = Desk()
        early = desk.turns.due(UNSAID)
        await desk.clock.advance(timedelta(seconds=5))  # kept waiting elsewhere
        late = desk.call("late", left=timedelta(seconds=7))
        first = asyncio.ensure_future(desk.turns.each(["early"], desk.sign, owner="x", due=early))
        await asyncio.gather(late, first)
        assert desk.done == ["early", "late"]

    run(main())
