"""Orders about the keys of tokens: what is done, what is waited for, until when tokens may be out."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from finial.core.ids import SpiffeID
from finial.core.jwtsvid import JWTRequest
from finial.core.token_authority import TokenAuthority
from finial.core.witsvid import WITRequest
from finial.rpc import StatusCode
from finial.server.api.authority_desk import Desk
from finial.server.api.chain import Caller
from finial.server.ca import orders
from finial.server.ca.kinds import JWT, with_authority
from finial.server.ca.orders import OrderError
from finial.server.fleet import SETTLE
from finial.server.policy import Role
from finial.server.store import bundles
from finial.wire.force import FORCE
from finial.wire.gen import finial_api_server_fleet_v1 as fleet_pb
from finial.wire.gen import spire_api_server_bundle_v1 as bundle_pb
from finial.wire.gen import spire_api_server_localauthority_v1 as pb
from support import forge
from support.authority_world import AuthorityWorld, authorities
from support.server_store import DOMAIN

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
OPERATOR = Caller(Role.LOCAL, "unix:1")
WEB = SpiffeID(f"spiffe://{DOMAIN}/web")

each_kind = pytest.mark.parametrize("kind", ["JWT", "WIT"])


def _desk(world: AuthorityWorld, kind: str) -> Desk[TokenAuthority]:
    """For orders that have no wire to wait for, so that the test's clock is the only one."""
    desk = world.desks.jwt if kind == "JWT" else world.desks.wit
    assert desk is not None
    return desk


def _sign(world: AuthorityWorld, kind: str, ttl: timedelta = 5 * MINUTE) -> None:
    if kind == "JWT":
        world.jwt.sign_jwt(JWTRequest(spiffe_id=WEB, audience=("db",)), ttl)
    else:
        world.wit.sign_wit(WITRequest(spiffe_id=WEB, public_key=forge.key().public_key()), ttl)


async def _rollout(world: AuthorityWorld, authority_id: str) -> fleet_pb.GetRolloutResponse:
    request = fleet_pb.GetRolloutRequest(authority_id=authority_id)
    return await world.call(fleet_pb.Fleet.GetRollout, request)


@each_kind
def test_a_whole_rotation_touches_nothing_of_the_other_kinds(tmp_path: Path, kind: str) -> None:
    async def main() -> None:
        async with authorities(tmp_path / "db") as world:
            others = {other: world.keys(other) for other in {"X509", "JWT", "WIT"} - {kind}}
            first, sequence = world.active(kind), world.sequence
            state = await world.state(kind)
            assert state.active.authority_id == first
            assert state.active.expires_at == int((world.clock.now() + timedelta(days=1)).timestamp())
            assert not (state.HasField("prepared"))
            assert not (state.HasField("old"))
            second = await world.prepare(kind)
            assert (world.keys(kind), world.sequence) == ([first, second], sequence + 1)
            assert (await world.state(kind)).prepared.authority_id == second
            assert await world.activate(second, kind) == second == world.active(kind)
            reply = await world.order("Taint", kind, first)
            assert reply.tainted_authority == pb.AuthorityState(authority_id=first)
            assert world.sequence == sequence + 1  # a taint is for agents alone
            bundle = await world.call(bundle_pb.Bundle.GetBundle, bundle_pb.GetBundleRequest())
            keys = bundle.jwt_authorities if kind == "JWT" else bundle.wit_authorities
            assert {each.key_id: each.tainted for each in keys} == {first: True, second: False}
            await world.revoke(first, kind, metadata=[FORCE])
            assert (world.keys(kind), world.sequence) == ([second], sequence + 2)
            state = await world.state(kind)
            assert (state.active.authority_id, state.old.authority_id) == (second, first)
            assert {other: world.keys(other) for other in others} == others

    asyncio.run(main())


