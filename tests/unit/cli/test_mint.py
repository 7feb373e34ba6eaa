from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from finial.core.x509svid import X509SVID
from finial.wire.gen import spire_api_server_svid_v1 as pb
from finial.wire.gen import spire_api_types as types
from support.admin import FakeServer, Finial
from support.certs import NOW, Authority

CA = Authority("example.org")
ID = "spiffe://example.org/m"


def signed(request: pb.MintX509SVIDRequest) -> pb.MintX509SVIDResponse:
    """A leaf for the key of the request, as the server of the test's authority would sign it."""
    csr = x509.load_der_x509_csr(request.csr)
    template = x509.load_pem_x509_certificate(CA.leaf("/m").chain_pem)
    key = csr.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    builder = (
        x509.CertificateBuilder()
        .subject_name(template.subject)
        .issuer_name(template.issuer)
        .public_key(key)
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(template.not_valid_after_utc)
    )
    for extension in template.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    chain = [builder.sign(CA.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)]
    return pb.MintX509SVIDResponse(svid=types.X509SVID(cert_chain=chain))


@pytest.fixture
def minting(server: FakeServer) -> FakeServer:
    server.answers["MintX509SVID"] = signed
    server.answers["GetBundle"] = lambda _request: types.Bundle(
        trust_domain="example.org", x509_authorities=[types.X509Certificate(asn1=CA.der)]
    )
    return server


def test_an_svid_is_written_with_its_key(minting: FakeServer, finial: Finial, tmp_path: Path) -> None:
    folder = tmp_path / "svid"
    found = finial("server", "x509", "mint", "--socket", minting.socket, "--spiffe-id", ID, "--write", folder)
    assert (found.code, found.out) == (0, "")
    assert "wrote svid.pem, key.pem and bundle.pem into" in found.err
    svid = X509SVID.from_pem((folder / "svid.pem").read_bytes(), (folder / "key.pem").read_bytes())
    assert svid.id.text == ID
    assert (folder / "bundle.pem").read_bytes().startswith(b"-----BEGIN CERTIFICATE-----")
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == {
        "svid.pem": 0o600,
        "key.pem": 0o600,
        "bundle.pem": 0o600,
    }


def test_the_request_says_what_was_asked_for(minting: FakeServer, finial: Finial) -> None:
    base = ("server", "x509", "mint", "--socket", minting.socket)
    finial(*base, "--spiffe-id", ID, "--dns", "a.example", "--dns", "b.example", "--ttl", "2m")
    finial(*base, "-spiffeID", ID, "-dns=a.example", "-dns", "b.example", "-ttl", "120")
    requests = [request for name, request in minting.asked if name == "MintX509SVID"]
    assert len(requests) == 2
    for request in requests:
        csr = x509.load_der_x509_csr(request.csr)
        names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.UniformResourceIdentifier) == [ID]
        assert names.get_values_for_type(x509.DNSName) == ["a.example", "b.example"]
        assert csr.is_signature_valid
        assert request.ttl == 120


def test_without_a_folder_everything_is_printed(minting: FakeServer, finial: Finial) -> None:
    base = ("server", "x509", "mint", "--socket", minting.socket, "--spiffe-id", ID)
    found = finial(*base)
    assert [line for line in found.out.splitlines() if line.endswith(":")] == [
        "X509-SVID:",
        "Private key:",
        "Root CAs:",
    ]
    document = json.loads(finial(*base, "--output", "json").out)
    chain = [base64.b64decode(each) for each in document["x509_svid"]]
    assert X509SVID.from_der(chain, base64.b64decode(document["private_key"])).id.text == ID
    assert [base64.b64decode(each) for each in document["root_cas"]] == [CA.der]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--spiffe-id", "x"], "--spiffe-id: 'x' does not begin"),
        (["--spiffe-id", ID, "--ttl", "x"], "--ttl: 'x' is not a duration"),
        (["--spiffe-id", ID, "--dns", "ä.example"], "--dns: "),
    ],
)
def test_bad_values_are_refused(words: list[str], complaint: str, finial: Finial) -> None:
    found = finial("server", "x509", "mint", *words)
    assert found.code == 1
    assert complaint in found.err


def test_nothing_is_left_behind_by_a_refusal(server: FakeServer, finial: Finial, tmp_path: Path) -> None:
    found = finial(
        "server",
        "x509",
        "mint",
        "--socket",
        tmp_path / "absent",
        "--spiffe-id",
        ID,
        "--write",
        tmp_path / "f",
    )
    assert found.code == 1
    assert not (tmp_path / "f").exists()
