"""An agent whose identity ends: what still helps, and what it says when nothing does."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import pytest

from finial.rpc import ServerCall, StatusCode
from support.agent_world import Agent, agent, joined, stream, world
from support.fake_server import FakeServer
from support.rpc import run

ME = f"unix:uid:{os.getuid()}"
TOKEN_ID = "spiffe://example.org/spire/agent/join_token/token-1"


def test_an_expired_identity_with_a_token_joins_anew() -> None:
    async def main() -> None:
        async with world() as w:
            async with joined(w):
                pass
            await w.clock.advance(timedelta(hours=2))
            error = await Agent(w, w.settings()).end()
            assert error.message == f"the stored SVID of {TOKEN_ID} expired at 2026-11-24 13:00:00 UTC"
            async with agent(w, join_token=w.server.token("token-2")) as running:
                assert (await running.ready()).agent_id.path == "/spire/agent/join_token/token-2"

    run(main())


def test_an_identity_that_ends_while_the_server_is_away_ends_the_agent_after_the_last_svid() -> None:
    async def main() -> None:
        async with world(agent_ttl=timedelta(minutes=5), svid_ttl=timedelta(minutes=10)) as w:
            w.server.add("e1", "/web", ME)
            async with joined(w):
                pass
            async with agent(w) as running:
                await running.synced()
                async with stream(w, running) as workload:
                    await workload.next()
                    await w.server.stop()
                    begun = w.clock.monotonic()
                    error = await workload.end()
                    # The SVID ends, and the agent with it: the workload is told of the one or the other.
                    assert error.code in {StatusCode.UNAVAILABLE, StatusCode.PERMISSION_DENIED}
                    assert 500 < w.clock.monotonic() - begun < 620
                    ended = await running.end()
                    assert ended.reason.id == "agent-expired"

    run(main())


def test_a_clock_that_was_wrong_for_a_while_ends_nothing() -> None:
    async def main() -> None:
        hour = timedelta(hours=1)
        async with world(agent_ttl=hour, svid_ttl=20 * hour) as w:
            w.server.add("e1", "/web", ME)
            async with joined(w):
                pass
            async with agent(w) as running:  # without a token
                await running.synced()
                async with stream(w, running) as workload:
                    await workload.next()
                await w.server.stop()
                w.clock.jump(hour)
                for _ in range(30):
                    await w.tick()
                w.clock.jump(-hour)
                await w.server.start()
                await w.eventually(lambda: w.server.calls["RenewAgent"] > 0, timedelta(seconds=5))
                assert not running.ended

    run(main())


def test_an_identity_that_ended_is_replaced_by_attesting_again_when_the_server_is_back() -> None:
    async def main() -> None:
        async with world(agent_ttl=timedelta(minutes=1), reattestable=True) as w, joined(w) as running:
            await w.server.stop()
            await w.clock.advance(timedelta(minutes=3))
            w.server.tokens["token-1"] = None
            await w.server.start()
            await w.eventually(lambda: w.server.nodes[TOKEN_ID].attested == 2)
            assert not running.ended

    run(main())


def test_an_attestation_that_is_cut_off_is_not_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async def cut(self: FakeServer, call: ServerCall[Any, Any]) -> None:
        await call.receive()
        self.calls["cut"] += 1

    async def main() -> None:
        async with world(agent_ttl=timedelta(minutes=5), reattestable=True) as w, joined(w) as running:
            await w.server.stop()
            await w.tick(timedelta(minutes=6))
            real = FakeServer.attest_agent
            monkeypatch.setattr(FakeServer, "attest_agent", cut)
            await w.server.start()
            await w.eventually(lambda: w.server.calls["cut"] > 1)
            await w.server.stop()
            monkeypatch.setattr(FakeServer, "attest_agent", real)
            w.server.token()  # the same one once more
            await w.server.start()
            await w.eventually(lambda: w.server.nodes[TOKEN_ID].attested > 1)
            assert not running.ended

    run(main())


def test_an_identity_that_ended_with_a_used_token_ends_the_agent() -> None:
    async def main() -> None:
        async with world(agent_ttl=timedelta(minutes=1)) as w, joined(w) as running:
            await w.server.stop()
            await w.clock.advance(timedelta(minutes=3))
            w.server.tokens["token-1"] = b"used, long ago"
            await w.server.start()
            error = await running.end()
            assert error.reason.id == "agent-expired"
            assert "already been used" in error.message

    run(main())
