"""The Agent service as agents and operators call it: joining, renewing, reporting, banning, evicting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from finial.rpc import Method, RpcError, StatusCode
from finial.server.api.agent import ATTESTATION_TIME
from finial.wire.gen import google_protobuf as pb
from finial.wire.gen import spire_api_server_agent_v1 as agent_pb
from finial.wire.gen import spire_api_server_bundle_v1 as bundle_pb
from finial.wire.gen import spire_api_server_entry_v1 as entry_pb
from finial.wire.gen import spire_api_types as types
from finial.wire.statuses import Denial, denial
from support.clock import ManualClock
from support.server_app import DOMAIN, AgentIdentity, RunningServer, an_entry, csr, running

Agent = agent_pb.Agent
_Params = agent_pb.AttestAgentRequest.Params


def _id(agent: AgentIdentity) -> types.SPIFFEID:
    return types.SPIFFEID(trust_domain=DOMAIN.name, path=agent.id.removeprefix(f"spiffe://{DOMAIN}"))


# One id, asked for in the three ways that take one.
_BY_ID: list[tuple[Method[Any, Any], Callable[..., object]]] = [
    (Agent.GetAgent, agent_pb.GetAgentRequest),
    (Agent.DeleteAgent, agent_pb.DeleteAgentRequest),
    (Agent.BanAgent, agent_pb.BanAgentRequest),
]


async def _refused(call: object) -> RpcError:
    with pytest.raises(RpcError) as caught:
        await call  # type: ignore[misc]  # whatever a test hands in
    return caught.value


async def _report(server: RunningServer, agent: AgentIdentity, version: str = "1.0") -> None:
    channel = await server.channel(agent.pair)
    await channel.unary(Agent.PostStatus, agent_pb.PostStatusRequest(agent_version=version))


def test_a_node_joins_once_by_token_and_gets_an_svid(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as server:
            token = await server.token("/node")
            agent = await server.attest(token)
            assert agent.id == f"spiffe://example.org/spire/agent/join_token/{token}"
            assert not agent.reattestable
            error = await _refused(server.attest(token))
            assert error.code is StatusCode.INVALID_ARGUMENT
            assert error.message == "failed to attest: join token does not exist or has already been used"
            await _report(server, agent)
            node = await server.admin.unary(Agent.GetAgent, agent_pb.GetAgentRequest(id=_id(agent)))
            assert node.attestation_type == "join_token"
            assert node.x509svid_serial_number == str(agent.leaf.serial_number)
            assert node.x509svid_expires_at == int(agent.leaf.not_valid_after_utc.timestamp())
            assert node.agent_version == "1.0"
            assert not node.banned
            assert not node.can_reattest

    asyncio.run(main())


def test_a_lost_reply_locks_nobody_out(tmp_path: Path) -> None:
    async def main() -> None:
        clock = ManualClock()
        async with running(tmp_path, clock=clock) as server:
            token, key = await server.token(), ec.generate_private_key(ec.SECP256R1())
            first = await server.attest(token, key)
            second = await server.attest(token, key)
            assert first.id == second.id
            # The later SVID counts, the earlier one is void.
            await _report(server, second)
            assert denial(await _refused(_report(server, first))) is Denial.AGENT_NOT_ACTIVE
            await clock.advance(timedelta(minutes=5))
            assert "already been used" in str(await _refused(server.attest(token, key)))

    asyncio.run(main())


def test_a_token_that_ended_says_so_and_a_strange_one_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        clock = ManualClock()
        async with running(tmp_path, clock=clock) as server:
            token = await server.token(ttl=1)
            await clock.advance(timedelta(seconds=2))
            error = await _refused(server.attest(token))
            assert error.message == "failed to attest: join token expired"
            for strange in ("nobody", "../../server", "a b", "\u00e9"):
                error = await _refused(server.attest(strange))
                assert "does not exist or has already been used" in error.message

    asyncio.run(main())


def test_a_token_with_an_id_brings_an_entry_for_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as server:
            agent = await server.join("/node1")
            (web,) = await server.create(an_entry("/web", parent="/node1"))
            channel = await server.channel(agent.pair)
            reply = await channel.unary(
                entry_pb.Entry.GetAuthorizedEntries, entry_pb.GetAuthorizedEntriesRequest()
            )
            found = {entry.spiffe_id.path: entry for entry in reply.entries}
            assert found.keys() == {"/node1", "/web"}
            assert found["/web"].id == web
            (selector,) = found["/node1"].selectors
            assert (selector.type, selector.value) == ("spiffe_id", agent.id)
            await server.admin.unary(Agent.DeleteAgent, agent_pb.DeleteAgentRequest(id=_id(agent)))
            listed = await server.admin.unary(entry_pb.Entry.ListEntries, entry_pb.ListEntriesRequest())
            assert [entry.spiffe_id.path for entry in listed.entries] == ["/web"]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        (agent_pb.CreateJoinTokenRequest(), StatusCode.INVALID_ARGUMENT, "ttl is required"),
        (agent_pb.CreateJoinTokenRequest(ttl=86401), StatusCode.INVALID_ARGUMENT, "above the server's limit"),
        (agent_pb.CreateJoinTokenRequest(ttl=1, token="a/b"), StatusCode.INVALID_ARGUMENT, "invalid token"),
        (
            agent_pb.CreateJoinTokenRequest(
                ttl=1, agent_id=types.SPIFFEID(trust_domain="other.test", path="/x")
            ),
            StatusCode.INVALID_ARGUMENT,
            "not a member of trust domain",
        ),
        (
            agent_pb.CreateJoinTokenRequest(
                ttl=1, agent_id=types.SPIFFEID(trust_domain="example.org", path="/spire/x")
            ),
            StatusCode.INVALID_ARGUMENT,
            "reserved namespace",
        ),
    ],
)
def test_bad_tokens_are_refused_and_make_no_entry(
    tmp_path: Path, request_: agent_pb.CreateJoinTokenRequest, code: StatusCode, text: str
) -> None:
    async def main() -> None:
        async with running(tmp_path) as server:
            error = await _refused(server.admin.unary(Agent.CreateJoinToken, request_))
            assert error.code is code
            assert text in error.message
            count = await server.admin.unary(entry_pb.Entry.CountEntries, entry_pb.CountEntriesRequest())
            assert count.count == 0

    asyncio.run(main())


def test_a_token_that_exists_is_not_made_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as server:
            await server.token("/node", token="chosen")
            error = await _refused(server.token("/other", token="chosen"))
            assert error.code is StatusCode.ALREADY_EXISTS
            count = await server.admin.unary(entry_pb.Entry.CountEntries, entry_pb.CountEntriesRequest())
            assert count.count == 1

    asyncio.run(main())


def test_renewal_leaves_the_old_svid_until_the_new_one_is_used(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as server:
            old = await server.join()
            channel = await server.channel(old.pair)
            key = ec.generate_private_key(ec.SECP256R1())
            request = agent_pb.RenewAgentRequest(params=agent_pb.AgentX509SVIDParams(csr=csr(key)))
            reply = await channel.unary(Agent.RenewAgent, request)
            new = AgentIdentity(old.id, tuple(reply.svid.cert_chain), key)
            await _report(server, old, "old")
            await _report(server, new, "new")
            error = await _refused(_report(server, old))
            assert denial(error) is Denial.AGENT_NOT_ACTIVE
            assert error.message.endswith("/spire.api.server.agent.v1.Agent/PostStatus")
            await _report(server, new)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (agent_pb.RenewAgentRequest(), "params"),
        (agent_pb.RenewAgentRequest(params=agent_pb.AgentX509SVIDParams()), "missing CSR"),
        (agent_pb.RenewAgentRequest(params=agent_pb.AgentX509SVIDParams(csr=b"no")), "cannot be read"),
    ],
)
def test_a_renewal_without_a_key_is_refused(
    tmp_path: Path, request_: agent_pb.RenewAgentRequest, text: str
) -> None:
    async def main() -> None:
        async with running(tmp_path) as server:
            channel = await server.channel((await server.join()).pair)
            error = await _refused(channel.unary(Agent.RenewAgent, request_))
            assert error.code is StatusCode.INVALID_ARGUMENT
            assert text in error.message

    asyncio.run(main())


def test_ban_and_evict_are_felt_at_the_very_next_call(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as server:
            token, key = await server.token(), ec.generate_private_key(ec.SECP256R1())
            agent = await server.attest(token, key)
            await server.admin.unary(Agent.BanAgent, agent_pb.BanAgentRequest(id=_id(agent)))
            assert denial(await _refused(_report(server, agent))) is Denial.AGENT_BANNED
            error = await _refused(server.attest(token, key))
            assert denial(error) is Denial.AGENT_BANNED
            assert error.message == "failed to attest: agent is banned"
            node = await server.admin.unary(Agent.GetAgent, agent_pb.GetAgentRequest(id=_id(agent)))
            assert node.banned
            assert node.x509svid_serial_number == ""
            await server.admin.unary(Agent.DeleteAgent, agent_pb.DeleteAgentRequest(id=_id(agent)))
            assert denial(await _refused(_report(server, agent))) is Denial.AGENT_NOT_ATTESTED
            # The token of an evicted node lets not even the same key in again.
            assert "already been used" in str(await _refused(server.attest(token, key)))
            for method, request in _BY_ID:
                error = await _refused(server.admin.unary(method, request(id=_id(agent))))
                assert error.code is StatusCode.NOT_FOUND
                assert error.message == "agent not found"

    asyncio.run(main())


@pytest.mark.parametrize(
    ("spiffe_id", "text"),
    [
        (None, "request must specify SPIFFE ID"),
        (types.SPIFFEID(trust_domain="example.org", path="no slash"), "invalid agent ID"),
        (types.SPIFFEID(trust_domain="other.test", path="/spire/agent/x"), "is not a member of trust domain"),
        (types.SPIFFEID(trust_domain="example.org", path="/web"), "is not an agent in trust domain"),
    ],
)
def test_ids_that_are_no_agents_are_refused(
    tmp_path: Path, spiffe_id: types.SPIFFEID | None, text: str
) -> None:
    async def main() -> None:
        async with running(tmp_path) as server:
            for method, request in _BY_ID:
                error = await _refused(server.admin.unary(method, request(id=spiffe_id)))
                assert error.code is StatusCode.INVALID_ARGUMENT
                assert error.message.startswith("invalid agent ID: ")
                assert text in error.message

    asyncio.run(main())


def test_lists_have_pages_filters_and_masks(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as server:
            agents = [await server.join() for _ in range(3)]
            await server.admin.unary(Agent.BanAgent, agent_pb.BanAgentRequest(id=_id(agents[1])))
            seen: list[str] = []
            token = ""
            while True:
                request = agent_pb.ListAgentsRequest(page_size=2, page_token=token)
                page = await server.admin.unary(Agent.ListAgents, request)
                seen += [agent.id.path for agent in page.agents]
                token = page.next_page_token
                if not token:
                    break
            assert seen == [_id(agent).path for agent in agents]
            banned = agent_pb.ListAgentsRequest.Filter(by_banned=pb.BoolValue(value=True))
            mask = types.AgentMask(banned=True)
            page = await server.admin.unary(
                Agent.ListAgents, agent_pb.ListAgentsRequest(filter=banned, output_mask=mask)
            )
            assert list(page.agents) == [types.Agent(id=_id(agents[1]), banned=True)]
            active = agent_pb.CountAgentsRequest.Filter(by_banned=pb.BoolValue(value=False))
            count = await server.admin.unary(Agent.CountAgents, agent_pb.CountAgentsRequest(filter=active))
            assert count.count == 2

    asyncio.run(main())


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (agent_pb.AttestAgentRequest(challenge_response=b"x"), "missing params"),
        (
            agent_pb.AttestAgentRequest(params=_Params()),
            "missing attestation data",
        ),
        (
            agent_pb.AttestAgentRequest(params=_Params(data=types.AttestationData(payload=b"x"))),
            "missing attestation data type",
        ),
        (
            agent_pb.AttestAgentRequest(params=_Params(data=types.AttestationData(type="x"))),
            "missing attestation data payload",
        ),
        (
            agent_pb.AttestAgentRequest(
                params=_Params(
                    data=types.AttestationData(type="x", payload=b"x"),
                    params=agent_pb.AgentX509SVIDParams(),
                )
            ),
            "missing CSR",
        ),
    ],
)
def test_a_malformed_attestation_is_refused_by_its_field(
    tmp_path: Path, message: agent_pb.AttestAgentRequest, text: str
) -> None:
    async def main() -> None:
        async with running(tmp_path) as server:
            channel = await server.channel()
            async with channel.call(Agent.AttestAgent) as call:
                await call.send(message)
                error = await _refused(call.receive())
            assert error.code is StatusCode.INVALID_ARGUMENT
            assert error.message == f"malformed param: {text}"

    asyncio.run(main())


def test_who_says_nothing_is_not_waited_for(tmp_path: Path) -> None:
    async def main() -> None:
        clock = ManualClock()
        async with running(tmp_path, clock=clock) as server:
            channel = await server.channel()
            async with channel.call(Agent.AttestAgent) as call:
                answer = asyncio.ensure_future(_refused(call.receive()))
                # Behind it on the same connection, so the server waits for it when this is answered.
                await channel.unary(bundle_pb.Bundle.GetBundle, bundle_pb.GetBundleRequest())
                await clock.advance(ATTESTATION_TIME)
                assert (await answer).code is StatusCode.DEADLINE_EXCEEDED

    asyncio.run(main())


def test_bans_and_evictions_are_logged_with_whom_they_hit_but_no_token(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> str:
        async with running(tmp_path) as server:
            token = await server.token("/node")
            agent = await server.attest(token)
            await server.admin.unary(Agent.BanAgent, agent_pb.BanAgentRequest(id=_id(agent)))
            await server.admin.unary(Agent.DeleteAgent, agent_pb.DeleteAgentRequest(id=_id(agent)))
            return token

    with caplog.at_level("INFO", logger="finial.server"):
        token = asyncio.run(main())
    events = {record.message: record.__dict__.get("finial_fields", {}) for record in caplog.records}
    shown = {events[event]["id"] for event in ("node attested", "agent banned", "agent evicted")}
    assert len(shown) == 1
    assert "/join_token/sha256:" in shown.pop()
    assert token not in str([vars(record) for record in caplog.records])


def test_an_unknown_attestor_is_named(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as server:
            error = await _refused(server.attest("payload", kind="nobody"))
            assert error.code is StatusCode.FAILED_PRECONDITION
            assert 'could not find node attestor type "nobody"' in error.message

    asyncio.run(main())
