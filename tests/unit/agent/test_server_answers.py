"""Servers that answer oddly, and node attestors that talk more than one round."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from finial.agent import app
from finial.agent.attest_node import AttestationError, Proof, TokenSource, attest
from finial.agent.fetch import EntryFetcher, ProtocolError, fetch_bundle, fetch_foreign
from finial.agent.identity import new_key
from finial.agent.translate import read_authorized
from finial.core.errors import FinialError, Kind, Reason, RefusedError
from finial.core.ids import SpiffeID, TrustDomain
from finial.plugin.node import NODE_ATTESTORS_AGENT
from finial.rpc import Channel, RpcError, Server, StatusCode, Unix, bidi, unary
from finial.wire.gen import spire_api_server_agent_v1 as agent_pb
from finial.wire.gen import spire_api_server_bundle_v1 as bundle_pb
from finial.wire.gen import spire_api_server_entry_v1 as entry_pb
from finial.wire.gen import spire_api_types as types
from finial.wire.masks import agent_mask
from support.agent_world import Agent, agent, ids, joined, stream, world
from support.rpc import run, socket_path

ME = f"unix:uid:{os.getuid()}"
Reply = entry_pb.SyncAuthorizedEntriesResponse
NOTHING = Reason("test-nothing", Kind.UNAVAILABLE)


class Node:
    """The agent's half of a node attestor that is challenged."""

    def __init__(self, name: str = "machine-1") -> None:
        self.name = name

    async def payload(self) -> bytes:
        return self.name.encode()

    async def respond(self, challenge: bytes) -> bytes:
        return b"response to " + challenge


async def served(routes: list[Any], use: Any) -> Any:
    """Serve some routes, and use a channel to them."""
    async with Server(routes) as server:
        address = await server.listen(socket_path())
        assert isinstance(address, Unix)
        async with Channel(address) as channel:
            return await use(channel)


def test_a_node_attestor_answers_challenges(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with world(challenges=3, reattestable=True) as w:
            monkeypatch.setattr(app, "load", lambda group, name, table, context: Node())
            async with agent(w, node_attestor="mine") as running:
                assert (await running.ready()).agent_id.path == "/spire/agent/mine/machine-1"

    run(main())


def test_a_node_attestor_that_is_not_installed_is_named() -> None:
    async def main() -> None:
        async with world() as w:
            error = await Agent(w, w.settings(node_attestor="absent")).end()
            assert "no nodeattestor plugin 'absent'" in error.message
            assert NODE_ATTESTORS_AGENT.label == "nodeattestor"

    run(main())


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (None, "ended the attestation without a result"),
        (agent_pb.AttestAgentResponse(), "neither a challenge nor a result"),
        (agent_pb.AttestAgentResponse(challenge=b"c"), "which has no answer"),
        (agent_pb.AttestAgentResponse(result=agent_pb.AttestAgentResponse.Result()), "without a certificate"),
    ],
)
def test_odd_ends_of_an_attestation(reply: agent_pb.AttestAgentResponse | None, why: str) -> None:
    async def conversation(call: Any) -> None:
        await call.receive()
        if reply is not None:
            await call.send(reply)

    async def use(channel: Channel) -> None:
        with pytest.raises(FinialError, match=why):
            await attest(channel, Proof("join_token", TokenSource("t", None)), new_key())

    run(served([bidi(agent_pb.Agent.AttestAgent, conversation)], use))


def test_a_refusal_of_another_attestor_is_told_as_it_is() -> None:
    async def conversation(call: Any) -> None:
        raise RpcError(StatusCode.PERMISSION_DENIED, "failed to attest: agent is banned")

    async def use(channel: Channel) -> None:
        with pytest.raises(AttestationError, match="agent is banned") as caught:
            await attest(channel, Proof("mine", Node()), new_key())
        assert caught.value.reason.id == "agent-attestation-refused"

    run(served([bidi(agent_pb.Agent.AttestAgent, conversation)], use))


@pytest.mark.parametrize(
    ("typed", "open_end"), [(b"token-1\n", True), (b"token-1\nmore", True), (b"token-1", False)]
)
def test_a_token_from_standard_input(monkeypatch: pytest.MonkeyPatch, typed: bytes, open_end: bool) -> None:
    reading, writing = os.pipe()
    os.write(writing, typed)
    if not open_end:
        os.close(writing)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(fileno=lambda: reading))
    source = TokenSource(None, Path("-"))
    assert asyncio.run(source.payload()) == b"token-1"
    monkeypatch.delattr("sys.stdin")
    assert asyncio.run(source.payload()) == b"token-1"  # it can be read only once
    for descriptor in (reading, writing)[: 1 + open_end]:
        os.close(descriptor)


