"""What operators are told of all agents together."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from finial.rpc import StatusCode
from finial.server.api import fleet
from finial.server.ca.kinds import authority_id_of
from finial.wire.gen import finial_api_server_fleet_v1 as pb
from support.authority_world import AuthorityWorld, Delivery, authorities
from support.server_store import an_entry

FLEET = pb.Fleet


async def _rollout(world: AuthorityWorld, authority_id: str) -> pb.GetRolloutResponse:
    return await world.call(FLEET.GetRollout, pb.GetRolloutRequest(authority_id=authority_id))


def test_how_far_an_authority_has_come(tmp_path: Path) -> None:
    async def main() -> None:
        async with authorities(tmp_path / "db") as world:
            one, other = await world.attest("1", "2")
            world.connect(one, other)
            active = authority_id_of(world.signer)
            prepared = await world.prepare()
            world.fleet.has_bundle(one, world.sequence)
            world.fleet.resting(one, {active: 1 << 40})
            found = await _rollout(world, prepared)
            assert found == pb.GetRolloutResponse(
                live=2,
                behind=[pb.Laggard(agent_id=other, why="connected, but has not acknowledged the bundle")],
                settle_ms=500,
            )
            found = await _rollout(world, active)
            assert found.resting == (1 << 32) - 1
            assert found.resting_on[1] == pb.Laggard(agent_id=other, svids=1, why="connected")
            # All that it has signed is the SVID of the server.
            assert found.last_end == int((world.clock.now() + timedelta(hours=1)).timestamp())

    asyncio.run(main())


def test_more_laggards_than_anybody_reads_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "_NAMED", 3)

    async def main() -> None:
        async with authorities(tmp_path / "db") as world:
            await world.attest(*map(str, range(5)))
            found = await _rollout(world, authority_id_of(world.signer))
            assert found.live == 5
            assert [bool(each.agent_id) for each in found.behind] == [True, True, True, False, False]

    asyncio.run(main())


def test_what_is_no_authority_has_come_nowhere(tmp_path: Path) -> None:
    async def main() -> None:
        async with authorities(tmp_path / "db") as world:
            refused = await world.refused(FLEET.GetRollout, pb.GetRolloutRequest())
            assert refused == (StatusCode.INVALID_ARGUMENT, "no authority ID provided")
            code, _ = await world.refused(FLEET.GetRollout, pb.GetRolloutRequest(authority_id="00"))
            assert code is StatusCode.NOT_FOUND

    asyncio.run(main())


def test_how_far_an_entry_has_come(tmp_path: Path) -> None:
    async def main() -> None:
        async with authorities(tmp_path / "db") as world:
            await world.stored.create(an_entry("web"))
            world.deliveries.found = [
                Delivery(agent_id="a", revision=3, applied=0.0, signed=0.0104, delivered=1.5, current=True),
                Delivery(agent_id="b", connected=False, trouble="no"),
            ]
            world.deliveries.more = 5
            found = await world.call(FLEET.GetDelivery, pb.GetDeliveryRequest(entry_id="web"))
            assert found == pb.GetDeliveryResponse(
                agents=[
                    pb.Delivery(
                        agent_id="a",
                        connected=True,
                        revision=3,
                        applied_ms=0,
                        signed_ms=10,
                        delivered_ms=1_500,
                        current=True,
                    ),
                    pb.Delivery(agent_id="b", trouble="no"),
                ],
                total=7,
            )
            assert found.agents[0].HasField("applied_ms")
            assert not found.agents[1].HasField("applied_ms")

    asyncio.run(main())


def test_an_entry_that_there_is_not(tmp_path: Path) -> None:
    async def main() -> None:
        async with authorities(tmp_path / "db") as world:
            for request, code in (
                (pb.GetDeliveryRequest(), StatusCode.INVALID_ARGUMENT),
                (pb.GetDeliveryRequest(entry_id="none"), StatusCode.NOT_FOUND),
            ):
                assert (await world.refused(FLEET.GetDelivery, request))[0] is code

    asyncio.run(main())
