"""How an agent stays subscribed: other connections, silence, lost servers, and servers that do not push."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from finial.agent.push import Subscription
from finial.rpc import RpcError, StatusCode
from finial.wire.statuses import Denial, denied
from support.agent_world import ME, Agent, World, ids, joined, on_pushed, pushed_again, stream, world
from support.fake_push import PushStream
from support.rpc import run

AWAY = RpcError(StatusCode.UNAVAILABLE, "restarting")
SECOND = timedelta(seconds=1)
SHORT = timedelta(milliseconds=10)


@asynccontextmanager
async def renewing() -> AsyncIterator[tuple[World, Agent]]:
    """An agent that is pushed to, a moment before the renewal of its SVID."""
    async with world(pushes=True, agent_ttl=timedelta(seconds=60)) as w:
        w.server.add("e1", "/web", ME)
        async with joined(w) as running:
            await w.pass_time(timedelta(seconds=20))
            assert len(w.server.push.streams) == 1
            yield w, running


# Another connection.


def test_a_renewal_moves_the_subscription_without_a_gap() -> None:
    async def main() -> None:
        async with renewing() as (w, running), stream(w, running) as caller:
            await caller.next()
            before = w.server.connections
            held = w.server.push.state()

            async def late(fresh: PushStream) -> None:
                assert len(w.server.push.live) == 2  # the one so far goes on
                w.server.add("e2", "/db", ME, created_at=2_000)
                w.server.push.tell()
                await w.server.push.streams[0].until(lambda: 2 in w.server.push.streams[0].applied)
                fresh.told = {"e1": b""}
                fresh.bundles = dict(w.server.push.streams[0].bundles)
                # What was said in the hello is right as far as this server knows; more has come since.
                fresh.number += 1
                await fresh.send(number=1, state=held)
                await fresh.until(lambda: 1 in fresh.applied)
                w.server.push.script = None
                w.server.push.beat()
                await PushStream.converse(fresh)

            w.server.push.script = late
            assert ids(await caller.next()) == ["/web", "/db"]
            await w.eventually(lambda: len(w.server.push.live) == 1)
            assert w.server.push.live == [w.server.push.last]
            assert w.server.push.last.hello.state == held
            assert w.server.connections == before + 1
            assert w.server.calls["RenewAgent"] == 1
            w.server.push.tell()
            await w.eventually(lambda: len(w.server.push.last.applied) >= 3)
            assert len(w.server.push.streams) == 2  # the sums were right

    run(main())


def test_the_old_call_counts_until_the_new_one_is_answered_and_no_longer() -> None:
    async def main() -> None:
        async with renewing() as (w, running), stream(w, running) as caller:
            await caller.next()
            old = w.server.push.last
            answered: list[PushStream] = []

            async def silent(fresh: PushStream) -> None:
                answered.append(fresh)
                await fresh.dirty.wait()
                await fresh.compare()
                await PushStream.converse(fresh)

            w.server.push.script = silent
            await w.eventually(lambda: bool(answered))
            w.server.add("e2", "/db", ME, created_at=2_000)
            w.server.push.seq += 1
            old.dirty.set()
            assert ids(await caller.next()) == ["/web", "/db"]
            assert not old.call.finished
            answered[0].dirty.set()
            await w.eventually(lambda: old.call.finished)
            assert set(answered[0].marks) == {"e1", "e2"}  # as it is now, not as it was said in the hello
            await w.eventually(lambda: bool(answered[0].applied))
            assert not running.ended

    run(main())


def test_while_the_next_call_fails_the_last_one_goes_on() -> None:
    async def main() -> None:
        async with renewing() as (w, running), stream(w, running) as caller:
            await caller.next()
            w.server.errors["Subscribe"] = RpcError(StatusCode.UNIMPLEMENTED, "an older server")
            await w.eventually(lambda: w.server.calls["Subscribe"] >= 3)
            w.server.add("e2", "/db", ME, created_at=2_000)
            w.server.push.tell()
            assert ids(await caller.next()) == ["/web", "/db"]
            assert not w.server.calls["SyncAuthorizedEntries"]
            w.server.errors.clear()
            await pushed_again(w, 2)
            assert w.server.push.live == [w.server.push.last]
            assert not running.ended

    run(main())


def test_when_the_last_call_ends_meanwhile_the_next_one_tells_how() -> None:
    async def main() -> None:
        async with renewing() as (w, _):

            async def refuse(fresh: PushStream) -> None:
                w.server.push.streams[0].call.end(AWAY)
                await w.server.push.streams[0].until(lambda: w.server.push.streams[0].call.finished)
                w.server.push.script = None
                raise RpcError(StatusCode.UNAVAILABLE, "restarting too")

            w.server.push.script = refuse
            await pushed_again(w, 3)

    run(main())


def test_an_agent_may_end_while_it_moves() -> None:
    async def main() -> None:
        async with renewing() as (w, running):

            async def mute(fresh: PushStream) -> None:
                await fresh.dirty.wait()

            w.server.push.script = mute
            await w.eventually(lambda: len(w.server.push.streams) == 2)
            await running.stop()
            await w.eventually(lambda: not w.server.push.live)

    run(main())


def test_a_ban_that_the_next_call_meets_is_a_ban() -> None:
    async def main() -> None:
        async with renewing() as (w, running), stream(w, running) as caller:
            await caller.next()
            w.server.errors["Subscribe"] = denied(Denial.AGENT_BANNED, "banned")
            assert (await caller.end()).code is StatusCode.PERMISSION_DENIED
            assert (await running.end()).reason.id == "agent-banned"

    run(main())


@on_pushed
async def test_a_connection_that_the_server_drains_is_left(w: World, running: Agent) -> None:
    before = w.server.connections
    w.server.push.spread_ms = 4_000
    w.server.push.beat()
    await w.eventually(lambda: 2 in w.server.push.last.applied)
    begun = w.clock.monotonic()
    await w.server.send_away()
    await pushed_again(w, 2)
    assert 1.5 <= w.clock.monotonic() - begun <= 3  # half of the spread
    assert w.server.connections == before + 1
    assert w.server.push.last.hello.HasField("state")
    assert w.server.push.live == [w.server.push.last]


@on_pushed
async def test_a_server_that_leaves_each_connection_is_not_moved_to_in_a_rush(
    w: World, running: Agent
) -> None:
    async def leaving(told: PushStream) -> None:
        await told.whole()
        await w.server.send_away()
        await PushStream.converse(told)

    w.server.push.script = leaving
    await w.server.send_away()
    await w.pass_time(10 * SECOND)
    assert 5 <= len(w.server.push.streams) <= 12
    assert w.server.push.live == [w.server.push.last]


@on_pushed
async def test_a_call_that_ends_while_it_waits_to_move_is_lost(w: World, running: Agent) -> None:
    await w.pass_time(10 * SECOND)
    w.server.push.spread_ms = 60_000
    w.server.push.beat()
    await w.eventually(lambda: 2 in w.server.push.last.applied)
    await w.server.send_away()
    await w.tick()
    assert len(w.server.push.live) == 1
    w.server.push.end(AWAY)
    await w.pass_time(20 * SECOND)
    assert len(w.server.push.streams) == 1
    await pushed_again(w, 2)


# A server that is lost.


@on_pushed
async def test_a_silent_server_is_lost(w: World, running: Agent) -> None:
    w.server.push.silence_ms = 5_000
    w.server.push.beat()
    await w.eventually(lambda: 2 in w.server.push.last.applied)
    begun = w.clock.monotonic()
    await w.eventually(lambda: len(w.server.push.streams) == 2)
    assert 9 <= w.clock.monotonic() - begun <= 12
    w.server.push.silence_ms = 30_000
    for number in range(2, 8):
        await w.pass_time(10 * SECOND)
        w.server.push.beat()
        await w.eventually(lambda wanted=number: wanted in w.server.push.last.applied)  # type: ignore[misc]
    for _ in range(6):
        await w.pass_time(10 * SECOND)
        await w.server.push.last.heartbeat()
    assert len(w.server.push.streams) <= 3


def test_a_server_that_does_not_begin_is_lost() -> None:
    async def main() -> None:
        async with world(pushes=True) as w:

            async def mute(told: PushStream) -> None:
                await told.dirty.wait()

            w.server.push.script = mute
            async with joined_later(w) as running:
                await w.eventually(lambda: len(w.server.push.streams) == 1)
                begun = w.clock.monotonic()
                await w.eventually(lambda: len(w.server.push.streams) == 2)
                assert 59 <= w.clock.monotonic() - begun <= 63
                w.server.push.script = None
                await running.synced()

    run(main())


@asynccontextmanager
async def joined_later(w: World) -> AsyncIterator[Agent]:
    """An agent that joins by token, and may not come to know its entries."""
    running = Agent(w, w.settings(join_token=w.server.token()))
    try:
        yield running
    finally:
        await running.stop()


@pytest.mark.parametrize("silence_ms", [1, 4_294_967_295])
def test_absurd_silences_are_bounded(silence_ms: int) -> None:
    async def main() -> None:
        async with world(pushes=True) as w:
            w.server.push.silence_ms = silence_ms
            async with joined(w):
                begun = w.clock.monotonic()
                await w.eventually(lambda: len(w.server.push.streams) == 2, SECOND)
                assert 0.5 <= w.clock.monotonic() - begun <= 605

    run(main())


@on_pushed
async def test_few_agents_come_back_at_once_and_many_spread(w: World, running: Agent) -> None:
    await w.pass_time(10 * SECOND)
    w.server.push.spread_ms = 20_000
    w.server.push.end(AWAY)
    await w.tick(SHORT)
    assert len(w.server.push.streams) == 2
    await pushed_again(w, 2)
    await w.pass_time(10 * SECOND)
    begun = w.clock.monotonic()
    w.server.push.end(AWAY)
    await pushed_again(w, 3)
    assert 9 <= w.clock.monotonic() - begun <= 11


@on_pushed
async def test_a_server_that_ends_each_call_is_called_ever_less_often(w: World, running: Agent) -> None:
    async def brief(told: PushStream) -> None:
        await told.whole()
        raise AWAY

    w.server.push.script = brief
    w.server.push.end(AWAY)
    await w.pass_time(60 * SECOND)
    assert 5 <= len(w.server.push.streams) <= 16
    w.server.push.script = None
    count = len(w.server.push.streams)
    await pushed_again(w, count + 1)


@on_pushed
async def test_a_server_may_ask_for_a_pause(w: World, running: Agent) -> None:
    pause = timedelta(seconds=40)
    w.server.errors["Subscribe"] = RpcError(StatusCode.RESOURCE_EXHAUSTED, "busy", retry_after=pause)
    w.server.push.end(AWAY)
    await w.eventually(lambda: w.server.calls["Subscribe"] == 2)
    w.server.errors.clear()
    w.server.add("e2", "/db", ME)  # signing may go on: that is no reason to come back
    begun = w.clock.monotonic()
    await pushed_again(w, 2)
    assert 39 <= w.clock.monotonic() - begun <= 42


@on_pushed
async def test_a_connection_that_breaks_is_no_more_than_a_lost_call(w: World, running: Agent) -> None:
    async with stream(w, running) as caller:
        await caller.next()
        await w.server.stop()
        await w.pass_time(30 * SECOND)
        w.server.add("e2", "/db", ME, created_at=2_000)
        await w.server.start()
        begun = w.clock.monotonic()
        assert ids(await caller.next()) == ["/web", "/db"]
        assert w.clock.monotonic() - begun <= 3  # it was knocked at all the time
        assert w.server.push.last.hello.HasField("state")


def test_a_call_that_meets_a_goodbye_is_made_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    real, tries = Subscription.run, iter([True, False])

    async def goodbye(self: Subscription) -> None:
        if next(tries, False):
            raise RpcError(StatusCode.UNAVAILABLE, "is going away", unprocessed=True)
        await real(self)

    async def main() -> None:
        async with world(pushes=True) as w:
            monkeypatch.setattr(Subscription, "run", goodbye)
            begun = w.clock.monotonic()
            async with joined(w):
                assert w.clock.monotonic() - begun < 1

    run(main())
