"""A rotation by orders at a whole server, whose agents go on, and who is not told what."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import create_engine, select, update

from finial.core.ids import server_id
from finial.core.match import ExactID
from finial.core.x509cert import Certificate
from finial.core.x509path import verify_x509
from finial.rpc import Channel, ClientTLS, RpcError, StatusCode
from finial.runtime.tls import client_context
from finial.server.ca.kinds import authority_id_of
from finial.server.store.schema import BUNDLES
from finial.wire import bundles
from finial.wire.force import FORCE
from finial.wire.gen import finial_api_server_fleet_v1 as fleet_pb
from finial.wire.gen import spire_api_server_agent_v1 as agent_pb
from finial.wire.gen import spire_api_server_bundle_v1 as bundle_pb
from finial.wire.gen import spire_api_server_entry_v1 as entry_pb
from finial.wire.gen import spire_api_server_localauthority_v1 as pb
from finial.wire.gen import spire_api_server_svid_v1 as svid_pb
from support.authority_world import HastyClock
from support.rpc import PATIENCE_SECONDS
from support.server_app import DOMAIN, AgentIdentity, RunningServer, csr, running

SERVICE = pb.LocalAuthority
SYNC = (entry_pb.Entry.GetAuthorizedEntries, entry_pb.GetAuthorizedEntriesRequest())


async def _active(server: RunningServer) -> str:
    state = await server.admin.unary(SERVICE.GetX509AuthorityState, pb.GetX509AuthorityStateRequest())
    return state.active.authority_id


async def _prepare(server: RunningServer) -> str:
    reply = await server.admin.unary(SERVICE.PrepareX509Authority, pb.PrepareX509AuthorityRequest())
    return reply.prepared_authority.authority_id


async def _fetch(channel: Channel) -> None:
    """What an agent that polls does in each round."""
    await channel.unary(*SYNC)
    await channel.unary(bundle_pb.Bundle.GetBundle, bundle_pb.GetBundleRequest())


async def _renew(channel: Channel, old: AgentIdentity) -> AgentIdentity:
    key = ec.generate_private_key(ec.SECP256R1())
    request = agent_pb.RenewAgentRequest(params=agent_pb.AgentX509SVIDParams(csr=csr(key)))
    reply = await channel.unary(agent_pb.Agent.RenewAgent, request)
    return AgentIdentity(old.id, tuple(reply.svid.cert_chain), key)


def test_an_agent_that_polls_lives_through_a_rotation(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, clock=HastyClock()) as server:
            first = await _active(server)
            agent = await server.join("/node")
            channel = await server.channel(agent.pair)
            await _fetch(channel)
            second = await _prepare(server)
            activate = pb.ActivateX509AuthorityRequest(authority_id=second)
            with pytest.raises(RpcError, match="1 of 1 agents does not have") as caught:
                await server.admin.unary(SERVICE.ActivateX509Authority, activate)
            assert caught.value.code is StatusCode.FAILED_PRECONDITION
            assert agent.id in caught.value.message
            await _fetch(channel)
            await server.admin.unary(SERVICE.ActivateX509Authority, activate)
            # What has been begun goes on, and new connections find a server below the new authority.
            await _fetch(channel)
            assert await _server_authority(server) == second
            taint = pb.TaintX509AuthorityRequest(authority_id=first)
            await server.admin.unary(SERVICE.TaintX509Authority, taint)
            await _fetch(channel)
            revoke = pb.RevokeX509AuthorityRequest(authority_id=first)
            with pytest.raises(RpcError, match="its own SVID"):
                await server.admin.unary(SERVICE.RevokeX509Authority, revoke)
            renewed = await server.channel((await _renew(channel, agent)).pair)
            await _fetch(renewed)
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not await _revoked(server, revoke):
                    await _fetch(renewed)
            await _fetch(renewed)
            trust = await server.trust()
            assert [authority_id_of(each) for each in trust[DOMAIN].x509_authorities] == [second]
            assert await _server_authority(server) == second

    asyncio.run(main())


async def _revoked(server: RunningServer, request: pb.RevokeX509AuthorityRequest) -> bool:
    try:
        await server.admin.unary(SERVICE.RevokeX509Authority, request)
    except RpcError as error:
        if error.code is not StatusCode.FAILED_PRECONDITION:
            raise
        return False
    return True


async def _server_authority(server: RunningServer) -> str:
    """What the server's SVID rests on that a new connection is shown."""
    trust = await server.trust()
    roots = [each.der for each in trust[DOMAIN].x509_authorities]
    context, found = client_context(roots), []
    wanted = ExactID(server_id(DOMAIN))

    def verify(chain: tuple[bytes, ...]) -> object:
        proof = verify_x509(chain, trust, now=server.clock.now(), accept=wanted)
        found.append(proof.authority)
        return proof

    async with Channel(server.address, tls=ClientTLS(lambda: context, verify)) as channel:
        await channel.unary(bundle_pb.Bundle.GetBundle, bundle_pb.GetBundleRequest())
    return authority_id_of(found[0])


