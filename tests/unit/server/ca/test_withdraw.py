from __future__ import annotations

import asyncio
import logging

import pytest

from finial.core.errors import FinialError
from finial.core.keys import KeyType
from finial.server.ca.kinds import JWT, WIT, KindName
from finial.server.ca.withdraw import leave, withdraw
from support.ca_world import KeyWorld, logged
from support.strikes import Strikes


async def _had() -> KeyWorld:
    """A server that has signed WIT-SVIDs, and is not there any more."""
    world = KeyWorld(WIT)
    async with world.running():
        await world.rotation.activate((await world.rotation.prepare()).authority_id)
    await world.keys.generate("jwt-ca-a-1", KeyType.EC_P256)
    return world


def test_nothing_is_left_of_what_was_opted_out_of(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        world = await _had()
        assert len(world.journal.bundle) == len(world.journal.rows) == 2
        for _ in range(2):
            await withdraw(KindName.WIT, world.journal, world.keys)
            assert not world.journal.bundle
            assert not world.journal.rows
            assert set(world.keys.keys) == {"jwt-ca-a-1"}

    asyncio.run(scene())
    (told,) = logged(caplog, logging.WARNING)
    assert told.startswith("authorities have been taken out of the bundle")


def test_what_fails_or_is_killed_in_the_middle_is_done_at_the_next_start() -> None:
    async def scene() -> None:
        for moment in range(6):
            world = await _had()
            world.strike(moment)
            with pytest.raises(FinialError, match="struck"):
                await withdraw(KindName.WIT, world.journal, world.keys)
            world.journal.strikes = world.keys.strikes = Strikes()
            await withdraw(KindName.WIT, world.journal, world.keys)
            assert not world.journal.bundle
            assert set(world.keys.keys) == {"jwt-ca-a-1"}

    asyncio.run(scene())


def test_whoever_opts_in_again_begins_anew() -> None:
    async def scene() -> None:
        world = await _had()
        before = set(world.journal.bundle)
        await withdraw(KindName.WIT, world.journal, world.keys)
        async with world.running():
            assert world.signer() not in before

    asyncio.run(scene())


def test_keys_of_tokens_that_are_out_stay_and_so_does_everything_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scene() -> None:
        world = KeyWorld(JWT)
        await leave(JWT, world.journal)
        async with world.running():
            before = world.signer()
        rows, keys = dict(world.journal.rows), dict(world.keys.keys)
        await leave(JWT, world.journal)
        assert (world.journal.rows, world.keys.keys) == (rows, keys)
        assert world.journal.bundle == [before]
        async with world.running():
            assert world.signer() == before

    caplog.set_level(logging.INFO, "finial.server.ca")
    asyncio.run(scene())
    told = [each for each in caplog.records if "stay in the bundle" in each.getMessage()]
    assert [each.__dict__["finial_fields"] for each in told] == [{"kind": "jwt", "authorities": 1}]
