"""Orders between the steps that are due, and authorities that somebody has taken out or tainted by hand."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

import pytest

from finial.server.ca.kinds import authority_id_of
from finial.server.ca.orders import OrderError
from finial.server.ca.rotate import CHECK_EVERY
from finial.server.ca.slots import Status
from support import forge
from support.ca_world import SECOND, TTL, Make, logged, worlds
from support.clock import settle


@worlds
def test_orders_in_their_order(make: Make) -> None:
    async def scene() -> None:
        world = make()
        async with world.running():
            first = world.signer()
            prepared = await world.rotation.prepare()
            assert world.signer() == first
            assert world.statuses() == {"A": "active", "B": "prepared"}
            assert world.journal.bundle == [first, prepared.authority]
            activated = await world.rotation.activate(prepared.authority_id)
            assert world.rotation.last_end(prepared.authority) == world.clock.now()
            assert activated.authority == prepared.authority == world.signer() == world.activated[-1]
            assert world.statuses() == {"A": "old", "B": "active"}
            assert await world.rotation.taint(authority_id_of(first)) == first
            assert world.journal.tainted == {first}
            assert await world.rotation.revoke(authority_id_of(first)) == first
            assert world.journal.bundle == [prepared.authority]
            assert world.statuses() == {"A": "old", "B": "active"}  # as SPIRE goes on showing it
        before = world.signer()
        async with world.running():
            assert world.signer() == before

    asyncio.run(scene())


@worlds
def test_what_is_ordered_is_tidied_up_after_without_delay(make: Make) -> None:
    async def scene() -> None:
        world = make()
        async with world.running():
            first = await world.rotation.prepare()
            second = await world.rotation.prepare()
            await settle()  # no time passes
            assert first.name is second.name
            assert set(world.keys.keys) == {slot.key_id for slot in world.rotation.slots}
            assert first.key_id not in world.keys.keys
            assert len(world.journal.bundle) == 3
            # It has never signed and never will, and still it can be taken out.
            assert await world.rotation.taint(first.authority_id) == first.authority
            assert await world.rotation.revoke(first.authority_id) == first.authority
            assert first.authority not in world.journal.bundle

    asyncio.run(scene())


@worlds
def test_an_ordered_successor_is_activated_when_its_time_comes(make: Make) -> None:
    async def scene() -> None:
        world = make()
        async with world.running():
            prepared = await world.rotation.prepare()
            await world.clock.advance(TTL - 70 * SECOND)
            assert world.signer() == world.journal.bundle[0]
            await world.clock.advance(20 * SECOND)
            assert world.signer() == prepared.authority

    asyncio.run(scene())


@worlds
def test_an_old_authority_that_was_replaced_can_still_be_revoked(make: Make) -> None:
    async def scene() -> None:
        world = make()
        async with world.running():
            first = world.signer()
            await world.rotation.activate((await world.rotation.prepare()).authority_id)
            await world.rotation.prepare()
            assert authority_id_of(first) not in {slot.authority_id for slot in world.rotation.slots}
            await world.rotation.taint(authority_id_of(first))
            await world.rotation.revoke(authority_id_of(first))
            assert first not in world.journal.bundle

    asyncio.run(scene())


@worlds
def test_refused_orders_change_nothing_and_raise_no_doubt(make: Make) -> None:
    async def scene() -> None:
        world = make()
        async with world.running():
            first = authority_id_of(world.signer())
            prepared = await world.rotation.prepare()
            rows, bundle = dict(world.journal.rows), list(world.journal.bundle)
            for order, authority_id in (
                (world.rotation.activate, first),
                (world.rotation.taint, first),
                (world.rotation.taint, prepared.authority_id),
                (world.rotation.revoke, first),
                (world.rotation.revoke, "00"),
            ):
                with pytest.raises(OrderError):
                    await order(authority_id)
                assert not world.rotation._doubtful
            world.journal.bundle.append(world.office.make("ff" * 16, forge.key(), world.clock.now()))
            foreign = authority_id_of(world.journal.bundle[-1])
            world.journal.foreign.add(foreign)
            with pytest.raises(OrderError, match="unexpected authority ID"):
                await world.rotation.taint(foreign)
            assert (world.journal.rows, world.journal.bundle[:-1]) == (rows, bundle)
            assert not world.journal.tainted

    asyncio.run(scene())


@worlds
def test_orders_before_the_start_find_nothing_to_work_on(make: Make) -> None:
    async def scene() -> None:
        world = make()
        with pytest.raises(OrderError, match="server is initializing"):
            await world.rotation.prepare()

    asyncio.run(scene())


@worlds
def test_an_order_that_is_given_up_in_the_middle_is_found_out_about(make: Make) -> None:
    async def scene() -> None:
        world = make()
        async with world.running():
            first = world.signer()
            prepared = await world.rotation.prepare()
            reached, go_on = asyncio.Event(), asyncio.Event()
            activate = world.journal.activate

            async def slow(*rows: object) -> None:
                await activate(*rows)  # type: ignore[arg-type]
                reached.set()
                await go_on.wait()

            world.journal.activate = slow  # type: ignore[method-assign, assignment]
            order = asyncio.create_task(world.rotation.activate(prepared.authority_id))
            await reached.wait()
            assert world.signer() == first
            order.cancel()
            await settle()
            assert world.signer() == prepared.authority  # no time had to pass

    asyncio.run(scene())


@worlds
def test_steps_that_are_due_wait_for_an_order_and_the_other_way_round(make: Make) -> None:
    async def scene() -> None:
        world = make()
        async with world.running():
            reached, go_on = asyncio.Event(), asyncio.Event()
            prepare = world.journal.prepare

            async def slow(*rows: object) -> None:
                reached.set()
                await go_on.wait()
                await prepare(*rows)  # type: ignore[arg-type]

            world.journal.prepare = slow  # type: ignore[method-assign, assignment]
            order = asyncio.create_task(world.rotation.prepare())
            await reached.wait()
            await world.clock.advance(TTL / 2 + CHECK_EVERY)  # one would be prepared by itself now
            go_on.set()
            prepared = await order
            await world.clock.advance(CHECK_EVERY)
            assert len(world.journal.bundle) == 2
            assert world.journal.bundle[1] == prepared.authority

    asyncio.run(scene())


@worlds
@pytest.mark.parametrize("status", [Status.ACTIVE, Status.PREPARED])
def test_an_authority_that_was_taken_out_of_the_bundle_is_replaced_at_once(
    make: Make, status: Status, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene() -> None:
        world = make()
        async with world.running():
            prepared = await world.rotation.prepare()
            first = world.signer()
        gone = first if status is Status.ACTIVE else prepared.authority
        world.journal.bundle.remove(gone)
        async with world.running():
            used = world.signer()
            assert used == (prepared.authority if status is Status.ACTIVE else first)
            if status is Status.PREPARED:
                await world.clock.advance(TTL / 2 + CHECK_EVERY)
                assert len(world.journal.bundle) == 2
        assert gone not in world.journal.bundle

    asyncio.run(scene())
    (told,) = logged(caplog, logging.WARNING)
    assert told.startswith(f"the {status} authority has been taken out of the bundle: another one is p")


@worlds
def test_what_has_ended_and_was_taken_out_of_the_bundle_is_no_news(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene() -> None:
        world = make()
        async with world.running():
            await world.rotation.prepare()
        world.clock.jump(TTL)
        world.journal.bundle.clear()
        async with world.running():
            assert world.journal.bundle == [world.signer()]

    asyncio.run(scene())
    assert not logged(caplog, logging.WARNING)


@worlds
def test_without_a_bundle_nothing_is_trusted_and_another_authority_is_published(make: Make) -> None:
    async def scene() -> None:
        world = make()
        await world.rotation.start()
        world.journal.bundle.clear()
        async with world.running():
            assert world.journal.bundle == [world.signer()]

    asyncio.run(scene())


@worlds
def test_an_active_authority_that_was_tainted_by_hand_gives_way_to_a_published_one(make: Make) -> None:
    async def scene() -> None:
        world = make()
        await world.rotation.start()
        first = world.signer()
        world.journal.tainted.add(first)
        async with world.running():
            assert world.statuses() == {"A": "active", "B": "prepared"}
            assert world.signer() == first
            await world.clock.advance(timedelta(minutes=1, seconds=10))
            assert world.signer() == world.journal.bundle[1] != first

    asyncio.run(scene())
