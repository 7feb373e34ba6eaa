"""How an agent keeps its identity, renews it, and loses it."""

from __future__ import annotations

import errno
import json
import os
from datetime import timedelta
from pathlib import Path

import pytest

from finial.agent.disk import Disk
from finial.core.ids import SpiffeID
from finial.core.keys import PublicKey
from finial.core.x509cert import Certificate
from finial.rpc import RpcError, StatusCode
from finial.runtime import files
from finial.wire.statuses import Denial
from support.agent_world import Agent, agent, ids, joined, stream, world
from support.fake_server import FakeServer
from support.rpc import run

ME = f"unix:uid:{os.getuid()}"
TOKEN_ID = "spiffe://example.org/spire/agent/join_token/token-1"


def test_the_identity_is_renewed_at_half_of_its_life_with_a_new_key() -> None:
    async def main() -> None:
        async with world(agent_ttl=timedelta(seconds=30)) as w, joined(w) as running:
            file = w.folder / "agent/private/identity.json"
            seen = [json.loads(file.read_text())["svid"]]
            begun = w.clock.monotonic()
            while len(seen) < 5:
                await w.tick()
                svid = json.loads(file.read_text())["svid"]
                if svid != seen[-1]:
                    seen.append(svid)
            assert 50 <= w.clock.monotonic() - begun <= 80  # four times 15 seconds
            assert w.server.calls["RenewAgent"] == 4
            assert w.server.nodes[TOKEN_ID].attested == 1
            node = w.server.nodes[TOKEN_ID]
            await w.eventually(lambda: node.pending is None)  # the new one is in use
            assert not running.ended

    run(main())


def test_restarts_do_not_put_off_a_renewal() -> None:
    async def main() -> None:
        async with world(agent_ttl=timedelta(seconds=60)) as w:
            async with joined(w):
                pass
            end = w.clock.now() + timedelta(seconds=60)
            while w.server.calls["RenewAgent"] == 0:
                async with agent(w) as running:
                    await running.synced()
                    for _ in range(20):
                        await w.tick()
                assert w.clock.now() < end - timedelta(seconds=20)

    run(main())


def test_renewal_is_tried_again_while_the_server_is_away() -> None:
    async def main() -> None:
        async with world(agent_ttl=timedelta(seconds=60)) as w, joined(w) as running:
            await w.server.stop()
            for _ in range(180):  # beyond the middle of the life
                await w.tick()
            assert w.server.calls["RenewAgent"] == 0
            await w.server.start()
            await w.eventually(lambda: w.server.calls["RenewAgent"] > 0)
            assert not running.ended

    run(main())


def test_a_reattestable_node_attests_again_instead_of_renewing() -> None:
    async def main() -> None:
        async with world(agent_ttl=timedelta(seconds=60), reattestable=True) as w, joined(w) as running:
            await w.eventually(lambda: w.server.nodes[TOKEN_ID].attested == 1)
            # A token serves once, so this one gets another server's opinion of what a token is.
            w.server.tokens["token-1"] = None
            await w.eventually(lambda: w.server.nodes[TOKEN_ID].attested == 2)
            assert w.server.calls["RenewAgent"] == 0
            assert not running.ended

    run(main())


def test_a_tainted_authority_makes_the_agent_renew_at_once() -> None:
    async def main() -> None:
        async with world() as w, joined(w):
            old, w.server.active = w.server.active, w.server.prepare()
            w.server.taint(old)
            await w.eventually(lambda: w.server.calls["RenewAgent"] == 1)
            for _ in range(80):
                await w.tick()
            assert w.server.calls["RenewAgent"] == 1

    run(main())


def test_the_next_authority_that_is_tainted_makes_it_renew_at_once_again() -> None:
    async def main() -> None:
        async with world() as w, joined(w):
            for count in (1, 2, 3):
                prepared, fetched = w.server.prepare(), w.server.calls["GetBundle"]
                await w.eventually(lambda: w.server.calls["GetBundle"] > fetched)  # noqa: B023 - awaited at once
                old, w.server.active = w.server.active, prepared
                w.server.taint(old)
                await w.pass_time(timedelta(seconds=20))  # less than the pause between two tries
                assert w.server.calls["RenewAgent"] == count

    run(main())