@each_kind
def test_an_activation_waits_for_every_agent(tmp_path: Path, kind: str) -> None:
    async def main() -> None:
        async with authorities(tmp_path / "db") as world:
            (agent,) = await world.attest("1")
            world.connect(agent)
            before, prepared = world.active(kind), await world.prepare(kind)
            assert (await _rollout(world, prepared)).behind[0].agent_id == agent
            task = asyncio.ensure_future(_desk(world, kind).activate(prepared, OPERATOR))
            await world.clock.advance(10 * SECOND)
            assert (task.done(), world.active(kind)) == (False, before)
            world.fleet.has_bundle(agent, world.sequence)
            await world.clock.advance(SETTLE + SECOND / 10)
            assert (await task).authority_id == prepared == world.active(kind)
            # Whoever does not follow is named, with the words that do without it.
            prepared = await world.prepare(kind)
            code, told = await world.disordered("Activate", kind, prepared, timeout=SECOND)
            assert code is StatusCode.FAILED_PRECONDITION
            assert told.startswith("1 of 1 agents does not have this authority yet: ")
            insist = f"`finial server authority activate --kind {kind.lower()} --force`"
            assert told.endswith(f"{insist} does not wait for them")

    asyncio.run(main())


@each_kind
def test_nothing_is_revoked_while_a_token_may_be_out(tmp_path: Path, kind: str) -> None:
    async def main() -> None:
        async with authorities(tmp_path / "db") as world:
            await world.replace(kind)
            (agent,) = await world.attest("1")  # whatever agents hold says nothing of tokens
            world.connect(agent)
            _sign(world, kind, 2 * MINUTE)
            _sign(world, kind)
            end = world.clock.now() + 5 * MINUTE
            _, old = await world.replace(kind)
            _sign(world, kind, 60 * MINUTE)
            await world.taint(old, kind)
            found = await _rollout(world, old)
            assert (found.last_end, found.resting, len(found.resting_on)) == (int(end.timestamp()), 0, 0)
            code, told = await world.unrevoked(old, kind)
            assert code is StatusCode.FAILED_PRECONDITION
            assert told == (
                f"{kind}-SVIDs that this authority has signed may be valid until 2026-11-24 12:05:00 UTC; "
                f"`finial server authority revoke --kind {kind.lower()} --force` does not wait for them"
            )
            await world.clock.advance(5 * MINUTE - 20 * SECOND)
            # For the last seconds it waits.
            task = asyncio.ensure_future(_desk(world, kind).revoke(old, OPERATOR))
            await world.clock.advance(19 * SECOND)
            assert (task.done(), old in world.keys(kind)) == (False, True)
            await world.clock.advance(2 * SECOND)
            await task
            assert old not in world.keys(kind)

    asyncio.run(main())


@each_kind
def test_what_was_signed_before_the_server_began_may_live_as_long_as_its_key(
    tmp_path: Path, kind: str
) -> None:
    async def main() -> None:
        async with authorities(tmp_path / "db") as world:
            signer = world.jwt if kind == "JWT" else world.wit
            signer._signed.clear()  # as after a restart
            _, old = await world.replace(kind)
            await world.taint(old, kind)
            with pytest.raises(OrderError, match=r"may be valid until 2026-11-25 12:00:00 UTC") as caught:
                await _desk(world, kind).revoke(old, OPERATOR)
            assert caught.value.reason is orders.TOKENS_OUT
            await world.revoke(old, kind, metadata=[FORCE])
            assert old not in world.keys(kind)

    asyncio.run(main())


def test_of_a_key_without_an_end_that_somebody_published_nobody_can_say(tmp_path: Path) -> None:
    async def main() -> None:
        async with authorities(tmp_path / "db") as world:
            theirs = TokenAuthority(key_id="theirs", key=forge.key().public_key())
            change = partial(with_authority, JWT, authority=theirs)
            await world.stored.store.write(lambda tx: bundles.revise(tx, DOMAIN.name, change))
            await world.taint("theirs", "JWT")
            assert (await _rollout(world, "theirs")).last_end == 0
            _, told = await world.unrevoked("theirs", "JWT")
            assert told.startswith(
                "nobody can say when the last JWT-SVID ends that this authority has signed;"
            )
            await world.revoke("theirs", "JWT", metadata=[FORCE])
            assert "theirs" not in world.keys("JWT")

    asyncio.run(main())


@each_kind
def test_how_far_a_key_has_come_that_is_not_used_yet(tmp_path: Path, kind: str) -> None:
    async def main() -> None:
        async with authorities(tmp_path / "db") as world:
            prepared = await world.prepare(kind)
            assert (await _rollout(world, prepared)).last_end == 0
            _sign(world, kind)
            active = await _rollout(world, world.active(kind))
            assert active.last_end == int((world.clock.now() + 5 * MINUTE).timestamp())

    asyncio.run(main())
