"""Orders about the authority over the wire: what is done, what is waited for, what is refused."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from finial.core.ids import SpiffeID
from finial.core.x509cert import Certificate
from finial.rpc import RpcError, StatusCode
from finial.server.api.authority_desk import WAIT
from finial.server.api.chain import Caller
from finial.server.ca import orders
from finial.server.ca.kinds import authority_id_of
from finial.server.ca.orders import OrderError
from finial.server.ca.slots import Slot
from finial.server.fleet import LEAVE, POLLING_SETTLE, SETTLE
from finial.server.policy import Role
from finial.wire.force import FORCE
from finial.wire.gen import spire_api_server_bundle_v1 as bundle_pb
from finial.wire.gen import spire_api_server_localauthority_v1 as pb
from finial.wire.status import reason_id
from support.authority_world import SERVICE, AuthorityWorld, authorities

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
FORCED: dict[str, Any] = {"metadata": [FORCE]}
REFUSED = StatusCode.FAILED_PRECONDITION


def _activating(world: AuthorityWorld, authority_id: str, **more: Any) -> asyncio.Task[Slot[Certificate]]:
    """An activation that has no wire to wait for, so that the test's clock is the only one."""
    caller = Caller(Role.LOCAL, "unix:1", **more)
    return asyncio.ensure_future(world.desks.x509.activate(authority_id, caller))


def _revoking(world: AuthorityWorld, authority_id: str) -> asyncio.Task[None]:
    """A revocation, likewise."""
    return asyncio.ensure_future(world.desks.x509.revoke(authority_id, Caller(Role.LOCAL, "unix:1")))


def test_a_whole_rotation_without_agents_waits_for_nobody(tmp_path: Path) -> None:
    async def main() -> None:
        async with authorities(tmp_path / "db") as world:
            first = authority_id_of(world.signer)
            state = await world.state()
            assert state.active.authority_id == first
            assert state.active.expires_at == int(world.signer.not_after.timestamp())
            assert not state.HasField("prepared")
            assert not state.HasField("old")
            second = await world.prepare()
            assert world.published == [first, second]
            assert (await world.state()).prepared.authority_id == second
            assert await world.activate(second) == second == authority_id_of(world.signer)
            assert (await world.state()).old.authority_id == first
            before = world.sequence
            await world.taint(first)
            assert world.sequence == before  # or SPIRE's agents would tell workloads that they are nobody
            await world.revoke(first)
            assert world.published == [second]
            state = await world.state()
            assert (state.active.authority_id, state.old.authority_id) == (second, first)
            # The server is by now somebody else on its port, too.
            leaf = world.identity._chain[0]
            assert world.signer.key is not None
            assert leaf.signed_by(world.signer.key)

    asyncio.run(main())


def test_an_activation_waits_for_every_agent_and_a_little_longer(tmp_path: Path) -> None:
    async def main() -> None:
        async with authorities(tmp_path / "db") as world:
            one, other = await world.attest("1", "2")
            world.connect(one, other)
            before = world.signer
            prepared = await world.prepare()
            world.fleet.has_bundle(one, world.sequence)
            task = _activating(world, prepared)
            await world.clock.advance(10 * SECOND)
            assert (task.done(), world.signer) == (False, before)
            world.fleet.has_bundle(other, world.sequence)
            await world.clock.advance(SETTLE - SECOND / 100)
            assert (task.done(), world.signer) == (False, before)
            await world.clock.advance(SECOND / 10)
            assert (await task).authority_id == prepared
            assert authority_id_of(world.signer) == prepared

    asyncio.run(main())


def test_an_agent_that_polls_is_given_longer(tmp_path: Path) -> None:
    async def main() -> None:
        async with authorities(tmp_path / "db") as world:
            (agent,) = await world.attest("1")
            before, prepared = world.signer, await world.prepare()
            end = world.clock.now() + timedelta(hours=1)
            world.doorman.caller = Caller(Role.ANY, "192.0.2.1", SpiffeID(agent), expires_at=end)
            part = bundle_pb.GetBundleRequest()
            part.output_mask.refresh_hint = True
            await world.call(bundle_pb.Bundle.GetBundle, part)
            assert world.fleet.rollout(prepared).behind
            await world.call(bundle_pb.Bundle.GetBundle, bundle_pb.GetBundleRequest())
            assert not world.fleet.rollout(prepared).behind
            task = _activating(world, prepared)
            await world.clock.advance(POLLING_SETTLE - SECOND / 100)
            assert (task.done(), world.signer) == (False, before)
            await world.clock.advance(SECOND / 10)
            await task

    asyncio.run(main())


