"""The certificate parser: garbage gives one kind of error, and what is read can be judged and compared."""

from __future__ import annotations

import random  # noqa: TID251 - seeded

from cryptography import x509

from finial.core.errors import RefusedError, X509ParseError
from finial.core.rules.engine import Stage
from finial.core.rules.x509 import AUTHORITY, INTERMEDIATE, LEAF
from finial.core.x509cert import Certificate, parse_concatenated
from finial.core.x509svid import X509SVID
from fuzz.target import Target, refused_well
from support import forge


def check(data: bytes) -> None:
    try:
        certificate = Certificate.parse(data)
    except X509ParseError as refused:
        refused_well(refused)
    else:
        assert certificate.der == data
        assert certificate.serial > 0
        assert repr(certificate).isprintable()
        for table in (LEAF, AUTHORITY, INTERMEDIATE):
            for stage in Stage:
                assert all(str(finding).isprintable() for finding in table.findings(certificate, stage))
    for read in (parse_concatenated, X509SVID.from_der):
        try:
            read(data)
        except RefusedError as refused:
            refused_well(refused)


def corpus() -> list[bytes]:
    root = forge.root()
    names = [x509.DNSName("a.test"), x509.RFC822Name("a@a.test"), x509.DirectoryName(forge.name("x"))]
    constraints = forge.constraints([x509.UniformResourceIdentifier("a.test")], names)
    made = [
        root,
        forge.leaf(root),
        forge.leaf(root, others=names),
        forge.authority("inter", root, constraints=constraints, path_length=1),
        forge.root(own_key=forge.key("fuzz", "rsa-2048")),
        forge.root(own_key=forge.key("fuzz", "ed25519")),
    ]
    return [*(one.der for one in made), made[1].der + root.der]


def generate(source: random.Random) -> bytes:
    """A sound certificate in which an extension, or another part, is well-formed nonsense."""
    root = forge.root()
    dotted = source.choice(
        ["2.5.29.15", "2.5.29.17", "2.5.29.19", "2.5.29.30", "2.5.29.35", "2.5.29.37", "2.5.29.32"]
    )
    value = forge.tlv(0x30, *(nonsense(source, 3) for _ in range(source.randint(0, 3))))
    if source.random() < 0.2:
        value = nonsense(source, 2)
    made = forge.with_extensions(forge.leaf(root), root, {dotted: value})
    return made.der if source.random() < 0.9 else forge.rebuild(made, root, {source.randrange(8): value}).der


def nonsense(source: random.Random, depth: int) -> bytes:
    """Well-formed DER of random tags."""
    tag = source.choice(
        [0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0C, 0x16, 0x30, 0x31, 0x80, 0x81, 0x82, 0x86, 0xA0, 0xA1, 0xA4]
    )
    if depth and tag in {0x30, 0x31, 0xA0, 0xA1, 0xA4}:
        return forge.tlv(tag, *(nonsense(source, depth - 1) for _ in range(source.randint(0, 3))))
    return forge.tlv(tag, source.randbytes(source.randint(0, 6)))


_PARSER = (
    "finial.core.x509cert",
    "finial.core.der",
    "finial.core.x509_names",
    "finial.core.x509svid",
    "finial.core.rules.x509",
)
TARGET = Target("certificates", corpus, check, generate, modules=_PARSER)
