"""How an agent gets its identity, and takes it up again after restarts and kills."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from finial.agent.disk import Disk
from finial.agent.node import PATIENCE
from finial.core.ids import SpiffeID, TrustDomain
from finial.core.keys import public_key_der
from finial.rpc import StatusCode
from support.agent_world import Agent, agent, joined, stream, world
from support.fake_server import FakeServer
from support.rpc import run

ME = f"unix:uid:{os.getuid()}"
TOKEN_ID = "spiffe://example.org/spire/agent/join_token/token-1"


def test_a_node_joins_by_token_and_keeps_what_it_got() -> None:
    async def main() -> None:
        async with world() as w:
            async with joined(w) as running:
                assert running.running is not None
                assert running.running.agent_id.text == TOKEN_ID
                await w.eventually(lambda: bool(w.server.versions))
            data = w.folder / "agent"
            assert w.stored() == ["bundle.json", "lock", "private/identity.json"]
            assert stat.S_IMODE(data.stat().st_mode) == 0o755
            assert stat.S_IMODE((data / "private").stat().st_mode) == 0o700
            assert stat.S_IMODE((data / "private/identity.json").stat().st_mode) == 0o600
            assert w.server.versions[0].startswith("finial ")

    run(main())


def test_the_socket_is_for_everybody() -> None:
    async def main() -> None:
        async with world() as w, joined(w) as running:
            assert stat.S_IMODE(Path(running.socket.path).stat().st_mode) == 0o777

    run(main())


def test_a_restart_needs_no_token_and_no_server() -> None:
    async def main() -> None:
        async with world() as w:
            async with joined(w):
                pass
            await w.server.stop()
            async with agent(w, trust_bundle=None) as again:
                assert (await again.ready()).agent_id.text == TOKEN_ID
                async with stream(w, again) as waiting:
                    error = await waiting.end()
                    assert error.code is StatusCode.UNAVAILABLE
                    assert "has not yet heard from its server" in error.message
                await w.server.start()
                await again.synced()
            assert w.server.nodes[TOKEN_ID].attested == 1

    run(main())


def test_a_kill_between_the_tokens_use_and_the_svids_arrival_heals() -> None:
    async def main() -> None:
        async with world() as w:
            token = w.server.token()
            w.server.gate.clear()
            first = Agent(w, w.settings(join_token=token))
            await w.eventually(lambda: w.server.calls["AttestAgent"] > 0)
            key = (w.folder / "agent/private/attest-key.pem").read_bytes()
            assert stat.S_IMODE((w.folder / "agent/private/attest-key.pem").stat().st_mode) == 0o600
            await first.kill()
            assert not (w.folder / "agent/private/identity.json").exists()
            # The server did take the token, and wrote down by which key.
            w.server.tokens[token] = public_key_der(Disk(w.folder / "agent").attest_key().public_key())
            w.server.gate.set()
            async with agent(w, join_token=token) as again:
                assert (w.folder / "agent/private/attest-key.pem").read_bytes() == key
                await again.synced()
            assert w.stored() == ["bundle.json", "lock", "private/identity.json"]

    run(main())


def test_a_used_token_is_refused_with_the_next_step() -> None:
    async def main() -> None:
        async with world() as w:
            w.server.tokens["token-1"] = b"somebody's key"
            error = await Agent(w, w.settings(join_token="token-1")).end()
            assert "join token does not exist or has already been used" in error.message
            assert "finial server token generate" in error.reason.hint
            assert "token-1" not in str(error)

    run(main())


@pytest.mark.parametrize("text", ["", "  \n", "two words", "t\xf6ken"])
def test_what_is_no_token_is_refused_before_it_is_sent(tmp_path: Path, text: str) -> None:
    async def main() -> None:
        async with world() as w:
            file = tmp_path / "token"
            file.write_text(text)
            error = await Agent(w, w.settings(join_token_file=file)).end()
            assert error.reason.id == "agent-token-missing"
            assert not w.server.tokens

    run(main())


def test_a_token_comes_from_a_file(tmp_path: Path) -> None:
    async def main() -> None:
        async with world() as w:
            file = tmp_path / "token"
            file.write_text(w.server.token("from-file") + "\n")
            async with agent(w, join_token_file=file) as running:
                assert (await running.ready()).agent_id.path == "/spire/agent/join_token/from-file"
            file.unlink()  # a node that has joined needs it no more
            async with agent(w, join_token_file=file) as running:
                await running.ready()

    run(main())


def test_no_token_and_no_identity_is_an_error() -> None:
    async def main() -> None:
        async with world() as w:
            error = await Agent(w, w.settings()).end()
            assert "no join token" in error.message
            assert "--join-token-file" in error.reason.hint

    run(main())


def test_an_unreachable_server_is_given_up_after_a_while() -> None:
    async def main() -> None:
        async with world() as w:
            token = w.server.token()
            await w.server.stop()
            begun = w.clock.monotonic()
            error = await Agent(w, w.settings(join_token=token)).end()
            assert error.reason.id == "agent-server-unreachable"
            assert "Connection refused" in error.message
            assert f"cannot connect to {w.server.address}" in error.message
            assert w.clock.monotonic() - begun >= PATIENCE.total_seconds()

    run(main())


def test_a_server_that_comes_in_time_is_joined() -> None:
    async def main() -> None:
        async with world() as w:
            await w.server.stop()
            running = Agent(w, w.settings(join_token=w.server.token()))
            for _ in range(8):
                await w.tick()
            await w.server.start()
            await running.synced()
            assert w.server.calls["AttestAgent"] == 1
            await running.stop()

    run(main())


def test_the_wrong_server_is_refused_at_once() -> None:
    async def main() -> None:
        async with world() as w:
            impostor = FakeServer(w.clock)
            w.trust.write_bytes(impostor.active.pem)
            begun = w.clock.monotonic()
            error = await Agent(w, w.settings(join_token=w.server.token())).end()
            assert error.reason.id == "agent-server-unverified"
            assert f"{w.server.address} is not the server of example.org" in error.message
            assert "finial server bundle show" in error.reason.hint
            assert w.clock.monotonic() - begun < 2
            assert w.server.tokens == {"token-1": None}  # it was never shown the token

    run(main())


def test_a_workload_that_listens_in_the_servers_place_is_refused() -> None:
    async def main() -> None:
        async with world(server_path=SpiffeID("spiffe://example.org/web")) as w:
            error = await Agent(w, w.settings(join_token=w.server.token())).end()
            assert "expected spiffe://example.org/spire/server" in error.message

    run(main())


def test_insecure_bootstrap_believes_the_first_and_verifies_from_then_on() -> None:
    async def main() -> None:
        async with world() as w:
            changes = {
                "trust_bundle": None,
                "insecure_bootstrap": True,
                "trust_domain": TrustDomain("example.org"),
            }
            async with joined(w, **changes):
                pass
            # From now on another server of that name is not believed.
            await w.server.stop()
            impostor = FakeServer(w.clock, address=w.server.address)
            await impostor.start()
            async with agent(w, **changes) as again:
                await again.ready()
                for _ in range(40):
                    await w.tick()
                assert again.running is not None
                assert not again.running.synced.is_set()
            assert not impostor.calls
            await impostor.stop()

    run(main())


def test_insecure_bootstrap_wants_the_servers_name_all_the_same() -> None:
    async def main() -> None:
        async with world() as w:
            changes = {
                "trust_bundle": None,
                "insecure_bootstrap": True,
                "trust_domain": TrustDomain("other.test"),
            }
            error = await Agent(w, w.settings(join_token=w.server.token(), **changes)).end()
            assert "is not spiffe://other.test/spire/server" in error.message
            assert w.server.tokens == {"token-1": None}

    run(main())


def test_a_data_folder_of_another_trust_domain_is_refused() -> None:
    async def main() -> None:
        async with world() as w:
            async with joined(w):
                pass
            foreign = FakeServer(w.clock, domain=TrustDomain("other.test"))
            w.trust.write_bytes(foreign.active.pem)
            error = await Agent(w, w.settings()).end()
            assert error.message == (
                f"the data folder {w.folder / 'agent'} is of trust domain example.org, not of other.test"
            )

    run(main())


def test_two_agents_do_not_share_a_folder_or_a_socket(tmp_path: Path) -> None:
    async def main() -> None:
        async with world() as w, joined(w) as running:
            error = await Agent(w, w.settings()).end()
            assert "is in use by another process" in error.message
            elsewhere = w.settings(data_dir=tmp_path / "b", join_token=w.server.token("token-2"))
            error = await Agent(w, elsewhere).end()
            assert error.message == f"cannot listen on {running.socket.path}: another process does"
            assert w.server.tokens["token-2"] is None  # nothing half done

    run(main())


def test_a_damaged_identity_is_named() -> None:
    async def main() -> None:
        async with world() as w:
            async with joined(w):
                pass
            (w.folder / "agent/private/identity.json").write_text('{"format": 1, "svid": "')
            error = await Agent(w, w.settings()).end()
            assert "identity.json is damaged" in error.message

    run(main())
