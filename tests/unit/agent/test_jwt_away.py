"""What workloads are answered while the server is away."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

from finial.rpc import RpcError, StatusCode
from support.clock import settle
from support.jwt_cases import LIFE
from support.jwt_desk import ONE, Desk, at_desk

SECOND = timedelta(seconds=1)
AWAY = RpcError(StatusCode.UNAVAILABLE, "nobody there")


@at_desk
async def test_a_short_trouble_is_waited_out(d: Desk) -> None:
    d.away = AWAY
    fetching = d.fetch()
    await d.clock.advance(2 * SECOND)
    assert not fetching.done()
    d.away = None
    await d.clock.advance(2 * SECOND)
    assert isinstance(fetching.result(), list)


@at_desk
async def test_others_that_fail_meanwhile_are_no_reason_to_give_up_early(d: Desk) -> None:
    d.away = AWAY
    fetching, began = d.fetch(), d.clock.monotonic()
    await settle()
    for _ in range(8):  # somebody else tries just before each time
        await d.clock.advance(d.tries.calm.left() - SECOND / 100)
        d.tries.calm._until -= 1
        d.tries.calm.failed(AWAY)
        await settle()
        if d.clock.monotonic() - began > 3:
            break
        assert not fetching.done()
    d.away = None
    d.reached.set()
    await d.clock.advance(2 * SECOND)
    assert isinstance(fetching.result(), list)


@at_desk
async def test_a_long_trouble_is_told_and_later_at_once(d: Desk) -> None:
    d.away = AWAY
    fetching = d.fetch()
    await d.clock.advance(5 * SECOND)
    error = fetching.result()
    assert isinstance(error, RpcError)
    assert error.code is StatusCode.UNAVAILABLE
    assert error.message == (
        "could not fetch JWT-SVID: the server is away, and no valid one is held: nobody there"
    )
    assert error.retry_after
    calls = len(d.calls)
    for number in range(100):  # a workload that asks in a loop
        assert (await d.refusal(f"a{number}")).code is StatusCode.UNAVAILABLE
    assert len(d.calls) == calls
    await d.clock.advance(error.retry_after)
    assert (await d.refusal()).message.endswith("nobody there")  # it is tried once, and not waited for
    assert len(d.calls) == calls + 1


@at_desk
async def test_when_the_server_may_be_back_one_call_finds_out(d: Desk) -> None:
    d.away = AWAY
    await d.clock.advance(SECOND)
    first = d.fetch("first")
    await settle()
    assert len(d.calls) == 1
    d.away, d.patient = None, True
    many = [d.fetch(f"a{number}") for number in range(10)]
    await d.clock.advance(SECOND)
    assert d.open() == 1
    await d.answer()
    assert d.open() == 10
    await d.answer(10)
    assert all(isinstance(each, list) for each in await asyncio.gather(first, *many))


@at_desk
async def test_another_call_of_the_agent_that_goes_well_ends_the_calm(d: Desk) -> None:
    d.away = AWAY
    d.chance.value = 1.0
    fetching = d.fetch()
    await d.clock.advance(4 * SECOND)
    calls = len(d.calls)
    d.away = None
    d.reached.set()
    await settle()
    assert len(d.calls) == calls + 1
    assert isinstance(await asyncio.wait_for(fetching, 10), list)


@at_desk
async def test_a_server_that_asks_for_peace_has_it(d: Desk) -> None:
    d.away = RpcError(StatusCode.RESOURCE_EXHAUSTED, "busy", retry_after=20 * SECOND)
    error = await d.refusal()
    assert error.retry_after == 20 * SECOND
    await d.clock.advance(19 * SECOND)
    d.away = None
    assert (await d.refusal()).retry_after == SECOND
    assert len(d.calls) == 1
    await d.clock.advance(SECOND)
    await d.one()


@at_desk
async def test_a_token_that_is_held_is_served_until_its_end_and_not_beyond(d: Desk) -> None:
    first = await d.one()
    d.away = AWAY
    await d.clock.advance(LIFE - 20 * SECOND)
    assert (await d.one()) == first  # though another one is tried for
    assert len(d.calls) == 2
    await d.clock.advance(19 * SECOND)
    assert (await d.one()) == first
    await d.clock.advance(SECOND)
    assert (await d.refusal()).code is StatusCode.UNAVAILABLE


@at_desk
async def test_a_server_that_does_not_answer_lets_nobody_wait_who_could_have_another_token(d: Desk) -> None:
    first = await d.one()
    await d.clock.advance(LIFE - 20 * SECOND)
    d.patient = True
    fetching = d.fetch()
    await d.clock.advance(SECOND)
    assert not fetching.done()
    await d.clock.advance(SECOND)
    assert fetching.result() == [first]
    await d.answer()
    assert await d.one() != first


@at_desk
async def test_a_token_of_what_an_entry_said_before_is_served_in_the_words_of_now(d: Desk) -> None:
    first = await d.one()
    changed = replace(ONE, revision=1, hint="new")
    d.enter(changed)
    d.away = AWAY
    served = await d.one(of=changed)
    assert (served.token, served.hint) == (first.token, "new")
    assert len(d.calls) == 2
    d.away = None
    await d.clock.advance(SECOND)
    again = await d.one(of=changed)
    assert again.token != first.token
    assert await d.one(of=changed) == again
