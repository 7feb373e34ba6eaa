from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from finial.core.errors import BundleError, FinialError
from finial.core.ids import TrustDomain
from finial.core.keys import KeyType
from finial.plugin.keys import GuardedKeyManager
from finial.plugins.keys.disk import DiskKeyManager
from finial.server.ca.journal import JournalError, to_row
from finial.server.ca.kinds import JWT, WIT, X509, AnyAuthority, KindName, TokenKind, end_of
from finial.server.ca.offices import AuthorityPlan
from finial.server.ca.rotate import CHECK_EVERY, key_prefix
from finial.server.ca.slots import Status
from support import forge
from support.authorities import slot
from support.ca_world import SECOND, TTL, KeyWorld, Make, RootWorld, logged, worlds
from support.fake_keys import new_key
from support.strikes import Strikes, failed


@worlds
def test_a_new_server_makes_an_authority_and_signs_by_it(make: Make) -> None:
    async def scene() -> None:
        world = make()
        await world.rotation.start()
        assert world.statuses() == {"A": "active"}
        assert world.journal.bundle == world.activated == [world.signer()]
        assert world.rotation.slots.active is not None
        assert set(world.keys.keys) == {world.rotation.slots.active.key_id}
        assert all(key_id.startswith(key_prefix(world.rotation.kind.name)) for key_id in world.keys.keys)

    asyncio.run(scene())


@worlds
def test_a_restart_goes_on_with_the_authority_of_before(make: Make) -> None:
    async def scene() -> None:
        world = make()
        await world.rotation.start()
        before = world.signer()
        world.boot()
        with pytest.raises(FinialError, match="server is initializing"):
            world.signer()
        await world.rotation.start()
        assert world.signer() == before
        assert world.activated == [before, before]
        assert world.journal.bundle == [before]

    asyncio.run(scene())


@worlds
@pytest.mark.parametrize("key_type", [KeyType.EC_P384, KeyType.RSA_2048])
def test_the_plan_is_kept(make: Make, key_type: KeyType) -> None:
    async def scene() -> None:
        world = make()
        world.plan = AuthorityPlan(ttl=TTL, key_type=key_type)
        world.boot()
        await world.rotation.start()
        made = world.signer()
        assert KeyType.of(made.key) is key_type
        assert end_of(made) == world.clock.now() + TTL

    asyncio.run(scene())


def test_a_root_is_named_as_planned() -> None:
    async def scene() -> None:
        world = RootWorld()
        world.plan = AuthorityPlan(ttl=TTL, key_type=KeyType.EC_P256, subject=forge.name("Example"))
        world.boot()
        await world.rotation.start()
        assert b"Example" in world.signer().subject

    asyncio.run(scene())


@worlds
def test_authorities_take_turns_and_each_is_published_long_before_it_signs(make: Make) -> None:
    async def scene() -> None:
        world = make()
        published: dict[AnyAuthority, int] = {}  # to the second it was first seen in the bundle
        first_use: dict[AnyAuthority, int] = {}
        async with world.running():
            for second in range(0, 35 * 60, 3):
                for each in world.journal.bundle:
                    published.setdefault(each, second)
                first_use.setdefault(world.signer(), second)
                assert len(world.journal.rows) <= 2
                await world.clock.advance(3 * SECOND)
        assert len(first_use) >= 5
        assert list(first_use) == world.activated == world.journal.bundle[: len(first_use)]
        for each in list(first_use)[1:]:
            assert first_use[each] - published[each] >= TTL.total_seconds() / 4
        assert len(world.keys.keys) <= 2

    asyncio.run(scene())


@worlds
def test_the_clock_is_looked_at_often_enough_for_it_to_jump(make: Make) -> None:
    async def scene() -> None:
        world = make(timedelta(days=1))
        async with world.running():
            first = world.signer()
            world.clock.jump(timedelta(hours=13))
            await world.clock.advance(CHECK_EVERY)
            assert world.statuses() == {"A": "active", "B": "prepared"}
            assert world.signer() == first
            world.clock.jump(timedelta(days=3))
            await world.clock.advance(CHECK_EVERY)
            second = world.signer()
            assert second not in {first, world.journal.bundle[1]}
            world.clock.jump(-timedelta(days=3))
            await world.clock.advance(CHECK_EVERY)
            assert world.signer() not in {first, second}

    asyncio.run(scene())


