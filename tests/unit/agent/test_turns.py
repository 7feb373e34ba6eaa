from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from finial.agent.turns import Turns
from support.clock import settle
from support.rpc import run


def waiting(turns: Turns, *callers: int) -> list[asyncio.Task[None]]:
    return [asyncio.ensure_future(turns.take(caller)) for caller in callers]


def test_each_caller_has_so_many_and_all_together_so_many() -> None:
    async def main() -> None:
        turns = Turns(each=2, most=3)
        assert turns.take_now(1)
        await turns.take(1)
        assert not turns.take_now(1)
        assert turns.take_now(2)
        assert not turns.take_now(3)
        turns.give_back(1)
        assert turns.take_now(3)

    run(main())


def test_a_caller_that_waits_for_many_turns_lets_others_have_theirs() -> None:
    async def main() -> None:
        turns, order = Turns(each=2, most=2), list[int]()

        async def work(caller: int) -> None:
            await turns.take(caller)
            order.append(caller)

        assert turns.take_now(9)
        assert turns.take_now(9)
        tasks = [asyncio.ensure_future(work(caller)) for caller in (1, 1, 1, 2, 3)]
        await settle()
        for over in (9, 9, 1, 2, 3):
            turns.give_back(over)
            await settle()
        assert order == [1, 2, 3, 1, 1]
        assert all(task.done() for task in tasks)

    run(main())


def test_whoever_gives_up_takes_no_turn_with_it() -> None:
    async def main() -> None:
        turns = Turns(each=1, most=1)
        assert turns.take_now(1)
        first, second, third = waiting(turns, 1, 1, 2)
        await settle()
        first.cancel()
        await settle()
        turns.give_back(1)
        second.cancel()  # at the moment at which its turn has come
        await settle()
        assert first.cancelled()
        assert second.cancelled()
        assert third.done()
        turns.give_back(2)
        assert turns.take_now(5)
        assert not turns._waiting

    run(main())


def test_whoever_has_just_given_up_is_passed_over() -> None:
    async def main() -> None:
        turns = Turns(each=1, most=1)
        assert turns.take_now(1)
        alone, among, after = waiting(turns, 2, 1, 1)
        await settle()
        alone.cancel()
        among.cancel()
        turns.give_back(1)
        await settle()
        assert after.done()
        assert not turns._waiting
        assert not turns.take_now(3)

    run(main())


def test_fewer_turns_are_given_and_later_more_again() -> None:
    async def main() -> None:
        turns = Turns(each=5, most=2)
        assert turns.take_now(1)
        assert turns.take_now(1)
        turns.limit(1)
        one, two = waiting(turns, 1, 2)
        await settle()
        turns.give_back(1)
        await settle()
        assert not one.done()
        turns.limit(3)
        await settle()
        assert one.done()
        assert two.done()

    run(main())


STEP = st.tuples(st.sampled_from(["take", "give", "leave", "most"]), st.integers(1, 4))


@given(st.lists(STEP, max_size=40))
def test_no_turn_is_lost_and_no_bound_is_broken(steps: list[tuple[str, int]]) -> None:
    async def main() -> None:
        turns, most = Turns(each=2, most=4), 4
        waits: list[tuple[int, asyncio.Task[None]]] = []
        held: list[int] = []
        for step, number in [*steps, ("most", 4)]:
            if step == "take":
                waits.append((number, waiting(turns, number)[0]))
            elif step == "give" and held:
                turns.give_back(held.pop(number % len(held)))
            elif step == "leave" and waits:
                waits.pop(number % len(waits))[1].cancel()
            elif step == "most":
                most = number
                turns.limit(most)
            await settle()
            came = [caller for caller, task in waits if task.done()]
            assert not came or len(held) + len(came) <= most
            held += came
            waits = [each for each in waits if not each[1].done()]
            assert all(held.count(caller) <= 2 for caller in held)
            for caller, _ in waits:
                assert len(held) >= most or held.count(caller) == 2
        for caller in held:
            turns.give_back(caller)
        for _, task in waits:
            task.cancel()
        await settle()
        assert not turns._waiting

    run(main())
