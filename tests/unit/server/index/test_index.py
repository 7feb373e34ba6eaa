"""The whole index: positions, epochs, restores, and ends of entries as time goes by."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

from finial.server.index import index as module
from finial.server.index.index import Index
from finial.server.store.records import Change
from support.clock import START, ManualClock, settle
from support.index_model import (
    DOMAIN,
    Model,
    PutBundle,
    PutEntry,
    PutNode,
    RemoveBundle,
    RemoveEntry,
    RemoveNode,
    Step,
    Wanted,
    uri,
)

AGENT = uri("spire/agent/test/1")
NOW = int(START.timestamp())


@dataclass
class World:
    """An index that lets entries end, and an agent that watches."""

    clock: ManualClock = field(default_factory=ManualClock)
    model: Model = field(default_factory=Model)
    index: Index = field(default_factory=lambda: Index(DOMAIN))
    woken: int = 0

    def tell(self, *steps: Step) -> list[Change]:
        changes = [change for step in steps for change in step.told_to(self.model)]
        self.model.position += len(changes)
        self.index.apply(changes, self.model.position)
        return changes

    def wake(self) -> None:
        self.woken += 1


def _test(scenario: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        world = World()
        world.tell(PutNode(AGENT, frozenset()))
        running = asyncio.ensure_future(world.index.run(world.clock))
        try:
            await scenario(world)
            assert not running.done()
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running

    asyncio.run(main())


def _entry(name: str, ends: int = 0) -> PutEntry:
    """An entry of the agent that ends so many seconds after the start."""
    return PutEntry(Wanted(name, parent="spire/agent/test/1", expires_at=NOW + ends if ends else 0))


def test_an_entry_that_ends_is_let_go_and_whoever_watches_is_told() -> None:
    async def scenario(world: World) -> None:
        subscription = world.index.watch(AGENT, world.wake)
        world.tell(_entry("web", 60), _entry("api"))
        subscription.drain()
        world.woken = 0
        await world.clock.advance(timedelta(seconds=59))
        assert world.woken == 0
        assert subscription.digest().count == 2
        await world.clock.advance(timedelta(seconds=1))
        assert world.woken == 1
        assert subscription.drain().entries == ("web",)
        assert subscription.get("web") is None
        assert world.index.entries.get("web") is not None

    _test(scenario)


def test_an_earlier_end_that_comes_later_is_not_overslept() -> None:
    async def scenario(world: World) -> None:
        await settle()
        subscription = world.index.watch(AGENT, world.wake)
        world.tell(_entry("late", 5_000))
        await settle()
        world.tell(_entry("early", 1))
        await world.clock.advance(timedelta(seconds=1))
        assert subscription.digest().count == 1
        assert world.index.expire(world.clock.now().timestamp()) == NOW + 5_000

    _test(scenario)


def test_a_clock_that_is_set_is_noticed_within_a_nap() -> None:
    async def scenario(world: World) -> None:
        subscription = world.index.watch(AGENT, world.wake)
        world.tell(_entry("web", 1_000))
        await settle()
        world.clock.jump(timedelta(seconds=1_000))
        await world.clock.advance(module._NAP)
        assert subscription.digest().count == 0
        world.clock.jump(timedelta(seconds=-500))
        await world.clock.advance(module._NAP)
        assert subscription.digest().count == 1

    _test(scenario)


def test_a_clock_that_was_set_back_while_nothing_ended_lets_no_entry_have_ended() -> None:
    async def scenario(world: World) -> None:
        subscription = world.index.watch(AGENT, world.wake)
        await settle()
        assert not world.clock._sleepers
        world.clock.jump(timedelta(hours=-2))
        world.tell(_entry("web", -5))
        await settle()
        assert subscription.digest().count == 1
        assert subscription.drain().entries == ("web",)
        world.clock.jump(timedelta(hours=2))
        await world.clock.advance(module._NAP)
        assert subscription.digest().count == 0

    _test(scenario)


def test_an_entry_that_comes_when_it_has_ended_is_looked_at_again_at_each_nap() -> None:
    async def scenario(world: World) -> None:
        subscription = world.index.watch(AGENT, world.wake)
        await settle()
        world.tell(_entry("web", -5))
        await settle()
        assert subscription.digest().count == 0
        world.clock.jump(timedelta(seconds=-10))
        await world.clock.advance(module._NAP)
        assert subscription.digest().count == 1

    _test(scenario)


def test_nobody_is_woken_while_nothing_can_end() -> None:
    async def scenario(world: World) -> None:
        world.tell(_entry("web"))
        await settle()
        assert not world.clock._sleepers

    _test(scenario)


def test_who_waits_for_a_position_is_told_when_it_is_there() -> None:
    async def scenario(world: World) -> None:
        assert world.index.position == 1
        assert world.index.reached(1).done()
        third, second, given_up = (world.index.reached(position) for position in (3, 2, 3))
        given_up.cancel()
        world.tell(_entry("web"))
        assert second.done()
        assert not third.done()
        world.tell(_entry("api"))
        await third

    _test(scenario)


def test_listeners_hear_of_changes_when_the_index_has_them() -> None:
    async def scenario(world: World) -> None:
        heard: list[tuple[Sequence[Change], int, bool]] = []

        def listen(changes: Sequence[Change]) -> None:
            there = world.index.entries.get("web") is not None
            heard.append((changes, world.index.position, there))

        world.index.subscribe(listen)
        changes = world.tell(_entry("web"))
        assert heard == [(changes, 2, True)]

    _test(scenario)


def test_a_restore_is_told_as_if_it_had_been_changes() -> None:
    async def scenario(world: World) -> None:
        world.tell(_entry("web"), _entry("api"), PutBundle("one.test"), PutBundle("two.test"))
        world.tell(PutNode(uri("spire/agent/test/2"), frozenset()))
        subscription = world.index.watch(AGENT, world.wake)
        heard: list[Change] = []
        world.index.subscribe(heard.extend)
        for step in (
            _entry("web", 60),
            RemoveEntry("api"),
            _entry("new"),
            PutBundle("one.test"),
            RemoveBundle("two.test"),
            RemoveNode(uri("spire/agent/test/2")),
        ):
            step.told_to(world.model)
        world.model.position = 3
        world.index.reload(world.model.snapshot())
        assert sorted(change.key for change in heard) == [
            "api",
            "new",
            "one.test",
            uri("spire/agent/test/2"),
            "two.test",
            "web",
        ]
        assert sorted(subscription.drain().entries) == ["api", "new", "web"]
        assert world.index.position == 3
        assert world.index.epoch == "one"
        assert list(world.index.bundles.keys()) == ["one.test"]
        assert list(world.index.nodes.keys()) == [AGENT]
        heard.clear()
        PutEntry(world.model.wanted["new"], again=True).told_to(world.model)  # says the same, but later
        world.index.reload(world.model.snapshot())
        assert [change.key for change in heard] == ["new"]
        heard.clear()
        world.woken = 0
        world.index.reload(world.model.snapshot())
        assert heard == []
        assert world.woken == 0
        world.model.epoch = "two"
        world.index.reload(world.model.snapshot())
        assert world.woken == 1
        assert world.index.epoch == "two"

    _test(scenario)


def test_another_epoch_wakes_everybody() -> None:
    async def scenario(world: World) -> None:
        world.index.watch(AGENT, world.wake)
        world.index.watch(uri("spire/agent/test/9"), world.wake)
        world.index.take_epoch("two")
        assert world.index.epoch == "two"
        assert world.woken == 2

    _test(scenario)


def test_no_agents_may_serve_what_is_not_there() -> None:
    async def scenario(world: World) -> None:
        world.tell(_entry("web", 10))
        assert list(world.index.agents_of("web")) == [AGENT]
        assert list(world.index.agents_of("nothing")) == []
        world.index.expire(NOW + 10)
        assert list(world.index.agents_of("web")) == []

    _test(scenario)
