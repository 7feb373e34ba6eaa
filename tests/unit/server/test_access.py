"""Who may call what, by certificate, by entry, by configuration, by socket."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from finial.core.ids import SpiffeID, TrustDomain
from finial.rpc import Channel, Method, RpcError, StatusCode
from finial.wire.gen import spire_api_server_agent_v1 as agent_pb
from finial.wire.gen import spire_api_server_bundle_v1 as bundle_pb
from finial.wire.gen import spire_api_server_entry_v1 as entry_pb
from finial.wire.gen import spire_api_server_svid_v1 as svid_pb
from finial.wire.gen import spire_api_types as types
from finial.wire.statuses import Denial, denial
from support.clock import ManualClock
from support.server_app import AgentIdentity, RunningServer, an_entry, csr, running


async def _mint(server: RunningServer, path: str) -> AgentIdentity:
    """A workload's identity, with which it may call over TLS."""
    key = ec.generate_private_key(ec.SECP256R1())
    uri = f"spiffe://example.org{path}"
    request = svid_pb.MintX509SVIDRequest(csr=csr(key, uri))
    reply = await server.admin.unary(svid_pb.SVID.MintX509SVID, request)
    return AgentIdentity(uri, tuple(reply.svid.cert_chain), key)


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