def test_a_server_that_signs_with_the_tainted_authority_is_not_asked_all_the_time() -> None:
    async def main() -> None:
        async with world() as w, joined(w):
            w.server.taint(w.server.active)
            await w.eventually(lambda: w.server.calls["RenewAgent"] == 1)
            for _ in range(120):  # half a minute
                await w.tick()
            assert w.server.calls["RenewAgent"] == 1

    run(main())


def test_a_banned_agent_drops_everything_and_ends() -> None:
    async def main() -> None:
        async with world() as w:
            w.server.add("e1", "/web", ME)
            async with joined(w) as running, stream(w, running) as workload:
                assert ids(await workload.next()) == ["/web"]
                w.server.denial = Denial.AGENT_BANNED
                told = await workload.end()
                assert told.code is StatusCode.PERMISSION_DENIED
                error = await running.end()
                assert "it is banned" in error.message
                assert error.reason.hint
            assert w.stored() == ["bundle.json", "lock"]

    run(main())


def test_a_banned_agent_drops_everything_even_when_its_disk_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path) -> None:
        raise files.failed("delete", path, OSError(errno.EROFS, "Read-only file system"))

    async def main() -> None:
        async with world() as w:
            w.server.add("e1", "/web", ME)
            async with joined(w) as running, stream(w, running) as workload:
                await workload.next()
                monkeypatch.setattr(files, "remove", refused)
                w.server.denial = Denial.AGENT_BANNED
                assert (await workload.end()).code is StatusCode.PERMISSION_DENIED
                assert (await running.end()).reason.id == "agent-banned"

    run(main())


@pytest.mark.parametrize(
    "denial",
    [
        Denial.AGENT_NOT_ATTESTED,
        Denial.AGENT_NOT_ACTIVE,
        Denial.AGENT_MUST_REATTEST,
    ],
)
def test_an_expelled_agent_that_cannot_attest_again_ends(denial: Denial) -> None:
    async def main() -> None:
        async with world() as w:
            async with joined(w) as first:
                assert first.running
            async with agent(w) as running:
                await running.synced()
                w.server.denial = denial
                error = await running.end()
                assert f"the server refuses agent {TOKEN_ID}" in error.message
                assert "finial server token generate" in error.reason.hint
            assert w.stored() == ["bundle.json", "lock"]

    run(main())


def test_a_server_whose_clock_has_jumped_ends_no_agent_whose_own_clock_disagrees() -> None:
    async def main() -> None:
        async with world() as w:
            w.server.add("e1", "/web", ME)
            async with joined(w) as running, stream(w, running) as workload:
                await workload.next()
                w.server.denial = Denial.AGENT_EXPIRED
                await w.clock.advance(timedelta(minutes=2))
                await workload.quiet()
                w.server.denial = None
                w.server.add("e2", "/api", ME)
                assert ids(await workload.next()) == ["/web", "/api"]
                assert not running.ended

    run(main())


def test_an_evicted_agent_attests_again_if_it_can_and_its_workloads_notice_nothing() -> None:
    async def main() -> None:
        async with world(reattestable=True) as w:
            w.server.add("e1", "/web", ME)
            async with joined(w) as running, stream(w, running) as workload:
                await workload.next()
                del w.server.nodes[TOKEN_ID]
                w.server.tokens["token-1"] = None
                await w.eventually(lambda: TOKEN_ID in w.server.nodes)
                await workload.quiet()
                assert not running.ended

    run(main())


def test_an_evicted_agent_with_a_used_token_ends() -> None:
    async def main() -> None:
        async with world() as w, joined(w) as running:
            w.server.tokens["token-1"] = b"used, long ago"
            del w.server.nodes[TOKEN_ID]
            error = await running.end()
            assert "attesting again failed" in error.message
            assert "already been used" in error.message

    run(main())


