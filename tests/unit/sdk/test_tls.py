"""TLS for applications: real handshakes over socket pairs."""

from __future__ import annotations

import logging
import ssl
from datetime import timedelta
from pathlib import Path

import pytest

from finial.core.bundle import Bundle
from finial.core.errors import FinialError, Kind, Reason
from finial.core.match import ANY_ID, ExactID, MemberOf
from finial.core.x509svid import X509SVID
from finial.sdk import (
    X509Bundles,
    X509Context,
    anonymous_client_context,
    client_context,
    open_server_context,
    peer_id,
    peer_of,
    server_context,
)
from support import forge
from support.clock import ManualClock
from support.fake_workload import ROOT_A, ROOT_B, TODAY, fresh_leaf, svid_of
from support.tls_peers import (
    BOTH,
    DB,
    FOREIGN,
    ONLY_A,
    ONLY_B,
    WEB,
    Changing,
    db,
    foreign,
    refusal,
    shaken,
    web,
)


def test_both_sides_know_each_other() -> None:
    server = server_context(db(), BOTH, ExactID(WEB))
    client = client_context(web(), BOTH, ExactID(DB))
    with shaken(server, client) as it:
        assert isinstance(it.client, ssl.SSLSocket)
        assert isinstance(it.server, ssl.SSLSocket)
        assert peer_id(it.client) == DB
        assert peer_id(it.server) == WEB
        assert peer_of(it.server).expires_at == TODAY.replace(microsecond=0) + forge.DAY
        it.client.sendall(b"hello")
        it.client.write(b"!")
        assert it.server.recv(5) + it.server.recv(1) == b"hello!"
        assert it.server.version() == "TLSv1.3"


def test_a_federated_peer_is_known() -> None:
    with shaken(server_context(db(), BOTH, MemberOf(forge.B)), client_context(foreign(), BOTH, ANY_ID)) as it:
        assert peer_id(it.server) == FOREIGN


@pytest.mark.spec("WAPI-21")
def test_a_foreign_trust_domain_is_named() -> None:
    server = server_context(db(), ONLY_A, ANY_ID)
    client = client_context(foreign(), BOTH, ANY_ID)
    with shaken(server, client) as it:
        assert "there is no federation with trust domain b.test" in refusal(it.server)
    # The other way round: the client does not know the server's domain.
    with shaken(server_context(db(), BOTH, ANY_ID), client_context(foreign(), ONLY_B, ANY_ID)) as it:
        assert "there is no federation with trust domain a.test" in refusal(it.client)


@pytest.mark.spec("WAPI-21", "BUNDLE-06")
def test_a_federated_authority_cannot_vouch_for_our_names() -> None:
    """OpenSSL is content: the forger's root is among its roots."""
    forged = svid_of(fresh_leaf(ROOT_B, WEB.text))
    with shaken(server_context(db(), BOTH, ANY_ID), client_context(forged, BOTH, ANY_ID)) as it:
        assert "no authority of trust domain a.test is its issuer" in refusal(it.server)
    with shaken(server_context(forged, BOTH, ANY_ID), client_context(db(), BOTH, ANY_ID)) as it:
        assert "no authority of trust domain a.test is its issuer" in refusal(it.client)


def test_the_wrong_id_is_refused_on_either_side(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "finial.sdk")
    with shaken(server_context(db(), BOTH, ExactID(FOREIGN)), client_context(web(), BOTH, ANY_ID)) as it:
        assert f"the peer is {WEB}, expected {FOREIGN}" in refusal(it.server)
        assert "refused a client in the TLS handshake: the peer is" in caplog.text
    with shaken(server_context(db(), BOTH, ANY_ID), client_context(web(), BOTH, ExactID(WEB))) as it:
        assert f"the peer is {DB}, expected {WEB}" in refusal(it.client)


def test_an_expired_peer_is_refused_by_the_clock_that_is_given() -> None:
    expired = svid_of(fresh_leaf(not_after=TODAY - timedelta(minutes=1)))
    with shaken(server_context(db(), BOTH, ANY_ID), client_context(expired, BOTH, ANY_ID)) as it:
        assert "expired" in refusal(it.server)
    earlier = ManualClock(TODAY - timedelta(hours=1))
    server = server_context(db(), BOTH, ANY_ID, clock=earlier)
    with shaken(server, client_context(expired, BOTH, ANY_ID)) as it:
        assert peer_id(it.server) == WEB


def test_a_client_without_certificate_is_refused() -> None:
    with shaken(server_context(db(), BOTH, ANY_ID), anonymous_client_context(BOTH, ExactID(DB))) as it:
        assert refusal(it.server) == "the peer presented no certificate"


def test_one_sided_tls() -> None:
    trust = X509Bundles(BOTH)
    with shaken(open_server_context(db()), anonymous_client_context(trust, ExactID(DB))) as it:
        assert peer_id(it.client) == DB
        with pytest.raises(FinialError, match="has proven no SPIFFE ID"):
            peer_id(it.server)
    with shaken(open_server_context(db()), anonymous_client_context(trust, ExactID(WEB))) as it:
        assert "expected" in refusal(it.client)


