from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from finial.core.ids import SpiffeID, TrustDomain
from finial.core.keys import KeyType
from finial.rpc import Limits, Tcp
from finial.runtime.config import SettingsError, load, rows
from finial.server.config import ServerSettings

FILE = """
trust_domain = "example.org"
data_dir = "/d"
bind = "[::]:9000"
socket = "/d/s.sock"
ca_ttl = "10m"
ca_key_type = "rsa-2048"
default_x509_svid_ttl = "1m"
agent_ttl = "50s"
max_join_token_ttl = "1h"
prune_interval = 60
admin_ids = ["spiffe://example.org/admin"]
key_manager = "memory"
node_attestors = ["x509pop"]
shutdown_grace = "1s"
log_level = "debug"
log_format = "json"
[ratelimit]
attestation = false
signing = false
[limits]
max_connections = 10
max_connections_per_address = 7
max_handshakes = 5
max_concurrent_streams = 20
max_receive_bytes = "1MiB"
handshake_timeout = "3s"
max_connection_age = 0
max_connection_grace = "7s"
send_timeout = 0
[plugins.node_attestors.x509pop]
ca_bundle_path = "/ca.pem"
"""


def test_only_a_trust_domain_is_needed() -> None:
    loaded = load(ServerSettings, options={"trust_domain": "example.org"})
    assert loaded.warnings == ()
    assert loaded.settings == ServerSettings(trust_domain=TrustDomain("example.org"))
    assert loaded.settings.agent_svid_ttl == timedelta(hours=1)
    assert loaded.settings.limits == Limits(max_connection_age=timedelta(hours=1))
    with pytest.raises(SettingsError, match="trust_domain: not set: give --trust-domain"):
        load(ServerSettings)


def test_each_setting_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text(FILE)
    found = load(ServerSettings, file=path).settings
    assert found == ServerSettings(
        trust_domain=TrustDomain("example.org"),
        data_dir=Path("/d"),
        bind=Tcp("::", 9000),
        socket=Path("/d/s.sock"),
        ca_ttl=timedelta(minutes=10),
        ca_key_type=KeyType.RSA_2048,
        default_x509_svid_ttl=timedelta(minutes=1),
        agent_ttl=timedelta(seconds=50),
        max_join_token_ttl=timedelta(hours=1),
        prune_interval=timedelta(minutes=1),
        admin_ids=(SpiffeID("spiffe://example.org/admin"),),
        key_manager="memory",
        node_attestors=("x509pop",),
        plugins={"node_attestors": {"x509pop": {"ca_bundle_path": "/ca.pem"}}},
        ratelimit_attestation=False,
        ratelimit_signing=False,
        limits_max_connections=10,
        limits_max_connections_per_address=7,
        limits_max_handshakes=5,
        limits_max_concurrent_streams=20,
        limits_max_receive_bytes=1 << 20,
        limits_handshake_timeout=timedelta(seconds=3),
        limits_max_connection_age=timedelta(0),
        limits_max_connection_grace=timedelta(seconds=7),
        limits_send_timeout=timedelta(0),
        shutdown_grace=timedelta(seconds=1),
        log_level="debug",
        log_format="json",
    )
    assert found.agent_svid_ttl == timedelta(seconds=50)
    assert found.limits == Limits(
        max_connections=10,
        max_connections_per_address=7,
        max_handshakes=5,
        max_concurrent_streams=20,
        max_receive_bytes=1 << 20,
        handshake_timeout=timedelta(seconds=3),
        max_connection_grace=timedelta(seconds=7),
        send_timeout=None,
    )
    for_ever = replace(found, limits_max_connection_grace=timedelta(0), limits_send_timeout=timedelta(1))
    assert for_ever.limits.max_connection_grace is None
    assert for_ever.limits.send_timeout == timedelta(1)


def test_every_setting_is_in_that_file() -> None:
    words = {row.key.rpartition(".")[2] for row in rows(ServerSettings)}
    assert {word for word in words if word not in FILE} == set()


def test_svids_that_may_be_cut_short_are_warned_of() -> None:
    loaded = load(ServerSettings, options={"trust_domain": "a", "ca_ttl": "10m", "agent_ttl": "3m"})
    assert loaded.warnings == (
        "default_x509_svid_ttl, ca_ttl: SVIDs of 1h may end earlier: with ca_ttl 10m only 1m40s always fit",
        "agent_ttl, ca_ttl: SVIDs of 3m may end earlier: with ca_ttl 10m only 1m40s always fit",
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ca_ttl", "0"),
        ("ca_ttl", "59s"),
        ("ca_ttl", "8000000d"),
        ("default_x509_svid_ttl", "8000000d"),
        ("agent_ttl", "8000000d"),
        ("max_join_token_ttl", "8000000d"),
        ("default_x509_svid_ttl", "0s"),
        ("limits_max_connections", "0"),
        ("limits_max_connections_per_address", "0"),
        ("limits_max_connection_grace", "-1s"),
        ("limits_send_timeout", "-1s"),
        ("limits_max_receive_bytes", "1KiB"),
        ("limits_max_receive_bytes", "1GiB"),
        ("bind", "8081"),
        ("ca_key_type", "ec-p999"),
        ("log_level", "loud"),
    ],
)
def test_values_that_cannot_work_are_refused(name: str, value: str) -> None:
    with pytest.raises(SettingsError):
        load(ServerSettings, options={"trust_domain": "a", name: value})
