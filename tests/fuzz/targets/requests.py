"""Certificate signing requests: a key, perhaps with names, or one refusal."""

from __future__ import annotations

import random  # noqa: TID251 - seeded
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from finial.core.csr import read_csr, read_mint_request
from finial.core.errors import RefusedError
from finial.core.keys import narrow
from fuzz import stock
from fuzz.target import Target, refused_well
from support import forge

_OIDS = ("2.5.4.3", "2.5.4.10", "2.5.4.6", "2.5.4.5", "1.2.3")
_STRINGS = (0x0C, 0x13, 0x16, 0x1E, 0x03, 0x77)
_NAMES = (0x82, 0x82, 0x82, 0x86, 0x81, 0x87, 0x88, 0xA0, 0xA4)
_TEXTS = (b"a.test", b"*.a.test", b"b.a.test", b"", b"a\n.a.test", b"\xff", b"x" * 65, b"*.", b"AA")
_URIS = (
    b"spiffe://a.test/web",
    b"spiffe://a.test/web",
    b"spiffe://a.test",
    b"https://a.test",
    b"",
    b"\x1b[0m",
)


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
    assert asked.spiffe_id.text.isprintable()
    assert len(set(asked.dns_names)) == len(asked.dns_names)


def corpus() -> list[bytes]:
    uri = x509.UniformResourceIdentifier("spiffe://a.test/web")
    return [
        stock.request(),
        stock.request(uri),
        stock.request(uri, uri),
        stock.request(uri, subject="CN=a,O=b"),
        stock.request(uri, x509.DNSName("a.test"), x509.DNSName("*.a.test"), subject="CN=a,O=b"),
        stock.request(uri, x509.DNSName("b.a.test"), x509.DNSName("*.a.test")),
        stock.request(x509.UniformResourceIdentifier("https://a.test"), subject="CN=a"),
        bytes(33 << 10),
    ]


@cache
def _kept() -> tuple[bytes, bytes]:
    """The key of a request, and how it is signed."""
    made = stock.request()
    return forge.elements(made, 1)[2], forge.elements(made)[1]


def generate(source: random.Random) -> bytes:
    """A request that is signed, whatever stands in it: the signature catches most damage to others."""
    key, algorithm = _kept()
    attributes = [
        forge.tlv(0x31, forge.tlv(0x30, forge.oid(source.choice(_OIDS)), _text(source, _STRINGS)))
        for _ in range(source.choice((0, 1, 2)))
    ]
    uris = [forge.tlv(0x86, source.choice(_URIS)) for _ in range(source.choice((0, 1, 1, 1, 1, 2)))]
    names = [_text(source, _NAMES) for _ in range(source.choice((0, 1, 2, 3)))]
    value = forge.tlv(0x30, *names, *uris) if source.random() < 0.9 else source.randbytes(4)
    extension = forge.tlv(0x30, forge.oid("2.5.29.17"), forge.tlv(0x04, value))
    extensions = forge.tlv(0x30, *[extension] * source.choice((1, 1, 1, 1, 0, 2)))
    asked = forge.tlv(0x30, forge.oid("1.2.840.113549.1.9.14"), forge.tlv(0x31, extensions))
    version = bytes([source.choice((0, 0, 0, 0, 1, 2))])
    info = forge.tlv(
        0x30, forge.tlv(0x02, version), forge.tlv(0x30, *attributes), key, forge.tlv(0xA0, asked)
    )
    signer = stock.key("request")
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    signature = signer.sign(info, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
    return forge.tlv(0x30, info, algorithm, forge.tlv(0x03, b"\0", signature))


def _text(source: random.Random, tags: tuple[int, ...]) -> bytes:
    return forge.tlv(source.choice(tags), source.choice(_TEXTS))


_PARSER = ("finial.core.csr",)
TARGET = Target("requests", corpus, check, generate, modules=_PARSER, verifies=True)
