"""What is renewed behind the workloads' backs."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from finial.agent.standing import EXPELLED, ExpelledError
from finial.rpc import RpcError, StatusCode
from support.clock import settle
from support.jwt_cases import LIFE
from support.jwt_desk import ONE, Desk, at_desk

SECOND = timedelta(seconds=1)
AWAY = RpcError(StatusCode.UNAVAILABLE, "away")
NO = RpcError(StatusCode.NOT_FOUND, "no such entry")


@at_desk
async def test_what_is_asked_for_is_renewed_at_half_of_its_life_and_what_is_not_is_dropped(d: Desk) -> None:
    await d.one("idle")
    first = await d.one("asked")
    assert await d.one("asked") == first
    await d.clock.advance(LIFE / 2 - SECOND)
    assert len(d.calls) == 2
    await d.clock.advance(SECOND)
    assert [call.audience for call in d.calls[2:]] == [("asked",)]
    second = await d.one("asked")
    assert second.expires_at == d.clock.now() + LIFE
    await d.clock.advance(LIFE / 2)
    assert len(d.calls) == 4  # it was asked for once more
    assert len(d.cache.tokens) == 1
    await d.clock.advance(LIFE)
    assert len(d.calls) == 4
    assert len(d.cache.tokens) == 0


@at_desk
async def test_what_is_asked_for_late_is_served_and_renewed_then(d: Desk) -> None:
    first = await d.one()
    await d.clock.advance(LIFE * 0.6)
    assert await d.one() == first
    await d.clock.advance(timedelta(0))
    assert len(d.calls) == 2
    assert await d.one() != first
    assert len(d.calls) == 2


@at_desk
async def test_a_token_of_seconds_is_renewed_in_time(d: Desk) -> None:
    await settle()  # it looks again in five seconds
    d.life = 4 * SECOND
    await d.one()
    await d.one()
    await d.clock.advance(2 * SECOND)
    assert len(d.calls) == 2


@at_desk
async def test_while_the_server_is_away_nothing_is_renewed_and_all_is_served(d: Desk) -> None:
    first = await d.one("a")
    await d.one("b")
    await d.one("a")
    await d.one("b")
    d.away = AWAY
    await d.clock.advance(LIFE / 2)
    assert len(d.calls) <= 4  # two lanes had begun
    calls = len(d.calls)
    assert await d.one("a") == first
    await d.clock.advance(timedelta(0))
    assert len(d.calls) == calls
    d.away = None
    await d.clock.advance(SECOND)
    assert await d.one("a") == first
    await d.clock.advance(timedelta(0))
    assert await d.one("a") != first


@at_desk
async def test_what_the_server_refuses_to_renew_is_not_asked_for_again_at_once(d: Desk) -> None:
    first = await d.one()
    await d.one()
    d.refused["a"] = NO
    await d.clock.advance(LIFE / 2)
    assert len(d.calls) == 2
    assert d.asked == 1
    assert await d.one() == first
    await d.clock.advance(timedelta(0))
    assert len(d.calls) == 2
    del d.refused["a"]
    await d.clock.advance(SECOND)
    assert await d.one() == first
    await d.clock.advance(timedelta(0))
    assert await d.one() != first


@at_desk
async def test_what_has_gone_meanwhile_is_not_renewed(d: Desk) -> None:
    for name in ("gone", "dropped", "unique"):
        await d.one(name)
        await d.one(name)
    d.supply._renewal.soon(("e1", ("never held",)))
    d.enter(replace(ONE, unique_tokens=True, revision=1))
    await d.clock.advance(LIFE / 2)
    assert len(d.calls) == 3
    d.enter()
    await d.clock.advance(LIFE / 2)
    assert len(d.calls) == 3
    assert len(d.cache.tokens) == 0


@at_desk
async def test_a_renewal_tells_when_the_server_counts_the_agent_as_expelled(d: Desk) -> None:
    await d.one()
    await d.one()

    def expel() -> bool:
        raise ExpelledError(EXPELLED, "go")

    d.away, d.coped = AWAY, expel
    await d.clock.advance(LIFE / 2)
    assert isinstance(d.running.exception(), ExpelledError)