def test_a_standard_input_that_is_closed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(AttestationError, match="which is closed"):
        asyncio.run(TokenSource(None, Path("-")).payload())


_WAITS = """
import asyncio, os, sys
from pathlib import Path
from finial.agent.attest_node import TokenSource

async def main() -> None:
    waiting = asyncio.ensure_future(TokenSource(None, Path(sys.argv[1])).payload())
    done, _ = await asyncio.wait([waiting], timeout=0.05)
    assert not done

asyncio.run(main())
"""


@pytest.mark.parametrize("name", ["-", "fifo"])
def test_a_token_that_never_comes_does_not_keep_the_agent_from_ending(tmp_path: Path, name: str) -> None:
    path = name if name == "-" else str(tmp_path / name)
    if path != "-":
        os.mkfifo(path)
    with subprocess.Popen([sys.executable, "-c", _WAITS, path], stdin=subprocess.PIPE) as process:
        try:
            assert process.wait(20) == 0
        finally:
            process.kill()


def entry(entry_id: str, revision: int = 0, created_at: int = 1) -> types.Entry:
    return types.Entry(
        id=entry_id,
        spiffe_id=types.SPIFFEID(trust_domain="a.test", path="/x"),
        selectors=[types.Selector(type="t", value="v")],
        revision_number=revision,
        created_at=created_at,
    )


def revision(entry_id: str, number: int = 0, created_at: int = 1) -> entry_pb.EntryRevision:
    return entry_pb.EntryRevision(id=entry_id, revision_number=number, created_at=created_at)


@pytest.mark.parametrize(
    ("replies", "why"),
    [
        ([], "before all entries had been sent"),
        ([Reply(entry_revisions=[revision("a")], more=True)], "before all entries had been sent"),
        ([Reply(entries=[entry("a")]), Reply()], "goes on after all entries"),
    ],
)
def test_syncs_that_end_too_early_or_too_late(replies: list[Reply], why: str) -> None:
    async def sync(call: Any) -> None:
        await call.receive()
        for reply in replies:
            await call.send(reply)

    async def use(channel: Channel) -> None:
        with pytest.raises(ProtocolError, match=why):
            await EntryFetcher().fetch(channel)

    run(served([bidi(entry_pb.Entry.SyncAuthorizedEntries, sync)], use))


def test_only_what_is_missing_or_stale_is_asked_for() -> None:
    state = [revision("a"), revision("b", 1), revision("c"), revision("d", 0, 0)]
    asked: list[list[str]] = []
    missing = {"c"}  # listed, and gone when it is asked for

    async def sync(call: Any) -> None:
        await call.receive()
        await call.send(Reply(entry_revisions=state[:2], more=True))
        await call.send(Reply(entry_revisions=state[2:]))
        known = {each.id: each for each in state}
        async for wanted in call:
            asked.append(list(wanted.ids))
            found = [
                entry(each, known[each].revision_number, known[each].created_at or 7)
                for each in wanted.ids
                if each not in missing
            ]
            for at, each in enumerate(found):  # in several answers
                await call.send(Reply(entries=[each], more=at < len(found) - 1))
            if not found:
                await call.send(Reply())

    async def use(channel: Channel) -> None:
        fetcher = EntryFetcher()
        assert [each.id for each in await fetcher.fetch(channel)] == ["a", "b", "d"]
        assert asked == [["a", "b"], ["c", "d"]]  # as many at a time as were listed at a time
        asked.clear()
        await fetcher.fetch(channel)
        assert asked == [["c"]]  # of d the server does not say when it was made
        asked.clear()
        state[0] = revision("a", 2)
        state[1] = revision("b", 1, 5)
        missing.clear()
        assert {each.id for each in await fetcher.fetch(channel)} == {"a", "b", "c", "d"}
        assert asked == [["a", "b"], ["c"]]
        del state[0]
        assert {each.id for each in await fetcher.fetch(channel)} == {"b", "c", "d"}

    run(served([bidi(entry_pb.Entry.SyncAuthorizedEntries, sync)], use))