def test_a_refusal_without_details_is_waited_out() -> None:
    async def main() -> None:
        async with world() as w, joined(w) as running:
            w.server.errors["SyncAuthorizedEntries"] = RpcError(StatusCode.PERMISSION_DENIED, "for now")
            for _ in range(200):
                await w.tick()
            assert not running.ended
            calls = w.server.calls["SyncAuthorizedEntries"]
            assert 2 < calls < 12  # with ever longer pauses
            w.server.errors.clear()
            await w.eventually(lambda: w.server.calls["SyncAuthorizedEntries"] > calls)

    run(main())


def test_an_svid_under_a_newer_authority_brings_the_newer_bundle() -> None:
    async def main() -> None:
        async with world() as w:
            newer = w.server.node_authority = w.server.prepare()
            async with joined(w, trust_bundle=w.trust) as running:
                w.server.active, w.server.node_authority = newer, None
                w.server.revoke(w.server.published[0])
                assert len(Disk(w.folder / "agent").bundle().x509_authorities) == 2  # type: ignore[union-attr]
                await w.eventually(lambda: w.server.calls["SyncAuthorizedEntries"] > 3)
                assert Disk(w.folder / "agent").bundle() == w.server.bundle
                assert not running.ended

    run(main())


def test_a_renewal_under_an_authority_that_is_not_published_is_not_taken() -> None:
    async def main() -> None:
        async with world(agent_ttl=timedelta(seconds=60)) as w, joined(w) as running:
            file = w.folder / "agent/private/identity.json"
            before = file.read_text()
            hidden = w.server.node_authority = w.server.new_authority()
            await w.eventually(lambda: w.server.calls["RenewAgent"] > 1)
            assert file.read_text() == before
            w.server.published.append(hidden)
            w.server.sequence += 1
            await w.eventually(lambda: file.read_text() != before)
            assert not running.ended

    run(main())


def test_a_renewal_in_another_name_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    real = FakeServer._sign_agent

    def in_another_name(self: FakeServer, agent_id: SpiffeID, key: PublicKey) -> Certificate:
        self.calls["other"] += 1
        return real(self, SpiffeID("spiffe://example.org/spire/agent/join_token/other"), key)

    async def main() -> None:
        async with world(agent_ttl=timedelta(seconds=60)) as w, joined(w) as running:
            with monkeypatch.context() as patch:
                patch.setattr(FakeServer, "_sign_agent", in_another_name)
                await w.eventually(lambda: w.server.calls["other"] > 1)
            file = w.folder / "agent/private/identity.json"
            before = file.read_text()
            await w.eventually(lambda: file.read_text() != before)
            identity = Disk(w.folder / "agent").identity()
            assert identity is not None
            assert identity.id.text == TOKEN_ID
            assert not running.ended

    run(main())


def test_an_svid_that_nothing_proves_is_not_kept() -> None:
    async def main() -> None:
        async with world() as w:
            w.server.node_authority = w.server.new_authority()
            error = await Agent(w, w.settings(join_token=w.server.token())).end()
            assert "an SVID that its bundle does not prove" in error.message
            assert w.stored() == ["lock"]

    run(main())


def test_an_svid_whose_bundle_cannot_be_had_yet_is_kept_all_the_same() -> None:
    async def main() -> None:
        async with world() as w:
            w.server.node_authority = w.server.prepare()
            w.server.errors["GetBundle"] = RpcError(StatusCode.UNAVAILABLE, "not now")
            async with agent(w, join_token=w.server.token()) as running:
                await running.ready()
                assert w.server.nodes[TOKEN_ID].attested == 1
                w.server.errors.clear()
                await running.synced()

    run(main())


def test_calls_made_with_an_older_identity_do_not_cost_the_newer_one() -> None:
    async def main() -> None:
        async with world(agent_ttl=timedelta(seconds=60)) as w, joined(w) as running:
            w.server.gate.clear()  # a sync hangs while the identity is renewed
            await w.eventually(lambda: w.server.calls["RenewAgent"] > 0)
            old = w.server.nodes[TOKEN_ID].current
            w.server.gate.set()
            await w.eventually(lambda: w.server.nodes[TOKEN_ID].current != old)
            syncs = w.server.calls["SyncAuthorizedEntries"]
            await w.eventually(lambda: w.server.calls["SyncAuthorizedEntries"] > syncs + 1)
            assert w.server.nodes[TOKEN_ID].attested == 1
            assert not running.ended

    run(main())
