"""The certificate parser: garbage gives one kind of error, and what is read can be judged and compared."""

from __future__ import annotations

import random  # noqa: TID251 - seeded
from collections.abc import Mapping
from functools import cache

from cryptography import x509

from finial.core.errors import RefusedError, X509ParseError
from finial.core.rules.engine import Stage
from finial.core.rules.x509 import AUTHORITY, INTERMEDIATE, LEAF
from finial.core.x509cert import Certificate, parse_concatenated
from finial.core.x509svid import X509SVID
from fuzz import stock
from fuzz.target import Target, refused_well
from support import forge

_OIDS = ("2.5.29.15", "2.5.29.17", "2.5.29.19", "2.5.29.30", "2.5.29.35", "2.5.29.37", "2.5.29.32")
_URIS = (b"spiffe://a.test/web", b"spiffe://a.test", b"spiffe://a.test/", b"https://a.test", b"SPIFFE://a/b")
_TAGS = bytes.fromhex("010203040506 0c16 3031 80818286 a0a1a4")


def check(data: bytes) -> None:
    try:
        certificate = Certificate.parse(data)
    except X509ParseError as refused:
        refused_well(refused)
    else:
        assert certificate.der == data
        assert certificate == Certificate.parse(data)
        assert len({certificate, Certificate.parse(data)}) == 1
        assert certificate.serial > 0
        assert certificate.self_issued == (certificate.subject == certificate.issuer)
        assert repr(certificate).isprintable()
        for table in (LEAF, AUTHORITY, INTERMEDIATE):
            for stage in Stage:
                assert all(str(finding).isprintable() for finding in table.findings(certificate, stage))
    try:
        parsed = parse_concatenated(data)
    except X509ParseError as refused:
        refused_well(refused)
    else:
        assert b"".join(each.der for each in parsed) == data
    try:
        svid = X509SVID.from_der(data)
    except RefusedError as refused:
        refused_well(refused)
    else:
        assert b"".join(svid.chain_der()) == data
        assert svid.id.path
        assert svid.leaf.names.uris == (svid.id.text,)
        assert X509SVID.from_pem(svid.chain_pem()) == X509SVID.from_der(svid.chain_der()) == svid


def corpus() -> list[bytes]:
    root = stock.root()
    names = [x509.DNSName("a.test"), x509.RFC822Name("a@a.test"), x509.DirectoryName(forge.name("x"))]
    constraints = forge.constraints([x509.UniformResourceIdentifier("a.test")], names)
    made = [
        root,
        stock.leaf(root),
        stock.leaf(root, others=names),
        stock.authority("inter", root, constraints=constraints, path_length=1),
        stock.root("rsa", own_key=stock.key("fuzz", "rsa-2048")),
        stock.root("ed", own_key=stock.key("fuzz", "ed25519")),
        stock.leaf(root, uris=()),
        stock.leaf(root, uris=(forge.WEB, forge.WEB)),
        stock.leaf(root, "spiffe://a.test", ca=True, usages=("keyCertSign",), purposes=None),
        stock.leaf(root, common_name="", usages=None, ca=None, constraints=constraints),
    ]
    return [*(one.der for one in made), made[1].der + root.der, made[1].der * 17, bytes(33 << 10)]


@cache
def _kept() -> tuple[list[bytes], Mapping[str, bytes], list[bytes]]:
    """A leaf: what is signed, its extensions, and what stands behind."""
    leaf = stock.leaf(stock.root())
    return forge.elements(leaf.der, 1), forge.raw_extensions(leaf), forge.elements(leaf.der)[1:]


def generate(source: random.Random) -> bytes:
    """A sound leaf in which an extension, or another part, is well-formed nonsense; its signature is not."""
    parts, extensions, rest = _kept()
    parts, changed = list(parts), dict(extensions)
    dotted = source.choice(_OIDS)
    value = forge.tlv(0x30, *(nonsense(source, 3) for _ in range(source.randint(0, 3))))
    if source.random() < 0.2:
        value = nonsense(source, 2)
    elif source.random() < 0.3:
        dotted = "2.5.29.17"
        uris = source.choices(_URIS, k=source.choice((0, 1, 1, 2)))
        value = forge.tlv(0x30, *(forge.tlv(0x86, each) for each in uris))
    critical = forge.tlv(0x01, b"\xff") if source.random() < 0.5 else b""
    changed[dotted] = forge.tlv(0x30, forge.oid(dotted), critical, forge.tlv(0x04, value))
    if source.random() < 0.1:
        del changed[source.choice(list(changed))]
    parts[7] = forge.tlv(0xA3, forge.tlv(0x30, *changed.values()))
    if source.random() < 0.1:
        parts[source.randrange(8)] = value
    return forge.tlv(0x30, forge.tlv(0x30, *parts), *rest)


def nonsense(source: random.Random, depth: int) -> bytes:
    """Well-formed DER of random tags."""
    tag = source.choice(_TAGS)
    if depth and tag in {0x30, 0x31, 0xA0, 0xA1, 0xA4}:
        return forge.tlv(tag, *(nonsense(source, depth - 1) for _ in range(source.randint(0, 3))))
    return forge.tlv(tag, source.randbytes(source.randint(0, 6)))


_PARSER = (
    "finial.core.x509cert",
    "finial.core.der",
    "finial.core.x509svid",
    "finial.core.rules.x509",
)
# What a path takes, and what is done with a private key, other targets try.
_OMITS = (
    "_key_rule", "Certificate.signed_by", "X509SVID.expires_at", "X509SVID.key_der", "X509SVID.key_pem",
    "_check_match", "_constraint", "_constraint_kind", "_constraint_limit", "_expired", "_instant",
    "_not_yet_valid", "_path_length",
)  # fmt: skip
TARGET = Target("certificates", corpus, check, generate, modules=_PARSER, omits=_OMITS)