@pytest.mark.parametrize("patience", [None, 10, 600])
def test_an_activation_that_agents_do_not_follow_names_them(tmp_path: Path, patience: int | None) -> None:
    async def main() -> None:
        async with authorities(tmp_path / "db") as world:
            ids = await world.attest(*map(str, range(1, 8)), "x" * 300)
            world.connect(*ids)
            prepared = await world.prepare()
            world.fleet.has_bundle(ids[0], world.sequence)
            before = world.signer
            seconds = None if patience is None else timedelta(seconds=patience)
            task = _activating(world, prepared, patience=seconds)
            most = WAIT if seconds is None else min(WAIT, seconds - SECOND)
            await world.clock.advance(most - SECOND / 10)
            assert not task.done()
            await world.clock.advance(SECOND / 2)
            assert task.done()
            with pytest.raises(OrderError) as caught:
                await task
            assert caught.value.reason is orders.LAGGING
            told = caught.value.message
            assert told.startswith("7 of 8 agents do not have this authority yet: spiffe://example.org/")
            assert told.count("(connected, but has not acknowledged the bundle)") == 5
            assert told.endswith(
                "and 2 more; `finial server authority activate --force` does not wait for them"
            )
            assert world.signer == before
            assert (await world.state()).prepared.authority_id == prepared

    asyncio.run(main())


def test_whoever_gives_up_waiting_has_changed_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with authorities(tmp_path / "db") as world:
            world.connect(*await world.attest("1"))
            prepared = await world.prepare()
            task = _activating(world, prepared)
            await world.clock.advance(SECOND)
            task.cancel()
            await world.clock.advance(HOUR)
            assert task.cancelled()
            assert (await world.state()).prepared.authority_id == prepared

    asyncio.run(main())


def test_an_activation_that_has_no_time_to_settle_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        async with authorities(tmp_path / "db") as world:
            (agent,) = await world.attest("1")
            world.connect(agent)
            prepared = await world.prepare()
            world.fleet.has_bundle(agent, world.sequence)
            request = pb.ActivateX509AuthorityRequest(authority_id=prepared)
            code, told = await world.refused(SERVICE.ActivateX509Authority, request, timeout=SECOND)
            assert code is REFUSED
            assert told.startswith("the agents have had this authority for 0.0 s, and it is used after 0.5 s")
            with pytest.raises(RpcError) as caught:
                await world.activate(prepared, timeout=SECOND)
            assert reason_id(caught.value) == "ca-agents-behind"

    asyncio.run(main())


def test_whoever_insists_waits_for_nobody_and_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with authorities(tmp_path / "db") as world:
            world.connect(*await world.attest("1"))
            operator = Caller(Role.ADMIN, "192.0.2.1", SpiffeID("spiffe://example.org/operator"))
            world.doorman.caller = operator
            new, old = await world.replace()
            assert authority_id_of(world.signer) == new
            await world.taint(old)
            await world.revoke(old, **FORCED)
            assert world.published == [new]

    caplog.set_level(logging.INFO, "finial.server")
    asyncio.run(main())
    told = {record.message: record.__dict__["finial_fields"] for record in caplog.records}
    for event, forced in (
        ("authority prepared by order", True),
        ("authority activated by order", True),
        ("authority tainted by order", False),
        ("authority revoked by order", True),
    ):
        assert told[event]["by"] == "spiffe://example.org/operator"
        assert told[event]["forced"] is (forced and event != "authority prepared by order")


def test_nothing_is_revoked_while_something_rests_on_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with authorities(tmp_path / "db") as world:
            one, other = await world.attest("1", "2")
            world.connect(one, other)
            world.fleet.resting(one, {authority_id_of(world.signer): 3})
            new, old = await world.replace()
            await world.taint(old)
            code, told = await world.unrevoked(old)
            assert code is REFUSED
            assert told == (
                "2 agents may have SVIDs that rest on this authority, 4 as far as is known: "
                f"{one} (connected), {other} (connected); "
                "`finial server authority revoke --force` does not wait for them"
            )
            world.fleet.resting(one, {old: 0, new: 3})
            _, told = await world.unrevoked(old)
            assert told.startswith(
                "1 agent may have SVIDs that rest on this authority, 1 as far as is known: "
            )
            world.fleet.resting(other, {new: 1})
            # Workloads have been handed other SVIDs, and may use the ones so far for a moment.
            task = _revoking(world, old)
            await world.clock.advance(LEAVE - SECOND / 100)
            assert (task.done(), world.published) == (False, [old, new])
            await world.clock.advance(SECOND / 10)
            await task
            assert world.published == [new]

    asyncio.run(main())


