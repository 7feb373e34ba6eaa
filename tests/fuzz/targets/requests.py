"""Certificate signing requests: a key, perhaps with names, or one refusal."""

from __future__ import annotations

import random  # noqa: TID251 - seeded

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from finial.core.csr import read_csr, read_mint_request
from finial.core.errors import RefusedError
from finial.core.keys import narrow
from fuzz.target import Target, refused_well
from support import forge


def check(data: bytes) -> None:
    try:
        key = read_csr(data)
    except RefusedError as refused:
        refused_well(refused)
        return
    assert narrow(key) is key
    try:
        asked = read_mint_request(data)
    except RefusedError as refused:
        refused_well(refused)
        return
    assert asked.public_key == key
    assert len(set(asked.dns_names)) == len(asked.dns_names)


def _request(*names: x509.GeneralName, subject: str = "") -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name.from_rfc4514_string(subject))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(forge.key("csr"), hashes.SHA256()).public_bytes(Encoding.DER)


def corpus() -> list[bytes]:
    uri = x509.UniformResourceIdentifier("spiffe://a.test/web")
    return [
        _request(),
        _request(uri),
        _request(uri, uri),
        _request(uri, x509.DNSName("a.test"), x509.DNSName("*.a.test"), subject="CN=a,O=b"),
        _request(x509.UniformResourceIdentifier("https://a.test"), subject="CN=a"),
    ]


def generate(source: random.Random) -> bytes:
    data = bytearray(source.choice(_KEPT))
    # The signature covers all but itself, so most damage is caught there; the rest is where parsers err.
    at = source.randrange(len(data))
    data[at : at + source.randint(1, 4)] = source.randbytes(source.randint(0, 4))
    return bytes(data)


_KEPT = corpus()
_PARSER = ("finial.core.csr",)
TARGET = Target("requests", corpus, check, generate, modules=_PARSER, verifies=True)
