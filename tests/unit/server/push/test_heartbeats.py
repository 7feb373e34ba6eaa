"""What a stream says when nothing changes: seldom, on whole seconds, mostly without asking for an answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from finial.rpc import StatusCode
from finial.server.push.session import PATIENCE
from support.clock import settle
from support.push_world import OTHER, Site, pushing
from support.rpc import run

_SECOND = timedelta(seconds=1)


def _test(scenario: Callable[[Site], Awaitable[None]]) -> None:
    async def main() -> None:
        async with pushing() as site:
            await scenario(site)
        assert not site.world.hub.connected

    run(main())


def test_when_nothing_happens_a_heartbeat_goes_out() -> None:
    async def scenario(site: Site) -> None:
        agent = await site.synced()
        for _ in range(3):
            await site.world.clock.advance(timedelta(seconds=44.9))
            sent = site.world.hub.bytes_sent
            await site.world.clock.advance(timedelta(seconds=0.1))
            assert site.world.hub.bytes_sent > sent
            message = await agent.beat()
            assert (message.silence_ms, message.spread_ms) == (45_000, 4)
            assert site.world.hub.bytes_sent == sent + message.ByteSize()
        # What is told in between puts it off.
        await site.world.clock.advance(timedelta(seconds=30))
        site.world.put("a")
        await agent.change()
        sent = site.world.hub.bytes_sent
        await site.world.clock.advance(timedelta(seconds=44))
        assert site.world.hub.bytes_sent == sent

    _test(scenario)


def test_a_heartbeat_says_how_far_the_log_is() -> None:
    async def scenario(site: Site) -> None:
        agent = await site.synced()
        site.world.put("a", parent=OTHER)  # nothing of this agent's
        await site.world.clock.advance(45 * _SECOND)
        message = await agent.beat()
        assert message.state.seq == site.world.index.position
        # And an agent that says so of something else is found out.
        again = await site.agent()
        again.copy(agent)
        again.entries = {"a": bytes(16)}
        await again.hello(count=1)
        await again.change()
        assert site.world.hub.mismatches == 1

    _test(scenario)


def test_each_tenth_heartbeat_is_to_be_acknowledged() -> None:
    async def scenario(site: Site) -> None:
        agent = await site.synced()
        for number in (2, 3):
            for _ in range(9):
                await site.world.clock.advance(45 * _SECOND)
                await agent.beat()
            await site.world.clock.advance(45 * _SECOND)
            (page,) = await agent.change()
            assert page.number == number
            assert not page.entries
            await settle()
        # A change does as well.
        for _ in range(8):
            await site.world.clock.advance(45 * _SECOND)
            await agent.beat()
        site.world.put("a")
        await agent.change()
        await settle()
        for _ in range(9):
            await site.world.clock.advance(45 * _SECOND)
            await agent.beat()

    _test(scenario)


def test_messages_fall_due_on_whole_seconds() -> None:
    async def scenario(site: Site) -> None:
        site.world.chance.value = 0.01
        await site.world.clock.advance(timedelta(seconds=0.25))
        agent = await site.agent()
        await agent.hello()
        (page,) = await agent.change()
        assert page.silence_ms == 30_750
        await settle()
        await site.world.clock.advance(timedelta(seconds=30.5))
        sent = site.world.hub.bytes_sent
        await site.world.clock.advance(timedelta(seconds=0.25))
        assert site.world.hub.bytes_sent > sent

    _test(scenario)


@pytest.mark.parametrize(("fraction", "seconds"), [(0.0, 30), (0.999, 59)])
def test_the_time_to_the_next_message_is_drawn(fraction: float, seconds: float) -> None:
    async def scenario(site: Site) -> None:
        site.world.chance.value = fraction
        agent = await site.agent()
        await agent.hello()
        (page,) = await agent.change()
        assert abs(page.silence_ms - seconds * 1_000) <= 50
        await settle()
        await site.world.clock.advance(timedelta(seconds=seconds - 1))
        sent = site.world.hub.bytes_sent
        await site.world.clock.advance(2 * _SECOND)
        assert site.world.hub.bytes_sent > sent

    _test(scenario)


def test_an_acknowledgement_that_comes_late_brings_what_is_due() -> None:
    async def scenario(site: Site) -> None:
        agent = await site.agent()
        await agent.hello()
        (page,) = await agent.change(ack=False)
        await settle()
        await site.world.clock.advance(timedelta(seconds=55))
        await agent.ack(page)
        await agent.beat()

    _test(scenario)


def test_who_has_stopped_is_found_out_though_nothing_changes() -> None:
    async def scenario(site: Site) -> None:
        agent = await site.synced()
        await settle()
        for _ in range(9):
            await site.world.clock.advance(45 * _SECOND)
            await agent.beat()
        await site.world.clock.advance(timedelta(seconds=45 + PATIENCE - 1))
        assert site.world.hub.connected
        await site.world.clock.advance(_SECOND)
        assert (await agent.ends()).code is StatusCode.DEADLINE_EXCEEDED

    _test(scenario)
