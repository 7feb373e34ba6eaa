from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from finial.agent.config import AgentSettings
from finial.core.ids import TrustDomain
from finial.rpc import Tcp
from finial.runtime.config import SettingsError, load, rows

FILE = """
server = "server.example:8081"
trust_domain = "example.org"
trust_bundle = "/b.pem"
insecure_bootstrap = false
join_token_file = "-"
node_attestor = "join_token"
data_dir = "/d"
socket = "/d/a.sock"
sync_interval = "1s"
availability_target = "48h"
workload_attestors = ["unix", "mine"]
allowed_foreign_jwt_claims = ["email"]
shutdown_grace = "1s"
log_level = "error"
log_format = "json"
[unix]
discover_path = false
sha256_size_limit = -1
[incubating]
wit_svid = "2026-07-01"
[limits]
max_connections = 7
max_concurrent_streams = 8
[metrics]
bind = "127.0.0.1:9989"
[plugins.workload_attestors.mine]
x = true
"""


def test_each_setting_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(FILE)
    loaded = load(AgentSettings, file=path)
    assert loaded.warnings == ()
    assert loaded.settings == AgentSettings(
        server=Tcp("server.example", 8081),
        trust_domain=TrustDomain("example.org"),
        trust_bundle=Path("/b.pem"),
        join_token_file=Path("-"),
        data_dir=Path("/d"),
        socket=Path("/d/a.sock"),
        sync_interval=timedelta(seconds=1),
        availability_target=timedelta(hours=48),
        workload_attestors=("unix", "mine"),
        allowed_foreign_jwt_claims=("email",),
        unix_discover_path=False,
        unix_sha256_size_limit=-1,
        incubating_wit_svid="2026-07-01",
        limits_max_connections=7,
        limits_max_concurrent_streams=8,
        plugins={"workload_attestors": {"mine": {"x": True}}},
        metrics_bind=Tcp("127.0.0.1", 9989),
        shutdown_grace=timedelta(seconds=1),
        log_level="error",
        log_format="json",
    )


def test_every_setting_but_the_token_is_in_that_file() -> None:
    words = {row.key.rpartition(".")[2] for row in rows(AgentSettings)}
    assert {word for word in words if f"{word} =" not in FILE} == {"join_token", "plugins"}


def test_only_the_server_is_needed() -> None:
    assert load(AgentSettings, options={"server": "a:1"}).settings == AgentSettings(server=Tcp("a", 1))
    with pytest.raises(SettingsError, match="server: not set"):
        load(AgentSettings)


def test_the_token_is_a_secret() -> None:
    found = load(AgentSettings, options={"server": "a:1", "join_token": "s3cr3t"}).settings
    assert found.join_token == "s3cr3t"
    assert "s3cr3t" not in repr(found)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"insecure_bootstrap": True, "trust_bundle": "b", "trust_domain": "a"},
            "insecure_bootstrap, trust_bundle",
        ),
        ({"insecure_bootstrap": True}, "the trust domain has to be given"),
        ({"join_token": "a", "join_token_file": "b"}, "give one of the two"),
        ({"sync_interval": "61m"}, "1h1m is more than 1h"),
        ({"incubating_wit_svid": "2026-01-01"}, "not the revision that is implemented: 2026-07-01"),
        ({"availability_target": "1h"}, "availability target 1:00:00 is below"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load(AgentSettings, options={"server": "a:1", **options})


def test_a_token_that_nobody_uses_is_warned_of() -> None:
    loaded = load(AgentSettings, options={"server": "a:1", "join_token": "a", "node_attestor": "x509pop"})
    assert loaded.warnings == (
        "join_token, node_attestor: the token is not used: the node is attested by x509pop",
    )


def test_what_a_file_names_is_shown_fit_for_a_terminal() -> None:
    chosen = AgentSettings(server=Tcp("127.0.0.1", 1), join_token="t", node_attestor="\x1b[0m")
    assert all(remark.message.isprintable() for remark in chosen.remarks())
