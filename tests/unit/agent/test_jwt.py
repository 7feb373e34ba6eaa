"""JWT-SVIDs for workloads: what the server is asked, and how often."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import timedelta

import pytest

from finial.agent import jwt_tries
from finial.agent.standing import EXPELLED, ExpelledError
from finial.core.ids import SpiffeID
from finial.core.jwtsvid import JWTSVID
from finial.rpc import RpcError, StatusCode
from support.books import entry
from support.clock import settle
from support.jwt_cases import K1, K2, OWN, token
from support.jwt_desk import ME, ONE, Desk, at_desk
from support.rpc import run

SECOND = timedelta(seconds=1)
AWAY = RpcError(StatusCode.UNAVAILABLE, "nobody there")
NO = RpcError(StatusCode.INVALID_ARGUMENT, "not for them")
OTHER = 2_000


@at_desk
async def test_what_is_held_costs_no_call(d: Desk) -> None:
    first = await d.one("a", "b")
    assert await d.one("b", "a") == first
    assert len(d.calls) == 1
    assert (d.hits.value, d.misses.value) == (1, 1)
    assert d.calls[0].audience == ("a", "b")


@at_desk
async def test_several_identities_are_answered_together_in_order(d: Desk) -> None:
    entries = [entry(f"e{number}", hint=f"h{number}") for number in range(20)]
    d.enter(*entries)
    await d.one(of=entries[3])
    assert d.supply.at_once(entries, ("a",)) is None
    found = await d.supply.obtain(entries, ("a",), caller=ME)
    assert len(d.calls) == 20
    assert d.supply.at_once(entries, ("a",)) == found
    d.refused["b"] = NO
    with pytest.raises(RpcError, match="not for them"):
        await d.supply.obtain(entries, ("b",), caller=ME)


@at_desk
async def test_whoever_wants_the_same_waits_for_the_same_call(d: Desk) -> None:
    d.patient = True
    fetching = [d.fetch("a", "b"), d.fetch("b", "a"), d.fetch("a", "b")]
    await settle()
    assert len(d.calls) == 1
    fetching[0].cancel()
    await d.answer()
    found = await asyncio.gather(*fetching[1:])
    assert found[0] == found[1]


@at_desk
async def test_a_call_that_nobody_waits_for_any_more_is_of_use_all_the_same(d: Desk) -> None:
    d.patient = True
    fetching = d.fetch()
    await settle()
    fetching.cancel()
    await settle()
    await d.answer()
    await d.one()
    assert len(d.calls) == 1


@at_desk
async def test_tokens_with_an_id_of_their_own_are_never_served_twice(d: Desk) -> None:
    unique = replace(ONE, unique_tokens=True)
    d.enter(unique)
    found = await asyncio.gather(*(d.fetch(of=unique) for _ in range(3)))
    assert len({each[0].token for each in found if isinstance(each, list)}) == 3
    assert len(d.calls) == 3
    assert not len(d.cache.tokens)
    assert not d.supply._flights
    assert d.misses.value == 3


# Many at a time


@at_desk
async def test_a_flood_of_one_user_has_only_its_turns(d: Desk) -> None:
    d.patient = True
    flood = [d.fetch(f"a{number}") for number in range(100)]
    await settle()
    assert d.open() == jwt_tries.CALLS_OF_CALLER == 16
    mine = d.fetch("mine", caller=OTHER)
    await settle()
    assert d.calls[-1].audience == ("mine",)
    d.calls[-1].answer.set_result(None)
    assert isinstance(await asyncio.wait_for(mine, 10), list)
    await d.answer(3)
    assert d.open() == 16
    for task in flood:
        task.cancel()
    await settle()
    assert d.open() == 16  # begun, and gone on with
    assert len(d.supply._tasks) == 16
    await d.answer(16)
    assert not d.supply._tasks
    assert not d.supply._flights
    assert len(d.calls) == 20


@at_desk
async def test_whoever_has_no_turn_in_time_is_told_so(d: Desk) -> None:
    d.patient = True
    flood = [d.fetch(f"a{number}") for number in range(17)]
    await d.clock.advance(6 * SECOND)
    assert [task.done() for task in flood] == [False] * 16 + [True]
    error = await flood[16]
    assert isinstance(error, RpcError)
    assert error.code is StatusCode.UNAVAILABLE
    assert "too many others" in error.message


@at_desk
async def test_whoever_has_waited_for_another_of_the_same_user_takes_what_has_come(d: Desk) -> None:
    d.patient = True
    flood = [d.fetch(f"a{number}") for number in range(16)]
    await settle()
    late = [d.fetch("late"), d.fetch("late", caller=OTHER)]
    await settle()
    assert d.calls[-1].audience == ("late",)  # the other user's
    await d.answer(17)
    assert await late[0] == await late[1]
    assert len(d.calls) == 17
    await asyncio.gather(*flood)


@pytest.mark.parametrize("turns", range(10))
def test_no_turn_is_lost_whenever_a_workload_gives_up(turns: int) -> None:
    @at_desk
    async def test(d: Desk) -> None:
        d.patient = True
        flood = [d.fetch(f"a{number}") for number in range(16)]
        await settle()
        late = d.fetch("late")
        await settle()
        d.calls[0].answer.set_result(None)
        for _ in range(turns):
            await asyncio.sleep(0)  # noqa: TID251 - a turn of the loop
        late.cancel()
        await settle()
        await d.answer(20)
        await asyncio.gather(*flood)
        assert not d.tries.turns._taken

    test()


# When it refuses


@pytest.mark.parametrize(
    "refusal",
    [
        NO,
        RpcError(StatusCode.NOT_FOUND, "entry not found or not authorized"),
        RpcError(StatusCode.PERMISSION_DENIED, "no"),
        RpcError(StatusCode.UNIMPLEMENTED, "JWT functionality is disabled"),
        RpcError(StatusCode.INTERNAL, "internal error"),
    ],
)
def test_a_refusal_is_told_and_the_server_is_not_asked_the_same_at_once(refusal: RpcError) -> None:
    @at_desk
    async def test(d: Desk) -> None:
        d.refused["a"] = refusal
        error = await d.refusal()
        assert error.code is StatusCode.UNAVAILABLE
        assert error.message == f"could not fetch JWT-SVID: {refusal.message}"
        assert (await d.refusal()).message == error.message
        assert len(d.calls) == 1
        assert d.asked == 1  # the entry may be gone
        await d.one("b")  # which is another matter
        d.refused.clear()
        await d.clock.advance(SECOND)
        await d.one()

    test()


@at_desk
async def test_an_entry_that_is_another_now_is_asked_for_again(d: Desk) -> None:
    d.refused["a"] = NO
    await d.refusal()
    d.refused.clear()
    other = replace(ONE, revision=1, spiffe_id=SpiffeID("spiffe://a.test/other"))
    d.enter(other)
    assert (await d.one(of=other)).id == other.spiffe_id


@at_desk
async def test_what_the_server_refuses_again_and_again_fills_no_log(d: Desk) -> None:
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[assignment]
    logger = logging.getLogger("finial.agent")
    logger.addHandler(handler)
    try:
        for number in range(50):
            d.refused[f"a{number}"] = NO
            await d.refusal(f"a{number}")
            if number % 10 == 9:
                await d.clock.advance(SECOND)
    finally:
        logger.removeHandler(handler)
    warnings = [each for each in records if each.levelno == logging.WARNING]
    assert len(d.calls) == 50
    assert len(warnings) == 5


# When things go meanwhile


@at_desk
async def test_what_has_gone_while_it_was_signed_is_not_held(d: Desk) -> None:
    d.patient = True
    fetching = [d.fetch(), d.fetch("b")]
    await settle()
    d.signs = lambda request: token(ONE, *request.audience).token
    d.enter()
    await d.answer()
    d.enter(replace(ONE, spiffe_id=SpiffeID("spiffe://a.test/other")))
    await d.answer()
    await asyncio.gather(*fetching)
    assert not len(d.cache.tokens)


@at_desk
async def test_a_wipe_drops_every_token(d: Desk) -> None:
    await d.one()
    d.cache.wipe()
    assert not len(d.cache.tokens)


@at_desk
async def test_a_key_that_is_tainted_or_has_gone_takes_its_tokens_with_it(d: Desk) -> None:
    await d.one()
    d.cache.apply(
        d.cache.book.set_bundle(replace(OWN, jwt_authorities=(replace(K1, tainted=True), K2)), d.clock.now())
    )
    d.away = AWAY
    fetching = d.fetch()
    await d.clock.advance(6 * SECOND)
    assert isinstance(fetching.result(), RpcError)


@at_desk
async def test_a_fetch_tells_when_the_server_counts_the_agent_as_expelled(d: Desk) -> None:
    def expel() -> bool:
        raise ExpelledError(EXPELLED, "go")

    d.away, d.coped = AWAY, expel
    assert (await d.refusal()).code is StatusCode.UNAVAILABLE
    await settle()
    assert isinstance(d.running.exception(), ExpelledError)


def test_what_is_under_way_ends_with_the_agent() -> None:
    async def main() -> None:
        d = Desk(patient=True)
        fetching = d.fetch()
        await settle()
        await d.stop()
        await asyncio.gather(fetching, return_exceptions=True)
        assert fetching.cancelled()
        assert not d.supply._tasks

    run(main())


def test_tokens_stay_out_of_representations() -> None:
    @at_desk
    async def test(d: Desk) -> None:
        svid = await d.one()
        held = d.cache.tokens.get(("e1", ("a",)))
        assert svid.token not in repr(held) + repr(d.supply) + repr(JWTSVID(svid.token))

    test()
