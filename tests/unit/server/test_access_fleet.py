"""What calls of agents say about the fleet, and that only operators hear of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from finial.core.bundle import Bundle
from finial.core.ids import SpiffeID
from finial.core.x509path import VerifiedX509
from finial.rpc import Peer, RpcError, StatusCode
from finial.runtime.peer import PeerProcess
from finial.server.access import Access
from finial.server.api.bundle import BundleService
from finial.server.ca.kinds import authority_id_of
from finial.server.fleet import Fleet
from finial.server.policy import Role
from finial.server.store import bundles, nodes
from finial.server.store.records import NodeRecord
from finial.wire.gen import spire_api_server_bundle_v1 as bundle_pb
from finial.wire.gen import spire_api_server_entry_v1 as entry_pb
from finial.wire.gen import spire_api_server_svid_v1 as svid_pb
from finial.wire.methods import service
from support import forge
from support.clock import START, ManualClock
from support.server_store import DOMAIN, opened

DENIED = StatusCode.PERMISSION_DENIED


def test_each_call_of_an_agent_shows_that_it_is_there_and_what_its_svid_rests_on(tmp_path: Path) -> None:
    async def main() -> None:
        root = forge.root("root", DOMAIN)
        leaf = forge.leaf(root, "spiffe://example.org/spire/agent/test/1")
        path = (leaf.certificate, root.certificate)
        proof = VerifiedX509(SpiffeID(leaf.certificate.names.uris[0]), path, START)
        async with opened(tmp_path / "db", clock=ManualClock(forge.NOW)) as world:
            fleet = Fleet(world.index, clock=world.clock)
            access = Access(world.index, world.store, clock=world.clock, admin_ids=(), fleet=fleet)
            peer = Peer("192.0.2.1:1", identity=proof)
            with pytest.raises(RpcError):
                await access.admit(peer, entry_pb.Entry.GetAuthorizedEntries.path)
            assert not fleet._agents  # nobody has to be remembered who was not let in
            node = NodeRecord(
                seq=0,
                id=proof.id.text,
                attestation_type="test",
                serial=str(proof.leaf.serial),
                expires_at=1 << 40,
            )
            await world.store.write(lambda tx: nodes.put(tx, node))
            caller = await access.admit(peer, svid_pb.SVID.BatchNewX509SVID.path)
            assert caller.expires_at == proof.leaf.not_after
            seen = fleet._agents[proof.id.text]
            assert seen.authority == root.certificate
            assert seen.signed_at == seen.heard_at == world.clock.monotonic()
            assert fleet.rollout(authority_id_of(root.certificate)).polling == 1

    asyncio.run(main())


@pytest.mark.parametrize(
    ("serial", "pending", "counts"),
    [("shown", "", True), ("before", "shown", True), ("newer", "", False), ("", "", False)],
)
def test_the_bundle_has_been_fetched_by_whom_the_server_counts_as_the_agent(
    tmp_path: Path, serial: str, pending: str, counts: bool
) -> None:
    async def main() -> None:
        root = forge.root("root", DOMAIN)
        leaf = forge.leaf(root, "spiffe://example.org/spire/agent/test/1").certificate
        proof = VerifiedX509(SpiffeID(leaf.names.uris[0]), (leaf, root.certificate), START)
        clock = ManualClock(forge.NOW)
        async with opened(tmp_path / "db", clock=clock) as world:
            fleet = Fleet(world.index, clock=clock)
            access = Access(world.index, world.store, clock=clock, admin_ids=(), fleet=fleet)
            service = BundleService(world.index, world.store, fleet)
            bundle = Bundle(trust_domain=DOMAIN, x509_authorities=(root.certificate,))
            await world.store.write(lambda tx: bundles.publish(tx, DOMAIN, lambda _: bundle))
            peer = Peer("192.0.2.1:1", identity=proof)

            async def fetch() -> bool:
                caller = await access.admit(peer, bundle_pb.Bundle.GetBundle.path)
                await service.get(bundle_pb.GetBundleRequest(), caller)
                agent = fleet._agents.get(proof.id.text)
                return agent is not None and agent.sequence == 1

            assert not await fetch()  # there is no such agent
            serials = {"shown": str(leaf.serial)}
            node = NodeRecord(
                seq=0,
                id=proof.id.text,
                attestation_type="test",
                serial=serials.get(serial, serial),
                expires_at=1 << 40,
                pending_serial=serials.get(pending, pending),
            )
            await world.store.write(lambda tx: nodes.put(tx, node))
            assert await fetch() is counts
            clock.jump(leaf.not_after - clock.now())
            fleet._agents.clear()
            assert not await fetch()

    asyncio.run(main())


AUTHORITY = "spire.api.server.localauthority.v1.LocalAuthority"
FLEET = "finial.api.server.fleet.v1.Fleet"


@pytest.mark.parametrize(
    "path", [method.path for name in (AUTHORITY, FLEET) for method in service(name).methods.values()]
)
def test_orders_and_questions_about_the_fleet_are_for_operators_alone(tmp_path: Path, path: str) -> None:
    async def main() -> None:
        root = forge.root("root", DOMAIN)
        async with opened(tmp_path / "db", clock=ManualClock(forge.NOW)) as world:
            operator = SpiffeID("spiffe://example.org/operator")
            access = Access(world.index, world.store, clock=world.clock, admin_ids=(operator,))

            async def admitted(spiffe_id: str | None) -> Role | StatusCode:
                proof = None
                if spiffe_id is not None:
                    leaf = forge.leaf(root, spiffe_id).certificate
                    proof = VerifiedX509(SpiffeID(spiffe_id), (leaf, root.certificate), leaf.not_after)
                    node = NodeRecord(
                        seq=0,
                        id=spiffe_id,
                        attestation_type="test",
                        serial=str(leaf.serial),
                        expires_at=1 << 40,
                    )
                    await world.store.write(lambda tx: nodes.put(tx, node))
                try:
                    return (await access.admit(Peer("192.0.2.1:1", identity=proof), path)).role
                except RpcError as error:
                    return error.code

            bundle = Bundle(trust_domain=DOMAIN, x509_authorities=(root.certificate,))
            await world.store.write(lambda tx: bundles.publish(tx, DOMAIN, lambda _: bundle))
            assert await admitted(None) is DENIED
            assert await admitted("spiffe://example.org/spire/agent/test/1") is DENIED
            assert await admitted("spiffe://example.org/web") is DENIED
            assert await admitted(operator.text) is Role.ADMIN
            local = Peer("unix:1", process=PeerProcess(pid=1, uid=0, gid=0, pidfd=-1))
            assert (await access.admit(local, path)).role is Role.LOCAL

    asyncio.run(main())
