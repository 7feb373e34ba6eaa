from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from finial.agent.config import AgentSettings
from finial.cli.running import run_until_signal
from finial.core.errors import FinialError, Kind, Reason
from finial.core.ids import SpiffeID, TrustDomain
from finial.core.keys import KeyType
from finial.rpc import Tcp, Unix
from finial.runtime.config import Settings
from finial.server.config import ServerSettings
from support.admin import Finial
from support.rpc import eventually

Ready = Callable[[Any], None]


class FakeServerRunning:
    trust_domain = TrustDomain("example.org")
    address = Tcp("127.0.0.1", 8081)
    socket = Path("/s.sock")


class FakeAgentRunning:
    agent_id = SpiffeID("spiffe://example.org/spire/agent/join_token/t")
    socket = Unix("/s.sock")


class FakeApp:
    """Stands in for an app: notes its settings, says that it is ready, and waits for a signal."""

    def __init__(self) -> None:
        self.settings: list[Any] = []
        self.error: Exception | None = None
        self.stopped = False

    async def run(
        self, settings: Settings, *, clock: object, chance: object, stop: asyncio.Event, ready: Ready
    ) -> None:
        self.settings.append(settings)
        if self.error is not None:
            raise self.error
        ready(FakeServerRunning() if isinstance(settings, ServerSettings) else FakeAgentRunning())
        os.kill(os.getpid(), signal.SIGTERM)
        await stop.wait()
        self.stopped = True


@pytest.fixture(params=["server", "agent"])
def process(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def apps(monkeypatch: pytest.MonkeyPatch) -> FakeApp:
    fake = FakeApp()
    for name in ("server", "agent"):
        module = ModuleType(f"finial.{name}.app")
        module.run = fake.run  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, f"finial.{name}.app", module)
        monkeypatch.setattr(f"finial.{name}.app", module, raising=False)
    return fake


NEEDED = {"server": ("--trust-domain", "example.org"), "agent": ("--server", "127.0.0.1:8081")}


def test_a_signal_ends_it_in_order(process: str, apps: FakeApp, finial: Finial) -> None:
    found = finial(process, "run", *NEEDED[process])
    assert found.code == 0
    assert apps.stopped
    assert found.out == ""
    assert found.err.startswith(f"finial: the {process} of example.org is ready: ")
    assert " at /s.sock. Next: finial " in found.err
    assert found.err.count("\n") == 1


def test_what_an_operator_can_mend_is_one_line(process: str, apps: FakeApp, finial: Finial) -> None:
    apps.error = FinialError(
        Reason("test-in-use", Kind.CONFLICT, hint="Choose another."), "the port is in use"
    )
    found = finial(process, "run", *NEEDED[process])
    assert (found.code, found.err) == (1, "finial: error: the port is in use. Choose another.\n")


def test_every_mistake_in_the_settings_is_a_line(process: str, finial: Finial, tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text("soket = 1\nlog_level = 'loud'\n")
    found = finial(process, "run", "--config", path, "--data-dir", "")
    assert found.code == 1
    assert found.err.splitlines()[0] == (
        f"finial: error: {path}:1: soket: unknown key; did you mean socket? Correct the key or take it out."
    )
    assert [line.split(": ")[2] for line in found.err.splitlines()[1:]] == (
        ["trust_domain", "--data-dir", f"{path}:2"]
        if process == "server"
        else ["server", "--data-dir", f"{path}:2"]
    )


def test_warnings_do_not_keep_it_from_running(apps: FakeApp, finial: Finial) -> None:
    found = finial("server", "run", *NEEDED["server"], "--ca-ttl", "1h")
    assert found.code == 0
    assert found.err.startswith("finial: warning: default_x509_svid_ttl, ca_ttl: SVIDs of 1h may end earlier")


SERVER_OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("--data-dir D", {"data_dir": Path("D")}),
    ("--bind 127.0.0.1:8081", {"bind": Tcp("127.0.0.1", 8081)}),
    ("--socket D/server.sock", {"socket": Path("D/server.sock")}),
    ("-socketPath D/server.sock", {"socket": Path("D/server.sock")}),
    ("--ca-ttl 48h", {"ca_ttl": timedelta(hours=48)}),
    ("--ca-key-type rsa-4096", {"ca_key_type": KeyType.RSA_4096}),
    ("--default-x509-svid-ttl 1m", {"default_x509_svid_ttl": timedelta(minutes=1)}),
    ("--default-jwt-svid-ttl 1m", {"default_jwt_svid_ttl": timedelta(minutes=1)}),
    ("--max-jwt-svid-ttl 10m", {"max_jwt_svid_ttl": timedelta(minutes=10)}),
    ("--default-wit-svid-ttl 1m", {"default_wit_svid_ttl": timedelta(minutes=1)}),
    ("--jwt-key-type ec-p384", {"jwt_key_type": KeyType.EC_P384}),
    ("--wit-key-type rsa-2048", {"wit_key_type": KeyType.RSA_2048}),
    ("--jwt-issuer https://issuer.example.org", {"jwt_issuer": "https://issuer.example.org"}),
    ("--disable-jwt-svids", {"disable_jwt_svids": True}),
    ("--refuse-wide-audiences", {"refuse_wide_audiences": True}),
    ("--incubating-wit-svid 2026-07-01", {"incubating_wit_svid": "2026-07-01"}),
    ("--agent-ttl 30s", {"agent_ttl": timedelta(seconds=30)}),
    ("--max-join-token-ttl 1m", {"max_join_token_ttl": timedelta(minutes=1)}),
    ("--prune-interval 1m", {"prune_interval": timedelta(minutes=1)}),
    (
        "--admin-ids spiffe://a/b --admin-ids spiffe://c/d",
        {"admin_ids": (SpiffeID("spiffe://a/b"), SpiffeID("spiffe://c/d"))},
    ),
    ("--key-manager memory", {"key_manager": "memory"}),
    ("--node-attestors a --node-attestors b", {"node_attestors": ("a", "b")}),
    ("--no-ratelimit-attestation", {"ratelimit_attestation": False}),
    ("--ratelimit-attestation=false", {"ratelimit_attestation": False}),
    ("--no-ratelimit-signing", {"ratelimit_signing": False}),
    ("--limits-max-connections 3", {"limits_max_connections": 3}),
    ("--limits-max-connections-per-address 3", {"limits_max_connections_per_address": 3}),
    ("--limits-max-handshakes 3", {"limits_max_handshakes": 3}),
    ("--limits-max-concurrent-streams 3", {"limits_max_concurrent_streams": 3}),
    ("--limits-max-receive-bytes 1MiB", {"limits_max_receive_bytes": 1 << 20}),
    ("--limits-handshake-timeout 3s", {"limits_handshake_timeout": timedelta(seconds=3)}),
    ("--limits-max-connection-age 0", {"limits_max_connection_age": timedelta(0)}),
    ("--limits-max-connection-grace 0", {"limits_max_connection_grace": timedelta(0)}),
    ("--limits-send-timeout 3s", {"limits_send_timeout": timedelta(seconds=3)}),
    ("--shutdown-grace 0", {"shutdown_grace": timedelta(0)}),
    ("--log-level warning", {"log_level": "warning"}),
    ("--log-format json", {"log_format": "json"}),
    ("-trustDomain example.org", {}),
]


