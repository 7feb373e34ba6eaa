"""Requests of operators: names and subject count, and are read strictly."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from finial.core.csr import read_mint_request
from finial.core.errors import CSRError, FinialError, SpiffeIDError
from finial.core.ids import SpiffeID
from support import forge

KEY = ec.generate_private_key(ec.SECP256R1())
WEB = x509.UniformResourceIdentifier("spiffe://example.org/web")


def _request(*names: x509.GeneralName, subject: str = "") -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name.from_rfc4514_string(subject))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER)


def _subject(data: bytes) -> str | None:
    subject = read_mint_request(data).subject
    return None if subject is None else subject.rfc4514_string()


def test_id_key_and_dns_names_are_taken() -> None:
    names = [x509.DNSName(name) for name in ("b.test", "a.test", "b.test", "*.c.test")]
    asked = read_mint_request(_request(*names, WEB))
    assert asked.spiffe_id == SpiffeID("spiffe://example.org/web")
    assert asked.dns_names == ("b.test", "a.test", "*.c.test")
    assert asked.public_key == KEY.public_key()


def test_the_common_name_gives_way_to_the_first_dns_name() -> None:
    assert _subject(_request(WEB)) is None
    assert _subject(_request(WEB, subject="CN=mine,O=Me")) == "CN=mine,O=Me"
    assert _subject(_request(WEB, x509.DNSName("a.test"), subject="CN=mine,O=Me")) == "CN=a.test,O=Me"
    assert _subject(_request(WEB, x509.DNSName("a.test"), subject="O=Me")) == "CN=a.test,O=Me"
    long = ".".join(["a" * 30] * 3)
    assert _subject(_request(WEB, x509.DNSName(long), subject="CN=mine,O=Me")) == "O=Me"
    assert _subject(_request(WEB, x509.DNSName(""), subject="CN=mine,O=Me")) == "O=Me"


@pytest.mark.parametrize(
    ("data", "error", "text"),
    [
        (_request(), CSRError, "0 URIs"),
        (_request(x509.DNSName("a.test")), CSRError, "0 URIs"),
        (_request(WEB, x509.UniformResourceIdentifier("https://a.test/")), CSRError, "2 URIs"),
        (_request(x509.UniformResourceIdentifier("https://a.test/")), SpiffeIDError, "spiffe://"),
        (_request(WEB, x509.DNSName("*.a.test"), x509.DNSName("x.a.test")), CSRError, "is covered by"),
        (_request(WEB, x509.DNSName("*.a.test"), x509.DNSName("\n.a.test")), CSRError, "'...a.test' is"),
        (b"garbage", CSRError, "cannot be read"),
    ],
)
def test_what_is_ambiguous_is_refused(data: bytes, error: type[FinialError], text: str) -> None:
    with pytest.raises(error, match=text):
        read_mint_request(data)


def test_a_subject_that_cannot_be_read_is_refused() -> None:
    signed, algorithm, _ = forge.elements(_request(WEB, subject="CN=mine"))
    odd = signed.replace(bytes.fromhex("0603550403") + b"\x0c", bytes.fromhex("0603550403") + b"\x77")
    assert odd != signed
    signature = forge.tlv(0x03, b"\0", KEY.sign(odd, ec.ECDSA(hashes.SHA256())))
    with pytest.raises(CSRError, match="cannot be read"):
        read_mint_request(forge.tlv(0x30, odd, algorithm, signature))
