"""Who may call what, by certificate, by entry, by configuration, by socket."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from finial.core.bundle import Bundle
from finial.core.ids import SpiffeID, TrustDomain
from finial.core.x509path import VerifiedX509
from finial.rpc import Channel, Method, Peer, RpcError, StatusCode
from finial.server.access import Access
from finial.server.policy import Role
from finial.server.store import bundles, nodes
from finial.server.store.records import NodeRecord
from finial.wire import bundles as wire_bundles
from finial.wire.gen import spire_api_server_agent_v1 as agent_pb
from finial.wire.gen import spire_api_server_bundle_v1 as bundle_pb
from finial.wire.gen import spire_api_server_entry_v1 as entry_pb
from finial.wire.gen import spire_api_server_svid_v1 as svid_pb
from finial.wire.gen import spire_api_types as types
from finial.wire.statuses import Denial, denial
from support import forge
from support.clock import START, ManualClock
from support.server_app import DOMAIN, AgentIdentity, RunningServer, an_entry, csr, running
from support.server_store import opened


async def _mint(server: RunningServer, path: str) -> AgentIdentity:
    """A workload's identity, with which it may call over TLS."""
    key = ec.generate_private_key(ec.SECP256R1())
    uri = f"spiffe://{server.settings.trust_domain}{path}"
    request = svid_pb.MintX509SVIDRequest(csr=csr(key, uri))
    reply = await server.admin.unary(svid_pb.SVID.MintX509SVID, request)
    return AgentIdentity(uri, tuple(reply.svid.cert_chain), key)


async def _federate(server: RunningServer, other: RunningServer) -> None:
    bundle = await other.admin.unary(bundle_pb.Bundle.GetBundle, bundle_pb.GetBundleRequest())
    request = bundle_pb.BatchSetFederatedBundleRequest(bundle=[bundle])
    await server.admin.unary(bundle_pb.Bundle.BatchSetFederatedBundle, request)


async def _code(channel: Channel, method: Method[Any, Any], request: object) -> StatusCode:
    """How a call ends; UNKNOWN when a denial does not name the method."""
    try:
        await channel.unary(method, request)
    except RpcError as error:
        denied = error.code is StatusCode.PERMISSION_DENIED
        told = f"authorization denied for method {method.path}" == error.message
        return error.code if told == denied else StatusCode.UNKNOWN
    return StatusCode.OK


ADMIN = (entry_pb.Entry.CountEntries, entry_pb.CountEntriesRequest())
AGENT = (entry_pb.Entry.GetAuthorizedEntries, entry_pb.GetAuthorizedEntriesRequest())
ANYBODY = (bundle_pb.Bundle.GetBundle, bundle_pb.GetBundleRequest())
READER = (bundle_pb.Bundle.GetFederatedBundle, bundle_pb.GetFederatedBundleRequest(trust_domain="other.test"))
DENIED, OK, MISSING = StatusCode.PERMISSION_DENIED, StatusCode.OK, StatusCode.NOT_FOUND


async def _codes(channel: Channel) -> list[StatusCode]:
    return [await _code(channel, *call) for call in (ANYBODY, ADMIN, AGENT, READER)]


def test_each_kind_of_caller_may_call_what_it_is_for(tmp_path: Path) -> None:
    async def main() -> None:
        by_configuration = SpiffeID("spiffe://example.org/configured")
        async with running(tmp_path, admin_ids=(by_configuration,)) as server:
            agent = await server.join()
            operator = an_entry("/operator")
            operator.admin = True
            await server.create(operator)
            assert await _codes(await server.channel()) == [OK, DENIED, DENIED, DENIED]
            assert await _codes(server.admin) == [OK, OK, DENIED, MISSING]
            assert await _codes(await server.channel(agent.pair)) == [OK, DENIED, OK, MISSING]
            for path, codes in {
                "/operator": [OK, OK, DENIED, MISSING],
                "/configured": [OK, OK, DENIED, MISSING],
                "/web": [OK, DENIED, DENIED, DENIED],
            }.items():
                identity = await _mint(server, path)
                assert await _codes(await server.channel(identity.pair)) == codes, path

    asyncio.run(main())