def test_a_useless_entry_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    async def sync(call: Any) -> None:
        await call.receive()
        await call.send(Reply(entries=[types.Entry(id="bad"), entry("good")]))

    async def use(channel: Channel) -> None:
        fetcher = EntryFetcher()
        for _ in range(3):
            assert [each.id for each in await fetcher.fetch(channel)] == ["good"]
        assert len([each for each in caplog.records if each.getMessage() == "an entry is skipped"]) == 1

    run(served([bidi(entry_pb.Entry.SyncAuthorizedEntries, sync)], use))


def test_what_an_entry_says_of_its_svids() -> None:
    plain, told = entry("a"), entry("b")
    told.additional_attributes.disable_x509_svid_prefetch = True
    told.additional_attributes.jwt_svid_include_jti = True
    found = [read_authorized(message) for message in (plain, told)]
    assert [each.on_demand for each in found] == [False, True]
    assert [each.unique_tokens for each in found] == [False, True]
    assert agent_mask().additional_attributes  # it is asked for


def test_an_entry_names_all_that_it_lacks() -> None:
    with pytest.raises(RefusedError) as caught:
        read_authorized(types.Entry())
    assert [each.where for each in caught.value.findings] == ["id", "spiffe_id", "selectors"]
    bad = entry("a")
    bad.federates_with.append("Not A Domain")
    with pytest.raises(RefusedError):
        read_authorized(bad)


@pytest.mark.parametrize(
    "sent",
    [types.Bundle(trust_domain="b.test"), types.Bundle(trust_domain="a.test")],
    ids=["foreign", "empty"],
)
def test_own_bundles_that_are_none(sent: types.Bundle) -> None:
    async def use(channel: Channel) -> None:
        with pytest.raises(ProtocolError, match="the server sent a bundle of"):
            await fetch_bundle(channel, TrustDomain("a.test"))

    run(served([unary(bundle_pb.Bundle.GetBundle, lambda request, call: sent)], use))


def test_a_foreign_bundle_of_another_domain_is_refused() -> None:
    sent = types.Bundle(trust_domain="c.test")

    async def use(channel: Channel) -> None:
        with pytest.raises(ProtocolError, match="of c.test for b.test"):
            await fetch_foreign(channel, TrustDomain("b.test"))

    run(served([unary(bundle_pb.Bundle.GetFederatedBundle, lambda request, call: sent)], use))


@pytest.mark.parametrize("kind", ["too few", "for another", "with another key", "junk"])
def test_signatures_that_are_of_no_use_are_tried_again(
    kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with world() as w:
            w.server.add("e1", "/web", ME)
            real = w.server.batch_new

            async def odd(request: Any, call: Any) -> Any:
                reply = await real(request, call)
                if len(w.server.batches) > 2:
                    return reply
                match kind:
                    case "too few":
                        del reply.results[:]
                    case "for another":
                        w.server.add("e2", "/other", "unix:uid:4242")
                        request.params[0].entry_id = "e2"
                        reply = await real(request, call)
                        w.server.batches.pop()
                    case "with another key":
                        leaf = w.server._sign(
                            SpiffeID("spiffe://example.org/web"),
                            new_key().public_key(),
                            timedelta(hours=1),
                        )
                        reply.results[0].svid.cert_chain[0] = leaf.der
                    case "junk":
                        reply.results[0].svid.cert_chain[0] = b"junk"
                return reply

            await w.server.stop()
            monkeypatch.setattr(w.server, "batch_new", odd)
            await w.server.start()
            async with joined(w) as running:
                await w.eventually(lambda: len(w.server.batches) > 2)
                async with stream(w, running) as caller:
                    assert ids(await caller.next()) == ["/web"]
            assert "sign" in caplog.text

    run(main())


def test_a_server_that_is_slow_to_sign_is_waited_for() -> None:
    async def main() -> None:
        async with world() as w:
            w.server.add("e1", "/web", ME)
            w.server.errors["BatchNewX509SVID"] = RpcError(StatusCode.UNAVAILABLE, "not now")
            async with joined(w) as running, stream(w, running) as caller:
                await w.eventually(lambda: w.server.calls["BatchNewX509SVID"] > 2)
                w.server.errors.clear()
                assert ids(await caller.next()) == ["/web"]

    run(main())