def test_a_message_of_the_workload_api_is_a_fixed_source() -> None:
    context = X509Context((web(), db()), BOTH)
    with shaken(server_context(context, context, ANY_ID), client_context(db(), context, ANY_ID)) as it:
        assert peer_id(it.client) == WEB


def test_each_handshake_uses_what_is_newest() -> None:
    source = Changing(db(), BOTH)
    server = server_context(source, source, ANY_ID)
    client = client_context(foreign(), BOTH, ANY_ID)
    with shaken(server, client) as it:
        assert peer_id(it.server) == FOREIGN
        first = peer_of(it.client).leaf
    source.current = db()
    with shaken(server, client) as it:
        assert peer_of(it.client).leaf != first
    source.trust = ONLY_A  # a bundle is redacted
    with shaken(server, client) as it:
        assert "no federation with trust domain b.test" in refusal(it.server)
    source.current = FinialError(Reason("test-revoked", Kind.DENIED), "no identity any more")
    with shaken(server, client) as it:
        assert refusal(it.server) == "no identity any more"
    source.current = db()
    source.trust = BOTH
    with shaken(server, client) as it:
        assert peer_id(it.server) == FOREIGN


def test_a_context_is_built_only_when_something_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    original = ssl.SSLContext.load_cert_chain

    def counting(self: ssl.SSLContext, *arguments: str) -> None:
        built.append(self)
        original(self, *arguments)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", counting)
    source = Changing(db(), BOTH)
    server = server_context(source, source, ANY_ID)
    client = client_context(web(), BOTH, ANY_ID)
    for _ in range(3):
        with shaken(server, client):
            pass
    assert len(built) == 2
    server.minimum_version = ssl.TLSVersion.TLSv1_3
    with shaken(server, client):
        pass
    assert len(built) == 3


def test_the_application_sets_alpn_versions_and_ciphers() -> None:
    server = server_context(db(), BOTH, ANY_ID)
    client = client_context(web(), BOTH, ANY_ID)
    server.set_alpn_protocols(["h2", "http/1.1"])
    client.set_alpn_protocols(["http/1.1"])
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")
    with shaken(server, client) as it:
        assert isinstance(it.client, ssl.SSLSocket)
        assert it.client.selected_alpn_protocol() == "http/1.1"
        assert it.client.version() == "TLSv1.2"
        cipher = it.client.cipher()
        assert cipher is not None
        assert cipher[0] == "ECDHE-ECDSA-AES256-GCM-SHA384"


def test_a_setting_that_fails_later_refuses(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    folder.mkdir()
    server = server_context(db(), BOTH, ANY_ID)
    server.keylog_filename = str(folder / "log")
    with shaken(server, client_context(web(), BOTH, ANY_ID)) as it:
        assert peer_id(it.server) == WEB
    assert "CLIENT_TRAFFIC_SECRET_0" in (folder / "log").read_text("ascii")
    (folder / "log").unlink()
    folder.rmdir()
    server.set_alpn_protocols(["h2"])
    with shaken(server, client_context(web(), BOTH, ANY_ID)) as it:
        assert "no TLS context can be made" in refusal(it.server)


def test_what_is_verified_cannot_be_set() -> None:
    server = server_context(db(), BOTH, ExactID(DB))
    server.verify_mode = ssl.CERT_NONE
    client = client_context(web(), ONLY_B, ANY_ID)
    client.check_hostname = True
    client.load_verify_locations(cadata=ROOT_A.der)
    with shaken(server, client_context(web(), BOTH, ANY_ID)) as it:
        assert "expected" in refusal(it.server)
    with shaken(server_context(db(), BOTH, ANY_ID), client) as it:
        assert "no federation with trust domain a.test" in refusal(it.client)
    with pytest.raises(ValueError, match="SVID of its source"):
        client.load_cert_chain("somewhere.pem")


def test_an_svid_without_its_key_cannot_be_shown() -> None:
    with shaken(
        server_context(X509SVID.from_der([fresh_leaf().der]), BOTH, ANY_ID),
        client_context(web(), BOTH, ANY_ID),
    ) as it:
        assert "without its key" in refusal(it.server)


def test_peer_id_asks_for_a_connection_of_ours() -> None:
    with pytest.raises(FinialError, match="no SPIFFE ID"):
        peer_id(object())


def test_what_one_domain_publishes_keeps_nobody_from_the_others(caplog: pytest.LogCaptureFixture) -> None:
    (theirs,) = BOTH[forge.B].x509_authorities
    odd = Bundle(trust_domain=forge.B, x509_authorities=(forge.unreadable_to_openssl(forge.B), theirs))
    bundles = BOTH.with_bundle(odd)
    with shaken(server_context(db(), bundles, ANY_ID), client_context(web(), bundles, ANY_ID)) as it:
        assert peer_id(it.client) == DB
    with shaken(server_context(db(), bundles, ANY_ID), client_context(foreign(), bundles, ANY_ID)) as it:
        assert peer_id(it.server) == FOREIGN
    assert any("OpenSSL cannot read an authority" in message for message in caplog.messages)