@worlds
def test_an_activation_that_a_jump_made_useless_is_used_when_the_clock_is_right_again(make: Make) -> None:
    async def scene() -> None:
        world = make()
        await world.rotation.start()
        first = world.signer()
        activate = world.journal.activate

        async def jumping(*rows: object) -> None:
            await activate(*rows)  # type: ignore[arg-type]
            world.clock.jump(-timedelta(hours=1))

        world.clock.jump(timedelta(hours=2))
        world.journal.activate = jumping  # type: ignore[method-assign, assignment]
        await world.rotation._step()
        await world.rotation._step()
        assert world.office.authority == first
        world.clock.jump(timedelta(hours=1))
        await world.rotation._round()
        assert world.signer() == world.journal.bundle[1] != first

    asyncio.run(scene())


@worlds
@pytest.mark.parametrize("moment", range(8))
def test_a_failure_is_tried_again_until_it_works(
    make: Make, moment: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene() -> None:
        world = make()
        async with world.running():
            first = world.signer()
            strikes = world.strike(moment)
            await world.clock.advance(TTL / 2 + CHECK_EVERY)
            assert world.signer() == first
            await world.clock.advance(TTL / 2)
            assert len(strikes.moments) > moment
            assert world.signer() != first
            assert len(world.keys.keys) == 2
        assert len(world.journal.bundle) == 3  # and the one after the next: nothing was published twice

    caplog.set_level(logging.INFO, "finial.server.ca")
    asyncio.run(scene())
    told = logged(caplog, logging.ERROR) + logged(caplog, logging.WARNING)
    assert len(told) == 1
    assert "again" in told[0]


@worlds
def test_while_nothing_works_the_active_authority_goes_on(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene() -> None:
        world = make()
        async with world.running():
            first = world.signer()

            def down(moment: str) -> None:
                raise failed(moment)

            world.journal.strikes = down  # type: ignore[assignment]
            await world.clock.advance(TTL - 2 * SECOND)
            assert world.signer() == first
            await world.clock.advance(10 * SECOND)
            with pytest.raises(FinialError, match="the (signing certificate|key for tokens) ends at"):
                world.signer()
            world.strike()
            await world.clock.advance(CHECK_EVERY)
            assert world.signer() != first

    asyncio.run(scene())
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert 15 < len(errors) < 100
    values = errors[0].__dict__["finial_fields"]
    assert (values["reason"], values["next_step"]) == ("test-failure", "Let the test pass.")


@worlds
def test_a_step_that_was_done_though_it_failed_is_not_done_twice(make: Make) -> None:
    async def scene() -> None:
        world = make()
        async with world.running():
            await world.clock.advance(TTL / 2 - 15 * SECOND)
            moments = Strikes()
            world.journal.strikes = moments
            moments.at, moments._what = 1, failed  # after prepare
            await world.clock.advance(2 * CHECK_EVERY)
            assert moments.moments == ["before prepare", "after prepare", "before load"]
            assert len(world.journal.bundle) == 2
            assert world.statuses() == {"A": "active", "B": "prepared"}

    asyncio.run(scene())


@worlds
def test_start_fails_when_there_is_nothing_to_sign_by(make: Make) -> None:
    async def scene() -> None:
        for moment in range(6):
            world = make()
            world.strike(moment)
            with pytest.raises(FinialError, match="struck"):
                await world.rotation.start()

    asyncio.run(scene())


def test_a_damaged_or_foreign_journal_ends_the_start() -> None:
    async def scene() -> None:
        world = RootWorld()
        row = to_row(slot("A", Status.ACTIVE), X509)
        world.journal.rows["A"] = replace(row, status="?")
        with pytest.raises(JournalError, match="slot 'A' in the journal of the X.509 authority is"):
            await world.rotation.start()
        world.journal.rows["A"] = row
        world.boot(TrustDomain("b.test"))
        with pytest.raises(JournalError, match="belongs to 'spiffe://a.test', not b.test"):
            await world.rotation.start()
        assert not world.keys.keys

    asyncio.run(scene())


@worlds
@pytest.mark.parametrize("replaced", [False, True])
def test_a_server_whose_keys_are_gone_says_so_and_publishes_new_ones(
    make: Make, replaced: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene() -> None:
        world = make()
        async with world.running():
            await world.clock.advance(TTL / 2)
            await world.clock.advance(CHECK_EVERY)
            assert world.statuses() == {"A": "active", "B": "prepared"}
            first = world.signer()
        for key_id in list(world.keys.keys):
            if replaced:
                world.keys.keys[key_id] = new_key(KeyType.EC_P256)
            else:
                del world.keys.keys[key_id]
        async with world.running():
            assert world.statuses() == {"A": "old", "B": "active"}
            assert world.signer() == world.journal.bundle[2] != first
            assert len(world.journal.bundle) == 3

    asyncio.run(scene())
    told = logged(caplog, logging.WARNING)
    assert len(told) == 2
    assert told[0].startswith(
        "the key of the active authority is gone: another one is published and used at once"
    )
    assert told[1] == "the key of the prepared authority is gone: another one is prepared"


@pytest.mark.spec("JWT-35", "WIT-04", "WIT-46")
@pytest.mark.parametrize("kind", [JWT, WIT])
def test_a_key_id_that_is_taken_is_not_published_and_another_one_is_drawn(kind: TokenKind) -> None:
    async def scene() -> None:
        world = KeyWorld(kind)
        async with world.running():
            draw = world.chance.token

            def again(size: int) -> bytes:
                world.chance.token = draw  # type: ignore[method-assign]
                return bytes.fromhex(world.signer().key_id)

            world.chance.token = again  # type: ignore[method-assign]
            with pytest.raises(BundleError, match="key id"):
                await world.rotation.prepare()
            assert world.journal.bundle == [world.signer()]
            await world.rotation.prepare()
            assert len({each.key_id for each in world.journal.bundle}) == 2

    asyncio.run(scene())


@worlds
def test_a_damaged_key_file_ends_the_start_and_deleting_it_mends_it(make: Make, tmp_path: Path) -> None:
    async def scene() -> None:
        world = make()
        world.keys = GuardedKeyManager(DiskKeyManager(tmp_path), "keymanager(disk)")  # type: ignore[assignment]
        world.boot()
        await world.rotation.start()
        first = world.signer()
        (file,) = tmp_path.iterdir()
        file.write_bytes(file.read_bytes()[:60])
        world.boot()
        with pytest.raises(FinialError, match=rf"^keymanager\(disk\): the key file {file} does not hold"):
            await world.rotation.start()
        file.unlink()
        await world.rotation.start()
        assert world.signer() != first
        assert world.statuses() == {"A": "old", "B": "active"}

    asyncio.run(scene())


@worlds
def test_only_keys_that_are_ours_and_that_no_slot_names_are_deleted(make: Make) -> None:
    async def scene() -> None:
        world = make()
        others = {"wit-a"}
        for kind in KindName:
            others.add(f"{kind}-ca-a-left")
        for key_id in others:
            await world.keys.generate(key_id, KeyType.EC_P256)
        async with world.running():
            ours = f"{world.rotation.kind.name}-ca-a-left"
            assert set(world.keys.keys) > others - {ours}
            assert ours not in world.keys.keys
            assert len(world.keys.keys) == len(others)

    asyncio.run(scene())


@worlds
def test_the_key_of_an_old_authority_is_not_needed(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        world = make()
        async with world.running():
            await world.clock.advance(TTL - 30 * SECOND)
        old = world.rotation.slots.old
        assert old is not None
        del world.keys.keys[old.key_id]
        before = world.signer()
        async with world.running():
            assert world.signer() == before

    asyncio.run(scene())
    assert not logged(caplog, logging.WARNING)