def test_a_removed_active_authority_is_replaced_when_the_server_starts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with running(tmp_path) as server:
            first = await _active(server)
            second = await _prepare(server)
            await server.admin.unary(
                SERVICE.ActivateX509Authority,
                pb.ActivateX509AuthorityRequest(authority_id=second),
                metadata=[FORCE],
            )
        _take_out(tmp_path / "server.db", second)
        async with running(tmp_path) as server:
            third = await _active(server)
            assert third not in {first, second}
            trust = await server.trust()
            ids = [authority_id_of(each) for each in trust[DOMAIN].x509_authorities]
            assert ids == [first, third]
            assert await _server_authority(server) == third

    asyncio.run(main())
    assert any("the active authority has been taken out of the bundle" in each for each in caplog.messages)


def _take_out(database: Path, authority_id: str) -> None:
    engine = create_engine(f"sqlite:///{database}")
    with engine.begin() as connection:
        data = connection.execute(select(BUNDLES.c.data)).scalar_one()
        message = bundles.message_of(data)
        kept = [
            each
            for each in message.x509_authorities
            if authority_id_of(Certificate.parse(each.asn1)) != authority_id
        ]
        del message.x509_authorities[:]
        message.x509_authorities.extend(kept)
        connection.execute(update(BUNDLES).values(data=message.SerializeToString()))
    engine.dispose()


def test_agents_and_workloads_may_not_give_orders(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as server:
            agent = await server.join("/node")
            key = ec.generate_private_key(ec.SECP256R1())
            request = svid_pb.MintX509SVIDRequest(csr=csr(key, "spiffe://example.org/web"))
            reply = await server.admin.unary(svid_pb.SVID.MintX509SVID, request)
            workload = AgentIdentity("spiffe://example.org/web", tuple(reply.svid.cert_chain), key)
            first = await _active(server)
            rollout = fleet_pb.GetRolloutRequest(authority_id=first)
            for pair in (None, agent.pair, workload.pair):
                channel = await server.channel(pair)
                for method, wanted in (
                    (SERVICE.PrepareX509Authority, pb.PrepareX509AuthorityRequest()),
                    (SERVICE.TaintX509Authority, pb.TaintX509AuthorityRequest(authority_id=first)),
                    (fleet_pb.Fleet.GetRollout, rollout),
                ):
                    with pytest.raises(RpcError, match="authorization denied") as caught:
                        await channel.unary(method, wanted, metadata=[FORCE])  # type: ignore[misc]
                    assert caught.value.code is StatusCode.PERMISSION_DENIED
            assert await _active(server) == first
            assert (await server.admin.unary(fleet_pb.Fleet.GetRollout, rollout)).live == 1

    asyncio.run(main())


def test_an_agent_that_is_evicted_is_waited_for_no_longer(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as server:
            agent = await server.join("/node")
            channel = await server.channel(agent.pair)
            await _fetch(channel)
            second = await _prepare(server)
            activate = pb.ActivateX509AuthorityRequest(authority_id=second)
            waiting = asyncio.ensure_future(server.admin.unary(SERVICE.ActivateX509Authority, activate))
            # Behind it on the same connection, so it waits by now.
            assert (
                await server.admin.unary(
                    fleet_pb.Fleet.GetRollout, fleet_pb.GetRolloutRequest(authority_id=second)
                )
            ).behind
            gone = agent_pb.DeleteAgentRequest()
            gone.id.trust_domain, gone.id.path = (
                "example.org",
                agent.id.removeprefix("spiffe://example.org"),
            )
            await server.admin.unary(agent_pb.Agent.DeleteAgent, gone)
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not waiting.done():
                    await server.clock.advance(timedelta(seconds=0.1))  # type: ignore[attr-defined]
                    await _active(server)
            await waiting
            assert await _active(server) == second

    asyncio.run(main())
