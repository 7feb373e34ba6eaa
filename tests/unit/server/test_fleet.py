"""Who is there, who has which bundle, and on what its SVIDs rest."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from finial.core.bundle import Bundle
from finial.core.x509cert import Certificate
from finial.server.ca.kinds import authority_id_of
from finial.server.fleet import (
    HEARD_WITHIN,
    LEAVE,
    POLLING_SETTLE,
    RENEWED_AFTER,
    RENEWED_AT_LAST,
    SETTLE,
    Fleet,
    Laggard,
    Rollout,
)
from finial.server.index.index import Index
from finial.server.store.records import BundleRecord, Change, ChangeKind, NodeRecord
from support.authorities import DOMAIN, root, token_key
from support.clock import ManualClock, settle

OLD, NEW = root("old"), root("new")
OLD_ID, NEW_ID = authority_id_of(OLD), authority_id_of(NEW)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


class World:
    """An index and its fleet; the bundle has the old authority first."""

    def __init__(self, *names: str) -> None:
        self.clock = ManualClock()
        self.index = Index(DOMAIN)
        self.position = 0
        self.sequence = 0
        self.publish(OLD)
        for name in names:
            self.attest(name)
        self.fleet = Fleet(self.index, clock=self.clock)

    def apply(self, *changes: Change) -> None:
        self.position += len(changes)
        self.index.apply(changes, self.position)

    def publish(self, *authorities: Certificate, tainted: Certificate | None = None) -> None:
        old = self.index.bundle
        self.sequence += old is None or old.x509_authorities != authorities  # taints change no number
        bundle = Bundle(
            trust_domain=DOMAIN,
            x509_authorities=authorities,
            tainted=frozenset() if tainted is None else frozenset({tainted}),
            sequence=self.sequence,
        )
        self.apply(Change(ChangeKind.BUNDLE, DOMAIN.name, BundleRecord(seq=1, bundle=bundle, data=b"")))

    def change(self, changes: dict[str, Any], *, same: bool = False) -> None:
        """Publish the bundle with something else in it, with another number unless it is a taint alone."""
        assert self.index.bundle is not None
        self.sequence += not same
        bundle = replace(self.index.bundle, sequence=self.sequence, **changes)
        self.apply(Change(ChangeKind.BUNDLE, DOMAIN.name, BundleRecord(seq=1, bundle=bundle, data=b"")))

    def attest(self, name: str, ttl: timedelta = HOUR) -> None:
        node = NodeRecord(
            seq=int(name.removeprefix("a")),
            id=name,
            attestation_type="test",
            serial="1",
            expires_at=int((self.clock.now() + ttl).timestamp()),
        )
        self.apply(Change(ChangeKind.NODE, name, node))

    def evict(self, name: str) -> None:
        self.apply(Change(ChangeKind.NODE, name, None))

    def rollout(self, authority: Certificate = NEW) -> Rollout:
        return self.fleet.rollout(authority_id_of(authority))

    def behind(self) -> list[str]:
        return [each.agent_id for each in self.rollout().behind]

    def resting_on(self) -> dict[str, tuple[int, str]]:
        return {each.agent_id: (each.svids, each.why) for each in self.rollout(OLD).resting_on}


def test_without_agents_there_is_nobody_to_wait_for() -> None:
    world = World()
    world.publish(OLD, NEW)
    rollout = world.rollout()
    assert rollout.ready
    assert (rollout.live, rollout.behind, rollout.away, rollout.resting, rollout.polling) == (0, (), 0, 0, 0)


def test_an_authority_is_ready_when_every_agent_has_had_it_for_a_while() -> None:
    async def scene() -> None:
        world = World("a1", "a2")
        for name in ("a1", "a2"):
            world.fleet.joined(name)
            world.fleet.has_bundle(name, 1)
        world.publish(OLD, NEW)
        assert world.behind() == ["a1", "a2"]
        assert world.rollout().behind[0].why == "connected, but has not acknowledged the bundle"
        world.fleet.has_bundle("a1", 2)
        await world.clock.advance(SECOND)
        assert world.behind() == ["a2"]
        assert world.rollout().settled == timedelta(0)
        world.fleet.has_bundle("a2", 2)
        assert (world.behind(), world.rollout().ready) == ([], False)
        assert world.rollout().settle == SETTLE
        await world.clock.advance(SETTLE)
        assert world.rollout().settled == SETTLE
        assert world.rollout().ready
        assert not world.rollout(OLD).behind
        # One that comes is waited for again.
        world.attest("a3")
        world.fleet.joined("a3")
        assert world.behind() == ["a3"]

    asyncio.run(scene())


def test_a_key_for_tokens_is_followed_like_a_root_and_nothing_is_said_of_what_rests_on_it() -> None:
    async def scene() -> None:
        world = World("a1", "a2")
        world.fleet.joined("a1")
        world.fleet.resting("a1", {OLD_ID: 1})
        for place in ("jwt_authorities", "wit_authorities"):
            key = token_key(place)
            world.change({place: (key,)})
            assert [each.agent_id for each in world.fleet.rollout(place).behind] == ["a1", "a2"]
            for name in ("a1", "a2"):
                world.fleet.has_bundle(name, world.sequence)
            await world.clock.advance(POLLING_SETTLE)
            assert world.fleet.rollout(place).ready
            world.change({place: (replace(key, tainted=True),)}, same=True)
            # What agents hold of certificates says nothing of tokens.
            assert not world.fleet.rollout(place).resting_on

    asyncio.run(scene())


def test_an_agent_that_polls_has_what_it_has_fetched_and_is_given_longer() -> None:
    async def scene() -> None:
        world = World("a1", "a2")
        world.fleet.joined("a1")
        world.fleet.has_bundle("a1", 1)
        world.fleet.heard("a2")
        world.publish(OLD, NEW)
        world.fleet.has_bundle("a1", 2)
        await world.clock.advance(3 * SECOND)
        (late,) = world.rollout().behind
        assert late == Laggard("a2", "has not fetched the bundle; last heard of 3 s ago")
        await world.clock.advance(timedelta(minutes=4))
        assert world.rollout().behind[0].why.endswith("last heard of 4 min ago")
        world.fleet.has_bundle("a2", 2)
        assert (world.rollout().polling, world.rollout().settle) == (1, POLLING_SETTLE)
        await world.clock.advance(POLLING_SETTLE - SECOND)
        world.fleet.has_bundle("a2", 2)  # again, which is no news
        await world.clock.advance(SECOND)
        assert world.rollout().ready

    asyncio.run(scene())


def test_an_agent_whose_stream_breaks_is_waited_for_until_it_is_long_gone() -> None:
    async def scene() -> None:
        world = World("a1")
        world.fleet.joined("a1")
        world.fleet.joined("a1")  # the next stream is opened before the one so far is given up
        world.publish(OLD, NEW)
        world.fleet.left("a1")
        assert world.behind() == ["a1"]
        world.fleet.left("a1")
        world.fleet.left("a1")
        assert world.rollout().polling == 0
        await world.clock.advance(HEARD_WITHIN - SECOND)
        assert world.behind() == ["a1"]
        await world.clock.advance(SECOND)
        assert (world.behind(), world.rollout().live, world.rollout().away) == ([], 0, 1)
        world.fleet.has_bundle("a1", 1)  # it comes back, and polls
        assert (world.behind(), world.rollout().live, world.rollout().polling) == (["a1"], 1, 1)

    asyncio.run(scene())


def test_who_has_not_come_since_the_server_started_may_be_there_for_a_while() -> None:
    async def scene() -> None:
        world = World("a1")
        (late,) = world.rollout(OLD).behind
        assert late == Laggard("a1", "not heard of since the server started")
        assert (world.rollout().live, world.rollout().away, world.rollout().polling) == (1, 0, 0)
        await world.clock.advance(HEARD_WITHIN)
        assert (world.rollout().live, world.rollout().away) == (0, 1)
        world.attest("a2")  # this one has just proven that it is there
        assert world.behind() == ["a2"]

    asyncio.run(scene())


def test_who_cannot_call_does_not_count() -> None:
    async def scene() -> None:
        world = World("a1", "a2", "a3")
        world.attest("a2", timedelta(minutes=1))
        node = world.index.nodes.get("a1")
        assert node is not None
        world.apply(Change(ChangeKind.NODE, "a1", replace(node, serial="")))
        assert world.rollout().live == 2
        await world.clock.advance(timedelta(minutes=1))
        world.publish(OLD, NEW)
        assert world.behind() == ["a3"]
        renewed = replace(node, id="a2", seq=2, expires_at=0, pending_serial="2", pending_expires_at=1 << 40)
        world.apply(Change(ChangeKind.NODE, "a2", renewed))
        assert world.behind() == ["a2", "a3"]

    asyncio.run(scene())


def test_nothing_is_kept_of_whom_there_is_not() -> None:
    world = World("a1", "a2")
    for call in (
        world.fleet.heard,
        lambda name: world.fleet.has_bundle(name, 1),
        lambda name: world.fleet.resting(name, {OLD_ID: 1}),
        world.fleet.left,
    ):
        call("spiffe://a.test/nobody")
    world.fleet.joined("a1")
    world.fleet.has_bundle("a1", 1)
    world.fleet.heard("a2")
    world.evict("a1")
    world.evict("a2")
    assert list(world.fleet._agents) == ["a1"]  # its stream has yet to end
    world.attest("a1")
    assert world.rollout(OLD).behind == (Laggard("a1", "connected, but has not acknowledged the bundle"),)
    world.evict("a1")
    world.fleet.left("a1")
    assert not world.fleet._agents
    world.publish(NEW)
    assert list(world.fleet._published) == [NEW_ID]


def test_svids_are_counted_as_agents_report_them() -> None:
    world = World("a1", "a2", "a3")
    for name, count in (("a1", 3), ("a2", 0), ("a3", 4)):
        world.fleet.joined(name)
        world.fleet.resting(name, {OLD_ID: count, NEW_ID: 1, "nonsense" * 100: 9})
    rollout = world.rollout(OLD)
    assert (rollout.resting, len(rollout.resting_on)) == (7, 2)
    assert world.resting_on() == {"a1": (3, "connected"), "a3": (4, "connected")}
    assert world.rollout(NEW).resting == 0  # it is not in the bundle
    assert world.fleet._agents["a1"].resting == {OLD_ID: 3}
    world.fleet.resting("a1", {})
    assert world.rollout(OLD).resting == 4
    world.fleet.left("a3")
    assert world.resting_on() == {"a3": (4, "last heard of 0 s ago")}


def test_since_when_nothing_has_rested_on_an_authority() -> None:
    async def scene() -> None:
        world = World("a1", "a2")
        assert (world.rollout(OLD).left, world.rollout(OLD).leave) == (timedelta(0), LEAVE)
        for name in ("a1", "a2"):
            world.fleet.joined(name)
            world.fleet.resting(name, {OLD_ID: 2})
        world.publish(OLD, NEW)
        await world.clock.advance(SECOND)
        assert world.rollout(OLD).left == timedelta(0)
        world.fleet.resting("a1", {OLD_ID: 1, NEW_ID: 1})
        world.fleet.resting("a2", {NEW_ID: 2})
        await world.clock.advance(SECOND)
        assert world.rollout(OLD).left == timedelta(0)
        world.fleet.resting("a1", {OLD_ID: 0, NEW_ID: 2})
        await world.clock.advance(SECOND)
        world.fleet.resting("a2", {NEW_ID: 3})  # no news
        assert world.rollout(OLD).left == SECOND
        # Of one that reports for the first time nobody knows since when.
        world.attest("a3")
        world.fleet.joined("a3")
        world.fleet.resting("a3", {NEW_ID: 1})
        assert world.rollout(OLD).left == timedelta(0)
        await world.clock.advance(LEAVE)
        assert world.rollout(OLD).left == LEAVE

    asyncio.run(scene())


def test_what_cannot_be_known_rests_on_a_tainted_authority() -> None:
    async def scene() -> None:
        world = World("a1", "a2", "a3", "a4")
        world.fleet.joined("a1")
        world.fleet.heard("a2", OLD)
        world.fleet.has_bundle("a3", 1)
        assert world.resting_on() == {"a2": (1, "last heard of 0 s ago; its own SVID")}
        world.publish(OLD, NEW, tainted=OLD)
        assert world.resting_on() == {
            "a1": (0, "connected; has not reported what it holds"),
            "a2": (1, "last heard of 0 s ago; its own SVID"),
            "a3": (0, "last heard of 0 s ago; what it holds is not known"),
            "a4": (0, "not heard of since the server started; what it holds is not known"),
        }
        assert world.rollout(OLD).resting == 1
        assert not world.rollout(NEW).resting_on

    asyncio.run(scene())


def test_an_agent_that_polls_has_renewed_all_when_it_has_been_quiet_for_a_while() -> None:
    async def scene() -> None:
        world = World("a1")
        world.fleet.heard("a1", OLD, signing=True)
        world.publish(OLD, NEW, tainted=OLD)
        world.fleet.heard("a1", NEW)
        why = "last heard of 0 s ago; has not fetched the bundle that says so"
        assert world.resting_on() == {"a1": (0, why)}
        world.fleet.has_bundle("a1", 2)
        await world.clock.advance(RENEWED_AFTER - SECOND)
        assert world.resting_on() == {"a1": (0, "last heard of 9 s ago; may be renewing what it holds")}
        world.fleet.heard("a1", NEW, signing=True)
        await world.clock.advance(SECOND)
        assert world.resting_on()
        await world.clock.advance(RENEWED_AFTER - SECOND)
        assert not world.resting_on()

    asyncio.run(scene())


def test_one_that_always_has_something_signed_is_believed_in_the_end() -> None:
    async def scene() -> None:
        world = World("a1")
        world.publish(OLD, NEW, tainted=OLD)
        world.fleet.has_bundle("a1", 2)
        waited = timedelta(0)
        while waited < RENEWED_AT_LAST:
            world.fleet.heard("a1", NEW, signing=True)
            assert world.resting_on()
            await world.clock.advance(5 * SECOND)
            waited += 5 * SECOND
        world.fleet.heard("a1", NEW, signing=True)
        assert not world.resting_on()

    asyncio.run(scene())


def test_one_that_goes_over_to_polling_is_no_longer_believed_by_its_report() -> None:
    world = World("a1")
    world.publish(OLD, NEW, tainted=OLD)
    world.fleet.joined("a1")
    world.fleet.resting("a1", {OLD_ID: 0})
    assert not world.resting_on()
    world.fleet.left("a1")
    assert not world.resting_on()
    world.fleet.has_bundle("a1", 2)
    assert world.resting_on()


def test_whoever_waits_is_told_of_each_change_and_sleeps_no_longer_than_it_wants() -> None:
    async def scene() -> None:
        world = World("a1")
        version = world.fleet.version
        waiting = [asyncio.ensure_future(world.fleet.changed(version, HOUR)) for _ in range(2)]
        await settle()
        assert not any(task.done() for task in waiting)
        world.fleet.heard("a1")
        await asyncio.gather(*waiting)
        await world.fleet.changed(version, HOUR)  # that has happened
        later = asyncio.ensure_future(world.fleet.changed(world.fleet.version, SECOND))
        world.fleet.heard("a1")  # nobody's business, for it was there before
        await settle()
        assert not later.done()
        await world.clock.advance(SECOND)
        await later

    asyncio.run(scene())


def test_a_fleet_may_be_there_before_the_first_authority() -> None:
    async def scene() -> None:
        index = Index(DOMAIN)
        fleet = Fleet(index, clock=ManualClock())
        assert fleet.rollout(OLD_ID).ready

    asyncio.run(scene())


@pytest.mark.parametrize("kind", [ChangeKind.ENTRY, ChangeKind.BUNDLE])
def test_what_is_no_business_of_the_fleet_wakes_nobody(kind: ChangeKind) -> None:
    world = World()
    version = world.fleet.version
    world.apply(Change(kind, "other.test", None))
    assert world.fleet.version == version
