"""A kill between any two steps, and another one during the restart after it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from finial.server.ca.journal import authority_in
from finial.server.ca.kinds import JWT, AnyAuthority, authority_id_of
from finial.server.ca.rotate import Rotation
from support.ca_world import TTL, KeyWorld, Make, RootWorld, World
from support.strikes import Killed, Strikes

# Of the keys one kind is enough: nothing tells them apart but their place in the bundle.
kinds = pytest.mark.parametrize("make", [RootWorld, partial(KeyWorld, JWT)], ids=["x509", "jwt"])


class Disk:
    """What a kill leaves."""

    def __init__(self, make: Make) -> None:
        self.world: World[Any] = make()
        self.world.watch = self.on_activated
        self.journal, self.keys, self.clock = self.world.journal, self.world.keys, self.world.clock

    async def live(self, at: int | None = None, order: Order | None = None) -> tuple[Strikes, bool]:
        """One process: starts, does what is due and perhaps ordered, and is killed at one of its moments."""
        strikes = self.journal.strikes = self.keys.strikes = Strikes(at)
        self.world.boot()
        rotation = self.world.rotation
        try:
            await rotation.start()
            await rotation._round()
            if order is not None:
                await order(self, rotation)
                await rotation._round()
        except Killed:
            return strikes, True
        return strikes, False

    def on_activated(self, authority: AnyAuthority) -> None:
        assert authority in self.journal.bundle
        assert authority == self.authority("active")

    def authority(self, status: str) -> AnyAuthority:
        """The authority with this status."""
        (row,) = [row for row in self.journal.rows.values() if row.status == status]
        found: AnyAuthority = authority_in(row, self.journal.kind)
        return found

    def check(self) -> None:
        """What has to hold when a start was not killed."""
        rows = self.journal.rows.values()
        assert self.world.signer() == self.authority("active")
        assert self.authority("active") in self.journal.bundle
        assert len(self.journal.rows) <= 2
        assert sum(row.status == "prepared" for row in rows) <= 1
        assert set(self.keys.keys) <= {row.key_id for row in rows}
        (active,) = [row for row in rows if row.status == "active"]
        assert active.key_id in self.keys.keys


Order = Callable[[Disk, Rotation[Any]], Awaitable[object]]


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


async def _rotate(disk: Disk, rotation: Rotation[Any]) -> None:
    """Everything that an operator does, as far as it has not been done before."""
    active = rotation.slots.active
    assert active is not None
    done = len(disk.world.activated) and active.name == "B"
    if not done:
        prepared = rotation.slots.prepared or await rotation.prepare()
        await rotation.activate(prepared.authority_id)
    old = disk.authority("old")
    if old not in disk.journal.bundle:
        return
    if old not in disk.journal.tainted:
        await rotation.taint(authority_id_of(old))
    await rotation.revoke(authority_id_of(old))


async def every_moment(killed_at: Callable[[int, int], Awaitable[tuple[bool, bool]]]) -> int:
    """Kill at each moment, and again at each moment of what comes afterwards; how many the first were."""
    first = 0
    while True:
        second, once, twice = 0, True, True
        while twice:
            once, twice = await killed_at(first, second)
            second += 1
        if not once:
            return first
        first += 1


@kinds
def test_a_rotation_by_orders_goes_on_after_a_kill_at_any_moment_and_another_one(make: Make) -> None:
    async def killed_at(first: int, second: int) -> tuple[bool, bool]:
        disk = Disk(make)
        await disk.live()
        _, once = await disk.live(first, _rotate)
        _, twice = await disk.live(second, _rotate)
        if twice:
            await disk.live(None, _rotate)
        disk.check()
        assert disk.journal.bundle == [disk.authority("active")]
        assert not disk.journal.tainted
        return once, twice

    assert asyncio.run(every_moment(killed_at)) >= 20


@kinds
@pytest.mark.parametrize("scene", SCENES)
def test_a_kill_at_any_moment_and_another_one_after_it(
    make: Make, scene: Callable[[Disk], Awaitable[None]]
) -> None:
    async def killed_at(first: int, second: int) -> tuple[bool, bool]:
        disk = Disk(make)
        await scene(disk)
        _, once = await disk.live(first)
        _, twice = await disk.live(second)
        if twice:
            await disk.live()
        disk.check()
        return once, twice

    assert asyncio.run(every_moment(killed_at)) >= 5


@kinds
@pytest.mark.parametrize("scene", SCENES)
def test_without_a_kill_all_is_well(make: Make, scene: Callable[[Disk], Awaitable[None]]) -> None:
    async def once() -> None:
        disk = Disk(make)
        await scene(disk)
        strikes, killed = await disk.live()
        assert not killed
        assert strikes.moments[0] == "before load"
        disk.check()

    asyncio.run(once())
