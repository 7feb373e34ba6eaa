"""A kill between any two steps, and another one during the restart after it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from finial.core.ids import SpiffeID
from finial.core.keys import KeyType
from finial.core.x509_profile import SVIDRequest
from finial.core.x509cert import Certificate
from finial.server.ca.issue import Authority
from finial.server.ca.orders import authority_id_of
from finial.server.ca.rotate import AuthorityPlan, Rotation
from support import forge
from support.authorities import DOMAIN
from support.clock import FixedChance, ManualClock
from support.fake_journal import FakeJournal
from support.fake_keys import MemoryKeyManager
from support.strikes import Killed, Strikes

TTL = timedelta(minutes=6)


class Disk:
    """What a kill leaves."""

    def __init__(self) -> None:
        self.journal = FakeJournal()
        self.keys = MemoryKeyManager()
        self.clock = ManualClock()
        self.chance = FixedChance()
        self.activated: list[Certificate] = []

    async def live(
        self, at: int | None = None, order: Order | None = None
    ) -> tuple[Strikes, Authority, bool]:
        """One process: starts, does what is due and perhaps ordered, and is killed at one of its moments."""
        strikes = self.journal.strikes = self.keys.strikes = Strikes(at)
        authority = Authority(DOMAIN, clock=self.clock, chance=self.chance)
        rotation = Rotation(
            AuthorityPlan(ttl=TTL, key_type=KeyType.EC_P256),
            authority=authority,
            journal=self.journal,
            keys=self.keys,
            clock=self.clock,
            chance=self.chance,
            on_activated=self.on_activated,
        )
        try:
            await rotation.start()
            await rotation._round()
            if order is not None:
                await order(self, rotation)
                await rotation._round()
        except Killed:
            return strikes, authority, True
        return strikes, authority, False

    def root(self, status: str) -> Certificate:
        """The authority with this status."""
        (row,) = [row for row in self.journal.rows.values() if row.status == status]
        return Certificate.parse(row.certificate)

    def on_activated(self, certificate: Certificate) -> None:
        assert certificate in self.journal.bundle
        active = [row.certificate for row in self.journal.rows.values() if row.status == "active"]
        assert active == [certificate.der]
        self.activated.append(certificate)

    def check(self, authority: Authority) -> None:
        """What has to hold when a start was not killed."""
        request = SVIDRequest(spiffe_id=SpiffeID("spiffe://a.test/web"), public_key=forge.key().public_key())
        leaf = authority.sign_svid(request, timedelta(hours=1))[0]
        active = [row for row in self.journal.rows.values() if row.status == "active"]
        assert len(active) == 1
        root = Certificate.parse(active[0].certificate)
        assert root.key is not None
        assert leaf.signed_by(root.key)
        assert root in self.journal.bundle
        assert len(self.journal.rows) <= 2
        assert sum(row.status == "prepared" for row in self.journal.rows.values()) <= 1
        assert set(self.keys.keys) <= {row.key_id for row in self.journal.rows.values()}
        assert active[0].key_id in self.keys.keys


Order = Callable[[Disk, Rotation], Awaitable[object]]


async def _nothing(disk: Disk) -> None:
    """A first start."""


async def _due(disk: Disk) -> None:
    """A restart when a successor is to be prepared."""
    await disk.live()
    disk.clock.jump(TTL / 2)


async def _takeover(disk: Disk) -> None:
    """A restart when the successor is to take over."""
    await _due(disk)
    await disk.live()
    disk.clock.jump(TTL / 3)


async def _second_round(disk: Disk) -> None:
    """A restart when an old authority has to give way."""
    await _takeover(disk)
    await disk.live()
    disk.clock.jump(TTL / 3)


async def _expired(disk: Disk) -> None:
    """A restart after an outage of a day."""
    await _takeover(disk)
    disk.clock.jump(timedelta(days=1))


async def _set_back(disk: Disk) -> None:
    """A restart after the clock was set back."""
    await _due(disk)
    await disk.live()
    disk.clock.jump(-timedelta(days=1))


async def _keys_gone(disk: Disk) -> None:
    """A restart of a server that keeps its keys in memory."""
    await _due(disk)
    await disk.live()
    disk.keys.keys.clear()


async def _journal_shortened(disk: Disk) -> None:
    """A restart after an operator deleted the row of slot A, with the keys gone as well."""
    await _keys_gone(disk)
    del disk.journal.rows["A"]


SCENES: list[Callable[[Disk], Awaitable[None]]] = [
    _nothing,
    _due,
    _takeover,
    _second_round,
    _expired,
    _set_back,
    _keys_gone,
    _journal_shortened,
]


async def _out_of_the_bundle(disk: Disk) -> None:
    """A restart after somebody took the active authority out of the bundle."""
    await disk.live()
    disk.journal.bundle.clear()


SCENES.append(_out_of_the_bundle)


async def _rotate(disk: Disk, rotation: Rotation) -> None:
    """Everything that an operator does, as far as it has not been done before."""
    active = rotation.slots.active
    assert active is not None
    done = len(disk.activated) and active.name == "B"
    if not done:
        prepared = rotation.slots.prepared or await rotation.prepare()
        await rotation.activate(prepared.authority_id)
    old = disk.root("old")
    if old not in disk.journal.bundle:
        return
    if old not in disk.journal.tainted:
        await rotation.taint(authority_id_of(old))
    await rotation.revoke(authority_id_of(old))


def test_a_rotation_by_orders_goes_on_after_a_kill_at_any_moment_and_another_one() -> None:
    async def killed_at(first: int, second: int) -> tuple[bool, bool]:
        disk = Disk()
        await disk.live()
        _, _, once = await disk.live(first, _rotate)
        _, authority, twice = await disk.live(second, _rotate)
        if twice:
            _, authority, _ = await disk.live(None, _rotate)
        disk.check(authority)
        assert disk.journal.bundle == [disk.root("active")]
        assert not disk.journal.tainted
        return once, twice

    async def every_moment() -> None:
        first = 0
        while True:
            second, once, twice = 0, True, True
            while twice:
                once, twice = await killed_at(first, second)
                second += 1
            if not once:
                break
            first += 1
        assert first >= 20

    asyncio.run(every_moment())


@pytest.mark.parametrize("scene", SCENES)
def test_a_kill_at_any_moment_and_another_one_after_it(scene: Callable[[Disk], Awaitable[None]]) -> None:
    async def killed_at(first: int, second: int) -> tuple[bool, bool]:
        disk = Disk()
        await scene(disk)
        _, _, once = await disk.live(first)
        _, authority, twice = await disk.live(second)
        if twice:
            _, authority, _ = await disk.live()
        disk.check(authority)
        return once, twice

    async def every_moment() -> None:
        first = 0
        while True:
            second, once, twice = 0, True, True
            while twice:
                once, twice = await killed_at(first, second)
                second += 1
            if not once:
                break
            first += 1
        assert first >= 5

    asyncio.run(every_moment())


@pytest.mark.parametrize("scene", SCENES)
def test_without_a_kill_all_is_well(scene: Callable[[Disk], Awaitable[None]]) -> None:
    async def once() -> None:
        disk = Disk()
        await scene(disk)
        strikes, authority, killed = await disk.live()
        assert not killed
        assert strikes.moments[0] == "before load"
        disk.check(authority)

    asyncio.run(once())