def test_who_is_no_agent_learns_that_it_is_none(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as server:
            for pair in (None, (await _mint(server, "/web")).pair):
                channel = await server.channel(pair)
                with pytest.raises(RpcError) as caught:
                    await channel.unary(*AGENT)
                assert denial(caught.value) is Denial.AGENT_NOT_ATTESTED

    asyncio.run(main())


def test_an_expired_agent_is_refused_on_an_open_connection(tmp_path: Path) -> None:
    async def main() -> None:
        clock = ManualClock()
        async with running(tmp_path, clock=clock, agent_ttl=timedelta(seconds=30)) as server:
            agent = await server.join()
            channel = await server.channel(agent.pair)
            await channel.unary(*AGENT)
            await clock.advance(timedelta(seconds=31))
            with pytest.raises(RpcError) as caught:
                await channel.unary(*AGENT)
            assert denial(caught.value) is Denial.AGENT_EXPIRED
            # A new connection fails in its handshake.
            with pytest.raises(RpcError) as caught:
                await (await server.channel(agent.pair)).unary(*AGENT)
            assert caught.value.code is StatusCode.UNAVAILABLE

    asyncio.run(main())


def test_an_agent_of_a_foreign_domain_gets_no_connection(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            running(tmp_path / "ours") as ours,
            running(tmp_path / "theirs", trust_domain=TrustDomain("other.test")) as theirs,
        ):
            key = ec.generate_private_key(ec.SECP256R1())
            request = svid_pb.MintX509SVIDRequest(csr=csr(key, "spiffe://other.test/spy"))
            reply = await theirs.admin.unary(svid_pb.SVID.MintX509SVID, request)
            spy = AgentIdentity("spiffe://other.test/spy", tuple(reply.svid.cert_chain), key)
            channel = await ours.channel(spy.pair)
            with pytest.raises(RpcError) as caught:
                await channel.unary(*ANYBODY)
            assert caught.value.code is StatusCode.UNAVAILABLE

    asyncio.run(main())


def test_a_method_that_is_not_served_is_unimplemented(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as server:
            request = svid_pb.NewDownstreamX509CARequest()
            code = await _code(server.admin, svid_pb.SVID.NewDownstreamX509CA, request)
            assert code is StatusCode.UNIMPLEMENTED

    asyncio.run(main())


def test_an_agent_banned_in_mid_connection_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as server:
            agent = await server.join()
            channel = await server.channel(agent.pair)
            await channel.unary(*AGENT)
            path = agent.id.removeprefix("spiffe://example.org")
            spiffe_id = types.SPIFFEID(trust_domain="example.org", path=path)
            await server.admin.unary(agent_pb.Agent.BanAgent, agent_pb.BanAgentRequest(id=spiffe_id))
            with pytest.raises(RpcError) as caught:
                await channel.unary(*AGENT)
            assert denial(caught.value) is Denial.AGENT_BANNED

    asyncio.run(main())


def test_an_administrator_is_one_no_longer_than_its_svid_lasts(tmp_path: Path) -> None:
    async def main() -> None:
        clock = ManualClock()
        operator = SpiffeID("spiffe://example.org/operator")
        async with running(tmp_path, clock=clock, admin_ids=(operator,)) as server:
            channel = await server.channel((await _mint(server, "/operator")).pair)
            assert await _code(channel, *ADMIN) is OK
            await clock.advance(timedelta(hours=1))
            assert await _code(channel, *ADMIN) is DENIED
            assert await _code(channel, *ANYBODY) is OK

    asyncio.run(main())


def test_administrators_of_a_foreign_domain_come_and_go_with_its_bundle(tmp_path: Path) -> None:
    async def main() -> None:
        operator = SpiffeID("spiffe://other.test/operator")
        async with (
            running(tmp_path / "theirs", trust_domain=TrustDomain("other.test")) as theirs,
            running(tmp_path / "ours", admin_ids=(operator,)) as ours,
        ):
            await _federate(ours, theirs)
            channel = await ours.channel((await _mint(theirs, "/operator")).pair)
            assert await _code(channel, *ADMIN) is OK
            # Nobody else of that domain has any business here, so that there is not even a connection.
            other = await ours.channel((await _mint(theirs, "/other")).pair)
            with pytest.raises(RpcError, match="the peer is spiffe://other.test/other, expected a member"):
                await other.unary(*ANYBODY)
            gone = bundle_pb.BatchDeleteFederatedBundleRequest(trust_domains=["other.test"])
            await ours.admin.unary(bundle_pb.Bundle.BatchDeleteFederatedBundle, gone)
            assert await _code(channel, *ADMIN) is DENIED

    asyncio.run(main())


def _of(agent: AgentIdentity) -> types.SPIFFEID:
    return types.SPIFFEID(trust_domain="example.org", path=agent.id.removeprefix("spiffe://example.org"))


@pytest.mark.parametrize("what", ["banned", "evicted", "expired"])
def test_a_call_that_has_begun_ends_with_its_agent(tmp_path: Path, what: str) -> None:
    async def main() -> None:
        clock = ManualClock()
        async with running(tmp_path, clock=clock, agent_ttl=timedelta(minutes=1)) as server:
            agent = await server.join("/node")
            await server.create(*[an_entry(f"/w{number}") for number in range(501)])
            channel = await server.channel(agent.pair)
            async with channel.call(entry_pb.Entry.SyncAuthorizedEntries) as call:
                await call.send(entry_pb.SyncAuthorizedEntriesRequest())
                revisions: list[entry_pb.EntryRevision] = []
                while (reply := await call.receive()) is not None:
                    revisions += reply.entry_revisions
                    if not reply.more:
                        break
                request = entry_pb.SyncAuthorizedEntriesRequest(ids=[revisions[0].id])
                await call.send(request)
                answer = await call.receive()
                assert answer is not None
                assert len(answer.entries) == 1
                if what == "banned":
                    await server.admin.unary(agent_pb.Agent.BanAgent, agent_pb.BanAgentRequest(id=_of(agent)))
                elif what == "evicted":
                    gone = agent_pb.DeleteAgentRequest(id=_of(agent))
                    await server.admin.unary(agent_pb.Agent.DeleteAgent, gone)
                else:
                    clock.jump(timedelta(minutes=1))
                await call.send(request)
                with pytest.raises(RpcError) as caught:
                    await call.receive()
            wanted = {
                "banned": Denial.AGENT_BANNED,
                "evicted": Denial.AGENT_NOT_ATTESTED,
                "expired": Denial.AGENT_EXPIRED,
            }
            assert denial(caught.value) is wanted[what]

    asyncio.run(main())


def test_a_call_outlives_the_renewal_of_its_agent(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as server:
            old = await server.join("/node")
            await server.create(*[an_entry(f"/w{number}") for number in range(501)])
            channel = await server.channel(old.pair)
            async with channel.call(entry_pb.Entry.SyncAuthorizedEntries) as call:
                await call.send(entry_pb.SyncAuthorizedEntriesRequest())
                for _ in range(2):
                    assert await call.receive() is not None
                key = ec.generate_private_key(ec.SECP256R1())
                request = agent_pb.RenewAgentRequest(params=agent_pb.AgentX509SVIDParams(csr=csr(key)))
                reply = await channel.unary(agent_pb.Agent.RenewAgent, request)
                new = AgentIdentity(old.id, tuple(reply.svid.cert_chain), key)
                assert await _code(await server.channel(new.pair), *AGENT) is OK
                assert await _code(channel, *AGENT) is DENIED
                await call.send(entry_pb.SyncAuthorizedEntriesRequest(ids=["nobody"]))
                assert await call.receive() == entry_pb.SyncAuthorizedEntriesResponse()

    asyncio.run(main())


def test_what_waits_for_its_turn_is_judged_again_before_it_is_signed(tmp_path: Path) -> None:
    async def main() -> None:
        clock = ManualClock()
        async with running(tmp_path, clock=clock) as server:
            agent = await server.join("/node")
            (entry,) = await server.create(an_entry("/web"))
            channel = await server.channel(agent.pair)
            data = csr(ec.generate_private_key(ec.SECP256R1()))
            item = svid_pb.NewX509SVIDParams(entry_id=entry, csr=data)
            batch, renew = svid_pb.SVID.BatchNewX509SVID, agent_pb.Agent.RenewAgent
            # The address has had all its tokens: what follows waits for new ones.
            many = svid_pb.BatchNewX509SVIDRequest(params=[svid_pb.NewX509SVIDParams()] * 500)
            await channel.unary(batch, many)
            params = agent_pb.AgentX509SVIDParams(csr=data)
            waiting = [
                asyncio.ensure_future(channel.unary(batch, svid_pb.BatchNewX509SVIDRequest(params=[item]))),
                asyncio.ensure_future(channel.unary(renew, agent_pb.RenewAgentRequest(params=params))),
            ]
            # Behind them on the same connection, so they have been admitted when this is answered.
            assert await _code(channel, *AGENT) is OK
            gone = agent_pb.DeleteAgentRequest(id=_of(agent))
            await server.admin.unary(agent_pb.Agent.DeleteAgent, gone)
            await clock.advance(timedelta(seconds=1))
            for call in waiting:
                with pytest.raises(RpcError) as caught:
                    await call
                assert denial(caught.value) is Denial.AGENT_NOT_ATTESTED

    asyncio.run(main())


def test_an_svid_below_a_revoked_authority_is_worth_nothing_though_its_connection_is_still_open(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        root, other = forge.root("root", DOMAIN), forge.root("other", DOMAIN)
        leaf = forge.leaf(root, "spiffe://example.org/spire/agent/test/1").certificate
        proof = VerifiedX509(SpiffeID(leaf.names.uris[0]), (leaf, root.certificate), START)
        node = NodeRecord(
            seq=0, id=proof.id.text, attestation_type="test", serial=str(leaf.serial), expires_at=0
        )

        def trust(*roots: forge.Made) -> Bundle:
            return Bundle(trust_domain=DOMAIN, x509_authorities=tuple(each.certificate for each in roots))

        async def publish(bundle: Bundle) -> None:
            await world.store.write(lambda tx: bundles.put(tx, bundle, wire_bundles.encode(bundle)))

        async with opened(tmp_path / "db", clock=ManualClock(forge.NOW)) as world:
            access = Access(world.index, world.store, clock=world.clock, admin_ids=())
            await world.store.write(lambda tx: nodes.put(tx, node))
            await publish(trust(root, other))
            peer = Peer("192.0.2.1:1", identity=proof)
            caller = await access.admit(peer, entry_pb.Entry.GetAuthorizedEntries.path)
            caller.recheck()
            await publish(trust(other))
            with pytest.raises(RpcError) as caught:
                caller.recheck()
            # Not a word of its standing: an agent that was away only needs the new bundle.
            assert caught.value.code is StatusCode.UNAUTHENTICATED
            assert denial(caught.value) is None
            with pytest.raises(RpcError):
                await access.admit(peer, entry_pb.Entry.GetAuthorizedEntries.path)

    asyncio.run(main())


def test_a_successor_under_the_same_id_is_another_agent(tmp_path: Path) -> None:
    async def main() -> None:
        root = forge.root("root", DOMAIN)
        leaf = forge.leaf(root, "spiffe://example.org/spire/agent/test/1")
        proof = VerifiedX509(SpiffeID(leaf.certificate.names.uris[0]), (leaf.certificate,), START)
        node = NodeRecord(
            seq=0,
            id=proof.id.text,
            attestation_type="test",
            serial=str(proof.leaf.serial),
            expires_at=0,
        )
        async with opened(tmp_path / "db", clock=ManualClock(forge.NOW)) as world:
            access = Access(world.index, world.store, clock=world.clock, admin_ids=())
            await world.store.write(lambda tx: nodes.put(tx, node))
            peer = Peer("192.0.2.1:1", identity=proof)
            caller = await access.admit(peer, entry_pb.Entry.GetAuthorizedEntries.path)
            assert (caller.role, caller.id, caller.address) == (Role.AGENT, proof.id, "192.0.2.1")
            caller.recheck()
            renewed = replace(node, seq=1, serial="2")
            await world.store.write(lambda tx: nodes.put(tx, renewed))
            caller.recheck()
            await world.store.write(lambda tx: nodes.remove(tx, node.id))
            await world.store.write(lambda tx: nodes.put(tx, node))
            with pytest.raises(RpcError) as caught:
                caller.recheck()
            assert denial(caught.value) is Denial.AGENT_NOT_ACTIVE

    asyncio.run(main())
