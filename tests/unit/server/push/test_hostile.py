"""Agents that break the rules, or do nothing: they are ended, and cost others nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import cast

import pytest

from finial.rpc import Method, Peer, RpcError, StatusCode
from finial.server.index.subscriptions import MOST_DIRTY
from finial.server.push.draft import PAGE_ITEMS
from finial.server.push.reports import AT_ONCE
from finial.server.push.session import PATIENCE, Call, Session
from finial.wire.gen import finial_api_server_push_v1 as push_pb
from finial.wire.push import Applied, Hello
from finial.wire.statuses import Denial, denial
from support.clock import settle
from support.push_agent import Agent
from support.push_world import AGENT, OTHER, Site, World, pushing
from support.rpc import eventually, run

_SECOND = timedelta(seconds=1)
_MARK = push_pb.Mark(id="a", mark=bytes(16))


def _test(scenario: Callable[[Site], Awaitable[None]], world: World | None = None) -> None:
    async def main() -> None:
        async with pushing(world) as site:
            await scenario(site)
        assert not site.world.hub.connected
        assert not any(site.world.fleet.streams.values())
        assert not site.world.index.entries.audience._by_agent

    run(main())


async def _refused(agent: Agent) -> str:
    error = await agent.ends()
    assert error.code is StatusCode.INVALID_ARGUMENT, error
    return error.message


# Words that are wrong.


@pytest.mark.parametrize("numbers", [(1,), (0,), (3,), (2**64 - 1,), (2, 2), (2, 1)])
def test_acknowledgements_of_what_was_not_sent(numbers: tuple[int, ...]) -> None:
    async def scenario(site: Site) -> None:
        agent = await site.synced()
        site.world.put("a")
        (page,) = await agent.change(ack=False)
        assert page.number == 2
        for number in numbers:
            await agent.say(applied=push_pb.Applied(number=number))
        assert await _refused(agent) == f"there is no change {numbers[-1]} to be acknowledged"
        assert site.world.metric.applied == [0.0] * (len(numbers) - 1)

    _test(scenario)


@pytest.mark.parametrize(
    ("step", "why"),
    [
        ({"applied": push_pb.Applied(number=1)}, "there is no change 1"),
        ({"hello": push_pb.Hello()}, "says hello twice"),
        ({"held": push_pb.Held(entries=[_MARK])}, "has not been asked"),
        ({"held": push_pb.Held(entries=[push_pb.Mark(id="a", mark=b"short")])}, "a mark of 5 bytes"),
        ({}, "says nothing"),
    ],
)
def test_words_out_of_place(step: Mapping[str, object], why: str) -> None:
    async def scenario(site: Site) -> None:
        agent = await site.synced()
        await agent.say(**step)
        assert why in await _refused(agent)

    _test(scenario)


@pytest.mark.parametrize(
    ("marks", "code"),
    [
        ([push_pb.Mark(id="a", mark=bytes(15))], StatusCode.INVALID_ARGUMENT),
        ([push_pb.Mark(id="a", mark=bytes(17))], StatusCode.INVALID_ARGUMENT),
        ([push_pb.Mark(mark=bytes(16))], StatusCode.INVALID_ARGUMENT),
        ([_MARK] * 5_001, StatusCode.INVALID_ARGUMENT),
        ([push_pb.Mark()] * 500_000, StatusCode.INVALID_ARGUMENT),
    ],
)
def test_marks_that_cannot_be(marks: list[push_pb.Mark], code: StatusCode) -> None:
    async def scenario(site: Site) -> None:
        agent = await site.agent()
        await agent.hello(count=1)
        assert (await agent.page()).compare
        await agent.say(held=push_pb.Held(entries=marks))
        assert (await agent.ends()).code is code

    _test(scenario)


def test_marks_without_end() -> None:
    async def scenario(site: Site) -> None:
        agent = await site.agent()
        await agent.hello(count=1)
        assert (await agent.page()).compare

        async def go_on() -> None:
            while True:
                await agent.say(held=push_pb.Held(more=True))

        with pytest.raises(RpcError, match="too much to be compared") as caught:
            await go_on()
        assert caught.value.code is StatusCode.RESOURCE_EXHAUSTED

    _test(scenario)


def test_a_million_marks_are_not_kept() -> None:
    async def scenario(site: Site) -> None:
        agent = await site.agent()
        await agent.hello(count=1)
        assert (await agent.page()).compare
        for number in range(40):
            marks = [push_pb.Mark(id=f"{number}-{each}", mark=bytes(16)) for each in range(1_000)]
            await agent.say(held=push_pb.Held(entries=marks, more=number < 39))
        (page,) = await agent.change()
        assert page.reset

    _test(scenario)


def test_holdings_that_are_said_twice() -> None:
    async def scenario(site: Site) -> None:
        site.world.put(*(f"e{each}" for each in range(3 * PAGE_ITEMS)), hint="x" * 500)
        agent = await site.agent()
        await agent.hello(count=1)
        assert (await agent.page()).compare
        await agent.say(held=push_pb.Held())
        await agent.say(held=push_pb.Held(entries=[_MARK]))
        await _refused(agent)

    _test(scenario)


def test_lies_about_what_is_held_are_the_liar_s_own_affair() -> None:
    async def scenario(site: Site) -> None:
        site.world.put("a", "b")
        other = await site.synced(OTHER)
        liar = await site.agent()
        await liar.hello(count=7, digest=b"\xff" * 16)
        liar.entries = {"a": bytes(16), "foreign": b"m" * 16, "\x00" * 255: bytes(16)}
        await liar.change()
        assert liar.entries == site.world.truth
        site.world.put("c", parent=OTHER)
        await other.change()
        site.world.agent_id = OTHER
        assert other.entries == site.world.truth

    _test(scenario)


def test_garbage_is_no_word() -> None:
    async def scenario(site: Site) -> None:
        raw = replace(push_pb.Push.Subscribe, encode_request=bytes)  # type: ignore[arg-type]  # bytes as they are
        async with site.channel.call(cast("Method[bytes, push_pb.SubscribeResponse]", raw)) as call:
            await call.send(push_pb.SubscribeRequest(hello=push_pb.Hello()).SerializeToString())
            assert await call.receive() is not None
            await call.send(b"\xff\xff\xff")
            with pytest.raises(RpcError, match="malformed"):
                await call.receive()

    _test(scenario)


# Floods.


def test_a_flood_of_reports_is_read_slowly_and_others_are_served() -> None:
    async def scenario(site: Site) -> None:
        site.world.put("a")
        site.world.put("b", parent=OTHER)
        hostile = await site.synced()
        other = await site.synced(OTHER)
        step = push_pb.Progress(entry_id="a", stage=push_pb.Progress.FAILED, trouble="x" * 100)
        report = push_pb.Report(progress=[step] * 1_000)
        taken = 0

        async def flood() -> None:
            nonlocal taken
            while True:
                await hostile.say(report=report)
                taken += 1

        task = asyncio.ensure_future(flood())
        for number in range(20):
            site.world.put(f"b{number}", parent=OTHER)
            await other.change()
        # What was taken in, and what lies in the buffers on the way.
        await settle()
        assert taken < AT_ONCE // 1_000 + 40
        site.world.ban()
        with pytest.raises(RpcError) as caught:
            await task
        assert denial(caught.value) is Denial.AGENT_BANNED

    _test(scenario)


def test_an_acknowledgement_behind_too_many_reports_comes_too_late() -> None:
    async def scenario(site: Site) -> None:
        agent = await site.agent()
        await agent.hello()
        (page,) = await agent.change(ack=False)
        report = push_pb.Report(progress=[push_pb.Progress()] * 5_000)
        for _ in range(20):
            await agent.say(report=report)
        await agent.ack(page)
        await settle()
        for _ in range(70):
            await site.world.clock.advance(_SECOND)
        assert (await agent.ends()).code is StatusCode.DEADLINE_EXCEEDED

    _test(scenario)


# Silence.


def _large(site: Site) -> None:
    """Pages of more than a megabyte."""
    site.world.put(*(f"e{each}" for each in range(5 * PAGE_ITEMS)), hint="x" * 1_000)


async def _stuck(site: Site) -> Agent:
    """An agent that reads nothing of a large set."""
    _large(site)
    agent = await site.agent()
    await agent.hello()
    await eventually(lambda: site.world.hub.bytes_sent > 0)
    for _ in range(20):
        await settle()
    return agent


def test_who_reads_nothing_costs_a_page_and_is_ended() -> None:
    async def scenario(site: Site) -> None:
        agent = await _stuck(site)
        assert site.world.hub.bytes_sent < 2_500_000
        sent = site.world.hub.bytes_sent
        await site.world.clock.advance(timedelta(seconds=PATIENCE - 1))
        assert site.world.hub.bytes_sent == sent
        assert site.world.hub.connected
        await site.world.clock.advance(_SECOND)
        await eventually(lambda: not site.world.hub.connected)
        assert (await agent.ends()).code is StatusCode.DEADLINE_EXCEEDED

    _test(scenario)


class _Hasty:
    """A call of an agent that acknowledges the first change at once, and reads nothing."""

    def __init__(self) -> None:
        self._told = asyncio.Event()
        self._ended: asyncio.Future[Applied] = asyncio.get_running_loop().create_future()
        self.taken = False

    async def receive(self) -> Applied:
        await self._told.wait()
        if self.taken:
            return await self._ended
        self.taken = True
        return Applied(1)

    def end(self, error: RpcError) -> None:
        self._ended.set_exception(error)

    async def send_encoded(self, data: bytes) -> None:
        self._told.set()
        await asyncio.Event().wait()


def test_who_acknowledges_what_it_has_not_read_has_to_read_all_the_same() -> None:
    async def main() -> None:
        world, call = World(), _Hasty()
        caller = await world.admit(Peer(""), "")
        session = Session(cast("Call", call), caller, world.ground)
        task = asyncio.ensure_future(session.run(Hello(None, "")))
        await world.clock.advance(timedelta(seconds=PATIENCE - 1))
        assert call.taken
        assert not task.done()
        await world.clock.advance(_SECOND)
        with pytest.raises(RpcError) as caught:
            await task
        assert caught.value.code is StatusCode.DEADLINE_EXCEEDED

    run(main())


def test_changes_do_not_pile_up_for_who_reads_nothing() -> None:
    async def scenario(site: Site) -> None:
        agent = await _stuck(site)
        sent = site.world.hub.bytes_sent
        for number in range(4):
            site.world.put(*(f"n{number}-{each}" for each in range(MOST_DIRTY // 2)))
        (interest,) = site.world.index.entries.audience._by_agent[AGENT]
        assert interest._weight <= MOST_DIRTY + 1
        assert site.world.hub.bytes_sent == sent
        # And then it reads after all.
        await agent.change()
        assert agent.entries == site.world.truth

    _test(scenario)


def test_a_ban_in_the_midst_of_a_page_ends_it_there() -> None:
    async def scenario(site: Site) -> None:
        agent = await _stuck(site)
        sent = site.world.hub.bytes_sent
        site.world.ban()
        await eventually(lambda: not site.world.hub.connected)
        assert site.world.hub.bytes_sent == sent
        assert (await agent.page()).more  # what was on its way
        assert denial(await agent.ends()) is Denial.AGENT_BANNED

    _test(scenario)


def test_an_svid_that_has_ended_in_the_midst_of_a_page_brings_no_other_page() -> None:
    async def scenario(site: Site) -> None:
        site.world.expires_at = site.world.clock.now() + 10 * _SECOND
        agent = await _stuck(site)
        sent = site.world.hub.bytes_sent
        site.world.clock.jump(10 * _SECOND)  # nobody is woken by that
        assert denial(await agent.ends()) is Denial.AGENT_EXPIRED
        assert site.world.hub.bytes_sent == sent

    _test(scenario)


def test_an_agent_that_disappears_leaves_nothing_behind() -> None:
    async def scenario(site: Site) -> None:
        await _stuck(site)
        await site.synced(OTHER)
        await site.channel.close()
        await eventually(lambda: not site.world.hub.connected)
        assert not site.world.ground.turns._now
        assert site.world.fleet.streams == {AGENT: 0, OTHER: 0}

    _test(scenario)


def test_a_fault_of_ours_ends_one_stream() -> None:
    class Broken(World):
        def resting(self, agent_id: str, counts: Mapping[str, int]) -> None:
            raise ZeroDivisionError

    async def scenario(site: Site) -> None:
        other = await site.synced(OTHER)
        agent = await site.synced()
        report = push_pb.Report(resting=[push_pb.Resting(authority_id="x", svids=1)])
        await agent.say(report=report)
        assert (await agent.ends()).code is StatusCode.INTERNAL
        site.world.put("a", parent=OTHER)
        await other.change()

    world = Broken()
    world.fleet.resting = world.resting  # type: ignore[method-assign]
    _test(scenario, world)