@pytest.mark.parametrize(("words", "fields"), SERVER_OPTIONS)
def test_each_option_of_the_server_has_its_effect(
    words: str, fields: dict[str, Any], apps: FakeApp, finial: Finial
) -> None:
    assert finial("server", "run", *NEEDED["server"], *words.split()).code == 0
    assert apps.settings == [ServerSettings(trust_domain=TrustDomain("example.org"), **fields)]


AGENT_OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("--trust-domain a", {"trust_domain": TrustDomain("a")}),
    ("--trust-bundle bundle.pem", {"trust_bundle": Path("bundle.pem")}),
    ("--insecure-bootstrap --trust-domain a", {"insecure_bootstrap": True, "trust_domain": TrustDomain("a")}),
    ("--join-token T", {"join_token": "T"}),
    ("-joinToken T", {"join_token": "T"}),
    ("--join-token-file -", {"join_token_file": Path("-")}),
    ("--node-attestor tpm", {"node_attestor": "tpm"}),
    ("--data-dir A", {"data_dir": Path("A")}),
    ("--socket A/agent.sock", {"socket": Path("A/agent.sock")}),
    ("--sync-interval 1s", {"sync_interval": timedelta(seconds=1)}),
    ("--availability-target 24h", {"availability_target": timedelta(hours=24)}),
    ("--workload-attestors unix --workload-attestors x", {"workload_attestors": ("unix", "x")}),
    ("--no-unix-discover-path", {"unix_discover_path": False}),
    ("--unix-sha256-size-limit 1GiB", {"unix_sha256_size_limit": 1 << 30}),
    ("--unix-sha256-size-limit -1", {"unix_sha256_size_limit": -1}),
    ("--limits-max-connections 3", {"limits_max_connections": 3}),
    ("--limits-max-concurrent-streams 3", {"limits_max_concurrent_streams": 3}),
    ("--shutdown-grace 1s", {"shutdown_grace": timedelta(seconds=1)}),
    ("--log-level debug", {"log_level": "debug"}),
    ("--log-format json", {"log_format": "json"}),
]


@pytest.mark.parametrize(("words", "fields"), AGENT_OPTIONS)
def test_each_option_of_the_agent_has_its_effect(
    words: str, fields: dict[str, Any], apps: FakeApp, finial: Finial
) -> None:
    assert finial("agent", "run", *NEEDED["agent"], *words.split()).code == 0
    assert apps.settings == [AgentSettings(server=Tcp("127.0.0.1", 8081), **fields)]


def test_a_file_gives_what_options_do_not(apps: FakeApp, finial: Finial, tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text('trust_domain = "other.example"\nca_ttl = "72h"\n')
    assert finial("server", "run", "-config", path, "--trust-domain", "example.org").code == 0
    (found,) = apps.settings
    assert (found.trust_domain.name, found.ca_ttl) == ("example.org", timedelta(hours=72))


def test_a_second_signal_ends_it_at_once() -> None:
    async def stubborn(stop: asyncio.Event) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await stop.wait()
        os.kill(os.getpid(), signal.SIGINT)
        await eventually(lambda: False)

    with pytest.raises(KeyboardInterrupt):
        run_until_signal(stubborn)
