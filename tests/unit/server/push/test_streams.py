"""Who may be told, how long is waited for whom, and what streams share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from finial.rpc import StatusCode
from finial.server.push.session import HELD_PATIENCE, PATIENCE
from finial.server.push.turns import AT_ONCE, LARGE
from finial.wire.gen import finial_api_server_push_v1 as push_pb
from finial.wire.statuses import Denial, denial
from support.clock import settle
from support.push_telling import HastyClock
from support.push_world import AGENT, OTHER, Site, World, a_node, pushing
from support.rpc import eventually, run

_SECOND = timedelta(seconds=1)


def _test(scenario: Callable[[Site], Awaitable[None]]) -> None:
    async def main() -> None:
        async with pushing() as site:
            await scenario(site)
        assert not site.world.hub.connected
        assert not any(site.world.fleet.streams.values())
        assert not site.world.index.entries.audience._by_agent  # nothing is watched any more

    run(main())


def _names(count: int, start: int = 0) -> list[str]:
    return [f"e{each}" for each in range(start, start + count)]


# What streams share.


def test_a_few_large_transfers_at_a_time() -> None:
    async def scenario(site: Site) -> None:
        agents = [f"{AGENT}{number}" for number in range(AT_ONCE + 1)]
        for number, agent_id in enumerate(agents):
            site.world.node(a_node(agent_id, seq=10 + number))
            site.world.put(*(f"{number}-{each}" for each in range(LARGE + 1)), parent=agent_id)
        streams = [await site.agent(agent_id) for agent_id in agents]
        for stream in streams[:-1]:
            await stream.hello(count=1)  # is asked what it holds, and does not say so
            assert (await stream.page()).compare
        last = streams[-1]
        await last.hello()
        await eventually(lambda: site.world.ground.turns.waiting == 1)
        streams[0].entries = {}
        await streams[0].held()
        await streams[0].change()
        (*_, page) = await last.change()
        assert page.state.count == LARGE + 1

    _test(scenario)


def test_who_waits_for_its_turn_for_too_long_is_sent_away() -> None:
    async def scenario(site: Site) -> None:
        site.world.put(*_names(LARGE + 1))
        turns = site.world.ground.turns
        async with site.all_turns():
            others = [turns.turn(LARGE + 1) for _ in range(AT_ONCE)]  # their turn comes, and lasts too
            tasks = [asyncio.ensure_future(each.__aenter__()) for each in others]
            await eventually(lambda: turns.waiting == AT_ONCE)
            agent = await site.agent()
            await agent.hello()
            await eventually(lambda: turns.waiting == AT_ONCE + 1)
            await site.world.clock.advance(30 * _SECOND)
            error = await agent.ends()
            await asyncio.gather(*tasks)
            for each in others:
                await each.__aexit__(None, None, None)
        assert error.code is StatusCode.UNAVAILABLE
        assert error.retry_after == 20 * _SECOND

    _test(scenario)


def test_how_many_are_behind() -> None:
    async def scenario(site: Site) -> None:
        agent = await site.synced()
        await site.synced(OTHER)
        site.world.put("a")
        (page,) = await agent.change(ack=False)
        await site.world.clock.advance(2 * _SECOND)
        assert site.world.hub.behind() == 1
        await agent.ack(page)
        await eventually(lambda: site.world.hub.behind() == 0)

    _test(scenario)


def test_nobody_is_behind_for_what_tells_nothing_new() -> None:
    async def scenario(site: Site) -> None:
        def current() -> bool:
            (found,), _ = site.world.deliveries.of("a")
            return found.current

        site.world.put("a")
        first = await site.synced()
        site.world.deliveries._commits["a"].steps.clear()  # as if it had been told by another server
        assert current()
        # On the next connection it says what it holds, and acknowledges nothing yet.
        again = await site.agent()
        await again.hello(like=first)
        (page,) = await again.change(ack=False)
        await first.call.half_close()
        await eventually(lambda: site.world.fleet.streams == {AGENT: 1})
        assert current()
        await again.ack(page)
        # A heartbeat that is to be acknowledged is out for long.
        await settle()
        for _ in range(9):
            await site.world.clock.advance(45 * _SECOND)
            await again.beat()
        await site.world.clock.advance(45 * _SECOND)
        (page,) = await again.change(ack=False)
        await site.world.clock.advance(2 * _SECOND)
        assert current()
        assert site.world.hub.behind() == 0
        # What changes while it is out makes the agent late.
        site.world.put("a", hint="other")
        await site.world.clock.advance(2 * _SECOND)
        assert not current()
        assert site.world.hub.behind() == 1
        await again.ack(page)
        await again.change()
        await eventually(current)
        assert site.world.hub.behind() == 0

    _test(scenario)


def test_an_agent_makes_the_next_stream_before_it_breaks_the_last() -> None:
    async def scenario(site: Site) -> None:
        first = await site.synced()
        second = await site.synced()
        site.world.put("a")
        await first.change()
        await second.change()
        third = await site.synced()
        error = await first.ends()
        assert error.code is StatusCode.RESOURCE_EXHAUSTED
        site.world.put("b")
        await second.change()
        await third.change()
        assert site.world.hub.connected == 1

    _test(scenario)


def test_long_work_lets_others_have_their_turn() -> None:
    async def main() -> None:
        clock = HastyClock()
        async with pushing(World(clock)) as site:
            site.world.put(*_names(900))
            first = await site.synced()
            told = clock.turns
            site.world.put("new")
            again = await site.agent()
            await again.hello(like=first)
            (page,) = await again.change()
            assert {item.entry.id for item in page.entries} == {"new"}
            # Four times while everything was told; as often in listening, and in looking for the difference.
            assert told >= 3
            assert clock.turns - told >= 6

    run(main())


def test_reports_move_figures() -> None:
    async def scenario(site: Site) -> None:
        agent = await site.synced()
        site.world.put("a")
        await agent.change()
        await site.world.clock.advance(2 * _SECOND)
        report = push_pb.Report(
            progress=[
                push_pb.Progress(entry_id="a", stage=push_pb.Progress.SIGNED),
                push_pb.Progress(entry_id="foreign", stage=push_pb.Progress.SIGNED),
                push_pb.Progress(entry_id="a", stage=push_pb.Progress.FAILED, trouble="no\nway"),
            ],
            resting=[push_pb.Resting(authority_id="x", svids=2)],
        )
        await agent.say(report=report)
        await eventually(lambda: site.world.fleet.counts == {AGENT: {"x": 2}})
        await eventually(lambda: site.world.metric.signed == [2.0])
        (found,), total = site.world.deliveries.of("a")
        assert total == 1
        assert (found.trouble, found.current, found.connected) == ("no\\nway", True, True)

    _test(scenario)


def test_what_an_agent_says_is_wrong_is_forgotten_with_its_last_stream() -> None:
    async def scenario(site: Site) -> None:
        site.world.put("a")
        agent = await site.synced()
        failed = push_pb.Progress(entry_id="a", stage=push_pb.Progress.FAILED, trouble="no")
        await agent.say(report=push_pb.Report(progress=[failed]))
        await eventually(lambda: bool(site.world.deliveries._troubles))
        again = await site.synced()
        await agent.call.half_close()
        await eventually(lambda: site.world.fleet.streams == {AGENT: 1})
        assert site.world.deliveries._troubles
        await again.call.half_close()
        await eventually(lambda: site.world.fleet.streams == {AGENT: 0})
        assert not site.world.deliveries._troubles

    _test(scenario)


# Standing.


def test_an_agent_that_is_banned_is_told_so_at_once() -> None:
    async def scenario(site: Site) -> None:
        agent = await site.synced()
        site.world.ban()
        error = await agent.ends()
        assert denial(error) is Denial.AGENT_BANNED

    _test(scenario)


def test_a_stream_ends_at_the_instant_at_which_the_svid_does() -> None:
    async def scenario(site: Site) -> None:
        site.world.expires_at = site.world.clock.now() + 100 * _SECOND
        agent = await site.synced()
        for _ in range(2):
            await site.world.clock.advance(45 * _SECOND)
            await agent.beat()
        await site.world.clock.advance(timedelta(seconds=9.9))
        assert site.world.hub.connected
        await site.world.clock.advance(timedelta(seconds=0.1))
        assert denial(await agent.ends()) is Denial.AGENT_EXPIRED

    _test(scenario)


def test_when_the_clock_is_set_forward_nothing_is_told_behind_the_end_of_the_svid() -> None:
    async def scenario(site: Site) -> None:
        site.world.expires_at = site.world.clock.now() + 100 * _SECOND
        agent = await site.synced()
        site.world.clock.jump(timedelta(minutes=2))
        sent = site.world.hub.bytes_sent
        site.world.put("a")
        assert denial(await agent.ends()) is Denial.AGENT_EXPIRED
        assert site.world.hub.bytes_sent == sent

    _test(scenario)


def test_an_end_that_is_taken_back_is_looked_for_again() -> None:
    async def scenario(site: Site) -> None:
        end = site.world.clock.now() + 20 * _SECOND
        site.world.expires_at = end
        agent = await site.synced()
        site.world.expires_at = None  # nobody judges by it any more, as little as by a clock that is set back
        await site.world.clock.advance(25 * _SECOND)
        assert site.world.hub.connected
        site.world.expires_at = end
        await site.world.clock.advance(_SECOND)
        assert denial(await agent.ends()) is Denial.AGENT_EXPIRED

    _test(scenario)


@pytest.mark.parametrize(("seq", "count"), [(999, 0), (0, 1)])
def test_a_ban_ends_whoever_waits_for_the_server_or_for_its_turn(seq: int, count: int) -> None:
    async def scenario(site: Site) -> None:
        site.world.put(*_names(LARGE + 1))
        agent = await site.agent()
        async with site.all_turns():
            await agent.hello(seq=seq, count=count)
            await eventually(lambda: site.world.hub.connected == 1)
            await settle()
            site.world.ban()
            assert denial(await agent.ends()) is Denial.AGENT_BANNED
            assert not site.world.hub.bytes_sent

    _test(scenario)


def test_a_ban_ends_an_agent_that_is_to_say_what_it_holds() -> None:
    async def scenario(site: Site) -> None:
        agent = await site.agent()
        await agent.hello(count=1)
        assert (await agent.page()).compare
        site.world.ban()
        assert denial(await agent.ends()) is Denial.AGENT_BANNED

    _test(scenario)


# Patience.


def test_who_does_not_acknowledge_is_not_waited_for() -> None:
    async def scenario(site: Site) -> None:
        agent = await site.agent()
        await agent.hello()
        await agent.change(ack=False)
        await settle()
        await site.world.clock.advance(timedelta(seconds=PATIENCE - 1))
        assert site.world.hub.connected
        await site.world.clock.advance(_SECOND)
        error = await agent.ends()
        assert error.code is StatusCode.DEADLINE_EXCEEDED

    _test(scenario)


def test_who_does_not_say_what_it_holds_is_not_waited_for() -> None:
    async def scenario(site: Site) -> None:
        agent = await site.agent()
        await agent.hello(count=1)
        assert (await agent.page()).compare
        await settle()
        await agent.say(held=push_pb.Held(more=True))
        await site.world.clock.advance(timedelta(seconds=HELD_PATIENCE - 1))
        assert site.world.hub.connected
        await site.world.clock.advance(_SECOND)
        assert (await agent.ends()).code is StatusCode.DEADLINE_EXCEEDED

    _test(scenario)


def test_the_server_that_stops_says_unavailable() -> None:
    async def main() -> None:
        async with pushing() as site:
            agent = await site.synced()
            ended = asyncio.ensure_future(agent.ends())
            await settle()
            await site.server.stop(timedelta(0))
            assert (await ended).code is StatusCode.UNAVAILABLE

    run(main())
