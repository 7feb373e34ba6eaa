"""A stream from hello to its end, over a real connection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from finial.core.ids import TrustDomain
from finial.rpc import StatusCode
from finial.server.index.subscriptions import MOST_DIRTY
from finial.server.push.draft import PAGE_ITEMS
from finial.server.push.turns import LARGE
from support.clock import settle
from support.push_world import AGENT, OTHER, Site, pushing
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


def test_a_first_hello_brings_everything() -> None:
    async def scenario(site: Site) -> None:
        site.world.put("a", "b")
        agent = await site.agent()
        await agent.hello()
        (page,) = await agent.change(ack=False)
        assert page.reset
        assert page.number == 1
        assert page.spread_ms == 4
        assert page.server_time_ms == int(site.world.clock.now().timestamp() * 1_000)
        assert not site.world.fleet.sequences
        await agent.ack(page)
        await eventually(lambda: site.world.fleet.sequences == [(AGENT, 1)])
        assert site.world.fleet.streams == {AGENT: 1}
        assert site.world.hub.bytes_sent == page.ByteSize()

    _test(scenario)


def test_what_is_equal_is_not_sent() -> None:
    async def scenario(site: Site) -> None:
        site.world.put("a")
        first = await site.synced()
        again = await site.agent()
        await again.hello(like=first)
        (page,) = await again.change()
        assert not page.entries
        assert not page.bundles
        assert not page.reset
        assert not again.compared
        await eventually(lambda: len(site.world.fleet.sequences) == 2)

    _test(scenario)


def test_what_differs_is_compared() -> None:
    async def scenario(site: Site) -> None:
        site.world.put(*_names(2_500))
        first = await site.synced()
        site.world.put("e7", hint="other")
        site.world.remove("e8")
        site.world.put("new")
        again = await site.agent()
        await again.hello(like=first)
        (page,) = await again.change()
        assert again.compared == 1
        assert {item.entry.id for item in page.entries} == {"e7", "new"}
        assert list(page.gone) == ["e8"]
        assert again.entries == site.world.truth

    _test(scenario)


def test_an_agent_that_holds_far_too_much_is_told_everything_at_once() -> None:
    async def scenario(site: Site) -> None:
        site.world.put("a")
        agent = await site.agent()
        await agent.hello(count=20_000)
        (page,) = await agent.change()
        assert page.reset
        assert not agent.compared

    _test(scenario)


def test_one_that_shows_far_too_much_when_asked_is_told_everything_too() -> None:
    async def scenario(site: Site) -> None:
        site.world.put("a")
        agent = await site.agent()
        await agent.hello(count=2)
        agent.entries = {name: bytes(16) for name in _names(12_000)}
        (page,) = await agent.change()
        assert page.reset
        assert agent.compared == 1
        assert agent.entries == site.world.truth

    _test(scenario)


def test_what_an_agent_lacks_is_looked_at_again_when_its_turn_has_come() -> None:
    async def scenario(site: Site) -> None:
        site.world.put(*_names(LARGE + 10))
        first = await site.synced()
        again = await site.agent()
        async with site.all_turns():
            site.world.put("e0", hint="other")
            site.world.remove("e1")
            await again.hello(like=first)
            await eventually(lambda: site.world.ground.turns.waiting == 1)
            site.world.put("e0", "e1")
        (page,) = await again.change()
        assert not again.compared
        assert not page.reset
        assert not page.entries
        assert not page.gone
        assert again.entries == site.world.truth

    _test(scenario)


def test_what_changes_while_an_agent_waits_for_its_turn_is_told_with_the_rest() -> None:
    async def scenario(site: Site) -> None:
        site.world.put(*_names(LARGE + 10))
        first = await site.synced()
        again = await site.agent()
        async with site.all_turns():
            site.world.put("e0", hint="other")
            await again.hello(like=first)
            await eventually(lambda: site.world.ground.turns.waiting == 1)
            site.world.put("e1", hint="other")
        (page,) = await again.change()
        assert again.compared == 1
        assert {item.entry.id for item in page.entries} == {"e0", "e1"}
        assert again.entries == site.world.truth

    _test(scenario)


def test_changes_come_as_they_happen() -> None:
    async def scenario(site: Site) -> None:
        agent = await site.synced()
        for number in range(3):
            site.world.put(f"e{number}")
            await site.world.clock.advance(timedelta(milliseconds=10))
            (page,) = await agent.change()
            assert page.number == number + 2
            assert agent.entries == site.world.truth
        await eventually(lambda: len(site.world.metric.applied) == 3)
        assert site.world.metric.applied == pytest.approx([0.01] * 3)

    _test(scenario)


def test_the_next_change_waits_for_the_acknowledgement_of_the_last() -> None:
    async def scenario(site: Site) -> None:
        agent = await site.synced()
        site.world.put("a")
        (page,) = await agent.change(ack=False)
        site.world.put("b")
        site.world.put("c")
        site.world.remove("a")
        await settle()
        sent = site.world.hub.bytes_sent
        await agent.ack(page)
        (page,) = await agent.change()
        assert site.world.hub.bytes_sent == sent + page.ByteSize()
        assert {item.entry.id for item in page.entries} == {"b", "c"}
        assert list(page.gone) == ["a"]

    _test(scenario)


def test_an_entry_and_its_bundle_come_together() -> None:
    async def scenario(site: Site) -> None:
        agent = await site.synced()
        site.world.bundle("foreign.test")
        site.world.put("a", federates_with=(TrustDomain("foreign.test"),))
        (page,) = await agent.change()
        assert [bundle.trust_domain for bundle in page.bundles] == ["foreign.test"]
        assert {item.entry.id for item in page.entries} == {"a"}
        site.world.bundle(sequence=2)
        (page,) = await agent.change()
        assert [bundle.trust_domain for bundle in page.bundles] == ["example.org"]
        await eventually(lambda: site.world.fleet.sequences == [(AGENT, 1), (AGENT, 2)])

    _test(scenario)


def test_a_new_epoch_is_told() -> None:
    async def scenario(site: Site) -> None:
        agent = await site.synced()
        site.world.index.take_epoch("e2")
        (page,) = await agent.change()
        assert page.state.epoch == "e2"
        assert not page.entries

    _test(scenario)


def test_an_agent_that_is_ahead_is_told_nothing_before_the_server_has_caught_up() -> None:
    async def scenario(site: Site) -> None:
        site.world.put("a", "b")
        first = await site.synced()
        ahead = site.world.index.position + 1
        agent = await site.agent()
        await agent.hello(like=first, seq=ahead)
        await site.world.clock.advance(5 * _SECOND)
        sent = site.world.hub.bytes_sent
        site.world.remove("a")  # what the agent has seen already elsewhere
        await agent.change()
        assert site.world.hub.bytes_sent > sent
        assert agent.entries == site.world.truth
        late = await site.agent()
        await late.hello(like=agent, seq=ahead + 1)
        await site.world.clock.advance(10 * _SECOND)
        error = await late.ends()
        assert error.code is StatusCode.UNAVAILABLE
        assert error.retry_after == 5 * _SECOND

    _test(scenario)


def test_a_database_that_was_put_back_begins_a_new_epoch_for_all() -> None:
    async def scenario(site: Site) -> None:
        site.world.store.alone = True
        witness = await site.synced(OTHER)
        agent = await site.agent()
        await agent.hello(epoch="e1", seq=99, count=1)
        await agent.change()
        (epoch,) = site.world.store.epochs
        assert agent.state is not None
        assert agent.state.epoch == epoch
        (page,) = await witness.change()
        assert page.state.epoch == epoch

    _test(scenario)


def test_an_agent_that_holds_something_else_than_it_acknowledged_is_counted_and_repaired() -> None:
    async def scenario(site: Site) -> None:
        site.world.put("a", "b")
        agent = await site.synced()
        again = await site.agent()
        again.copy(agent)
        del again.entries["a"]
        await again.hello(count=1)
        await again.change()
        assert site.world.hub.mismatches == 1
        assert again.entries == site.world.truth

    _test(scenario)


def test_more_than_can_be_named_is_compared_in_the_same_call() -> None:
    async def scenario(site: Site) -> None:
        agent = await site.synced()
        site.world.put("a")
        (page,) = await agent.change(ack=False)
        site.world.put(*_names(MOST_DIRTY + 1))
        await agent.ack(page)
        pages = await agent.change()
        assert agent.compared == 1
        assert not pages[0].reset
        assert agent.entries == site.world.truth

    _test(scenario)


def test_a_set_is_paged_while_it_changes() -> None:
    async def scenario(site: Site) -> None:
        site.world.put(*_names(5 * PAGE_ITEMS), hint="x" * 1_000)
        agent = await site.agent()
        await agent.hello()
        pages = [await agent.page()]
        for number in range(2):
            site.world.remove(*_names(100, start=100 * number))
            site.world.put(*_names(MOST_DIRTY + 1, start=20_000))
            pages.append(await agent.page())
        while pages[-1].more:
            pages.append(await agent.page())
        for page in pages:
            agent.take(page)
        agent.check(pages[-1].state)
        assert agent.entries == site.world.truth
        await agent.ack(pages[-1])

    _test(scenario)


def test_an_agent_that_sends_its_last_is_answered_with_ok() -> None:
    async def scenario(site: Site) -> None:
        agent = await site.synced()
        await agent.call.half_close()
        assert await agent.call.receive() is None

    _test(scenario)
