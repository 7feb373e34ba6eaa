from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from finial.core.ids import SpiffeID, TrustDomain
from finial.core.keys import KeyType
from finial.core.revision import STANDARDS
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
default_jwt_svid_ttl = "40s"
max_jwt_svid_ttl = "45s"
default_wit_svid_ttl = "70s"
jwt_key_type = "rsa-4096"
wit_key_type = "ec-p384"
jwt_issuer = "https://issuer.example.org"
disable_jwt_svids = false
refuse_wide_audiences = true
agent_ttl = "50s"
max_join_token_ttl = "1h"
prune_interval = 60
admin_ids = ["spiffe://example.org/admin"]
key_manager = "memory"
node_attestors = ["x509pop"]
shutdown_grace = "1s"
log_level = "debug"
log_format = "json"
[incubating]
wit_svid = "2026-07-01"
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
    assert loaded.settings.jwt_authority_key_type is KeyType.EC_P256
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
        default_jwt_svid_ttl=timedelta(seconds=40),
        max_jwt_svid_ttl=timedelta(seconds=45),
        default_wit_svid_ttl=timedelta(seconds=70),
        jwt_key_type=KeyType.RSA_4096,
        wit_key_type=KeyType.EC_P384,
        jwt_issuer="https://issuer.example.org",
        refuse_wide_audiences=True,
        incubating_wit_svid="2026-07-01",
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
    assert found.jwt_authority_key_type is KeyType.RSA_4096
    assert replace(found, jwt_key_type=None).jwt_authority_key_type is KeyType.RSA_2048
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


CUT = "may end earlier: with ca_ttl 10m only 1m40s always fit"


@pytest.mark.parametrize(
    ("more", "warned"),
    [
        ({}, ["default_x509_svid_ttl, ca_ttl: SVIDs of 1h", "default_jwt_svid_ttl, ca_ttl: SVIDs of 5m"]),
        (
            {"agent_ttl": "3m", "default_x509_svid_ttl": "1m", "disable_jwt_svids": True},
            ["agent_ttl, ca_ttl: SVIDs of 3m"],
        ),
        (
            {"default_x509_svid_ttl": "1m", "default_jwt_svid_ttl": "1m", "incubating_wit_svid": STANDARDS},
            ["default_wit_svid_ttl, ca_ttl: SVIDs of 1h"],
        ),
    ],
)
def test_svids_that_may_be_cut_short_are_warned_of(more: dict[str, object], warned: list[str]) -> None:
    loaded = load(ServerSettings, options={"trust_domain": "a", "ca_ttl": "10m", **more})
    assert loaded.warnings == tuple(f"{each} {CUT}" for each in warned)


@pytest.mark.parametrize(
    ("options", "warning"),
    [
        (
            {"max_jwt_svid_ttl": "2m"},
            "default_jwt_svid_ttl, max_jwt_svid_ttl: JWT-SVIDs end after 2m, not after 5m",
        ),
        (
            {"jwt_issuer": "https://i.example.org", "disable_jwt_svids": True},
            "jwt_issuer, disable_jwt_svids: there are no JWT-SVIDs to name the issuer in",
        ),
        (
            {"jwt_issuer": "https://i.example.org", "incubating_wit_svid": STANDARDS},
            "jwt_issuer, incubating.wit_svid: WIT-SVIDs name none: it would be taken for one to discover",
        ),
        ({"jwt_issuer": "https://i.example.org", "max_jwt_svid_ttl": "5m"}, None),
        ({"max_jwt_svid_ttl": "2m", "disable_jwt_svids": True}, None),
    ],
)
def test_settings_that_surprise_together_are_warned_of(
    options: dict[str, object], warning: str | None
) -> None:
    loaded = load(ServerSettings, options={"trust_domain": "a", **options})
    assert loaded.warnings == (() if warning is None else (warning,))


@pytest.mark.parametrize("issuer", ["https://issuer.example.org/a?b", "urn:example:issuer", "spire"])
def test_an_issuer_is_a_uri_or_a_word(issuer: str) -> None:
    assert (
        load(ServerSettings, options={"trust_domain": "a", "jwt_issuer": issuer}).settings.jwt_issuer
        == issuer
    )


@pytest.mark.parametrize("issuer", ["", "a b", "://a", "1:a", "a:", "https://\u00e4", "a\nb", 5])
def test_what_is_neither_a_uri_nor_a_word_is_no_issuer(issuer: object) -> None:
    with pytest.raises(SettingsError, match="is neither a URI such as https"):
        load(ServerSettings, options={"trust_domain": "a", "jwt_issuer": issuer})


@pytest.mark.spec("STAB-03")
@pytest.mark.parametrize("revision", ["2025-12-01", "true", "", "2026-07-01 "])
def test_another_revision_of_an_incubating_standard_is_refused_by_naming_ours(revision: str) -> None:
    with pytest.raises(SettingsError, match="is not the revision that is implemented: 2026-07-01"):
        load(ServerSettings, options={"trust_domain": "a", "incubating_wit_svid": revision})


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
        ("default_jwt_svid_ttl", "0s"),
        ("default_jwt_svid_ttl", "8000000d"),
        ("max_jwt_svid_ttl", "0s"),
        ("max_jwt_svid_ttl", "8000000d"),
        ("default_wit_svid_ttl", "0s"),
        ("default_wit_svid_ttl", "8000000d"),
        ("jwt_key_type", "ed25519"),
        ("wit_key_type", "ed25519"),
        ("disable_jwt_svids", "perhaps"),
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