def test_a_revocation_that_waits_is_refused_when_something_rests_on_it_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with authorities(tmp_path / "db") as world:
            (agent,) = await world.attest("1")
            world.connect(agent)
            new, old = await world.replace()
            await world.taint(old)
            world.fleet.resting(agent, {new: 1})
            task = _revoking(world, old)
            await world.clock.advance(SECOND)
            world.fleet.resting(agent, {old: 1})
            await world.clock.advance(LEAVE)
            with pytest.raises(OrderError, match="1 agent may have SVIDs"):
                await task
            assert world.published == [old, new]

    asyncio.run(main())


def test_one_of_two_revocations_that_wait_comes_too_late(tmp_path: Path) -> None:
    async def main() -> None:
        async with authorities(tmp_path / "db") as world:
            (agent,) = await world.attest("1")
            world.connect(agent)
            new, old = await world.replace()
            await world.taint(old)
            world.fleet.resting(agent, {new: 1})
            task = _revoking(world, old)
            await world.clock.advance(SECOND)
            await world.revoke(old, **FORCED)
            await world.clock.advance(LEAVE)
            with pytest.raises(RpcError) as caught:
                await task
            assert reason_id(caught.value) == orders.GONE.id

    asyncio.run(main())


def test_a_revocation_that_has_no_time_to_wait_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        async with authorities(tmp_path / "db") as world:
            (agent,) = await world.attest("1")
            world.connect(agent)
            new, old = await world.replace()
            await world.taint(old)
            world.fleet.resting(agent, {new: 1})
            with pytest.raises(RpcError) as caught:
                await world.revoke(old, timeout=SECOND)
            assert caught.value.code is REFUSED
            assert reason_id(caught.value) == "ca-authority-in-use"
            assert caught.value.message == (
                "workloads have had other SVIDs for 0.0 s, and may take 5 s; "
                "`finial server authority revoke --force` does not wait for them"
            )

    asyncio.run(main())


def test_what_has_ended_rests_on_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with authorities(tmp_path / "db") as world:
            new, _ = await world.replace()
            world.connect(*await world.attest("1", ttl=2 * HOUR))
            assert await world.replace() == (authority_id_of(world.signer), new)
            await world.taint(new)
            assert (await world.unrevoked(new))[0] is REFUSED
            # All that it has signed is the SVID of the server, whatever the agent says.
            await world.clock.advance(HOUR - SECOND)
            assert (await world.unrevoked(new))[0] is REFUSED
            await world.clock.advance(SECOND)
            await world.revoke(new)
            assert new not in world.published

    asyncio.run(main())


def test_a_server_without_an_authority_is_initializing(tmp_path: Path) -> None:
    async def main() -> None:
        async with authorities(tmp_path / "db") as world:
            slots = world.rotations["X509"]._slots
            assert slots.active is not None
            world.rotations["X509"]._slots = slots.lose(slots.active.name)
            initializing = StatusCode.UNAVAILABLE, "server is initializing"
            request = pb.GetX509AuthorityStateRequest()
            assert await world.refused(SERVICE.GetX509AuthorityState, request) == initializing

    asyncio.run(main())


def test_a_database_that_fails_is_told_as_such(tmp_path: Path) -> None:
    async def main() -> None:
        async with authorities(tmp_path / "db") as world:
            await world.stored.store.close()
            code, _ = await world.refused(SERVICE.PrepareX509Authority, pb.PrepareX509AuthorityRequest())
            assert code is StatusCode.UNAVAILABLE

    asyncio.run(main())


def test_what_an_operator_taints_is_seen_by_everybody_who_asks(tmp_path: Path) -> None:
    async def main() -> None:
        async with authorities(tmp_path / "db") as world:
            _, old = await world.replace()
            await world.taint(old)
            reply = await world.call(bundle_pb.Bundle.GetBundle, bundle_pb.GetBundleRequest())
            tainted = [Certificate.parse(each.asn1) for each in reply.x509_authorities if each.tainted]
            assert [authority_id_of(each) for each in tainted] == [old]

    asyncio.run(main())


def test_of_agents_nobody_asks_who_is_none(tmp_path: Path) -> None:
    async def main() -> None:
        async with authorities(tmp_path / "db") as world:
            await world.attest("1")
            world.doorman.caller = Caller(Role.ANY, "192.0.2.1", SpiffeID("spiffe://example.org/web"))
            await world.call(bundle_pb.Bundle.GetBundle, bundle_pb.GetBundleRequest())
            world.doorman.caller = replace(world.doorman.caller, id=None)
            await world.call(bundle_pb.Bundle.GetBundle, bundle_pb.GetBundleRequest())
            assert len(world.fleet._agents) == 1

    asyncio.run(main())
