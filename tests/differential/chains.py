"""Certificates, alone and in chains."""

from __future__ import annotations

import random  # noqa: TID251 - seeded
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from cryptography import x509

from differential.kinds import Found, Kind, Question, Verdict, data, refused
from finial.core.bundle import BundleSet
from finial.core.errors import RefusedError
from finial.core.x509path import verify_x509
from fuzz import stock
from fuzz.mutate import mutated
from fuzz.targets import certificates, chains
from support import forge
from support.judge import question

_EXTENSIONS = ("2.5.29.15", "2.5.29.17", "2.5.29.19", "2.5.29.30", "2.5.29.35", "2.5.29.37", "2.5.29.32")
_SECOND = int(forge.NOW.timestamp())


@cache
def _corpus() -> list[bytes]:
    return [der for der in certificates.corpus() if der]


@cache
def _roots() -> tuple[forge.Made, forge.Made, forge.Made]:
    """The anchors: two of one trust domain, and that of another."""
    return stock.root(), stock.root("root a"), stock.root("root b", forge.B)


def draw(source: random.Random, now: datetime) -> Question:
    form = source.random()
    if form < 0.2:
        chain = [_odd(source)]
    elif form < 0.3:
        chain = [mutated(source, _corpus()), _roots()[0].der]
    elif form < 0.5:
        chain = _mixed(chains.generate(source)) if source.random() < 0.9 else _crowded(source)
    else:
        chain = _changed(source)
    anchors = {
        forge.A.name: [each.der for each in _roots()[:2]],
        forge.B.name: [_roots()[2].der],
    }
    return question("chain", chain=chain, anchors=anchors, now=_SECOND)


def _odd(source: random.Random) -> bytes:
    """A leaf in which an extension is well-formed nonsense."""
    root = _roots()[0]
    value = forge.tlv(0x30, *(certificates.nonsense(source, 3) for _ in range(source.randint(0, 3))))
    if source.random() < 0.2:
        value = certificates.nonsense(source, 2)
    return forge.with_extensions(stock.leaf(root), root, {source.choice(_EXTENSIONS): value}).der


def _mixed(drawn: bytes) -> list[bytes]:
    """As the fuzz target makes a chain of its input."""
    made = chains.stocked()
    return [made[byte % len(made)].der for byte in drawn[:24]]


def _crowded(source: random.Random) -> list[bytes]:
    """A leaf with more ways to its root than we go, of which few are good."""
    leaf, good, bad, upper = _crowd()
    between = [*bad, good] if source.random() < 0.5 else [good, *bad]
    return [leaf, *between, *upper]


@cache
def _crowd() -> tuple[bytes, bytes, list[bytes], list[bytes]]:
    """The leaf, its issuer, others of that name, and several of the issuer above."""
    root, days = _roots()[0], range(1, 6)
    upper = [stock.authority("upper", root, not_after=forge.NOW + forge.DAY * number) for number in days]
    names = [x509.UniformResourceIdentifier(f"b{number}.test") for number in range(4)]
    bad = [stock.authority("signing", upper[0], constraints=forge.constraints([each])) for each in names]
    good = stock.authority("signing", upper[0])
    return stock.leaf(good).der, good.der, [each.der for each in bad], [each.der for each in upper]


def _changed(source: random.Random) -> list[bytes]:
    """A sound chain with up to two changes in its leaf or its signing certificate."""
    root = _roots()[0]
    chain: list[forge.Made] = []
    issuer = root
    if source.random() < 0.4:
        changes: dict[str, Any] = {}
        for _ in range(source.choice((0, 1, 1))):
            changes |= _ca_change(source)
        issuer = stock.authority("signing", root, forge.A, **changes)
        chain.append(issuer)
    changes = {}
    for _ in range(source.randint(0, 2)):
        changes |= _leaf_change(source)
    chain.insert(0, stock.leaf(issuer, **changes))
    ders = [each.der for each in chain]
    if source.random() < 0.1:
        ders.append(root.der)
    if source.random() < 0.02:
        ders += [root.der] * 17
    if source.random() < 0.05:
        source.shuffle(ders)
    return ders


def _leaf_change(source: random.Random) -> dict[str, Any]:
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.7"), b"\x05\x00")
    changes: list[dict[str, Any]] = [
        {"uris": source.choice(_URIS)},
        {"uris": source.choice(_ODD_URIS)},
        {
            "usages": source.choice(
                (
                    None,
                    (),
                    ("digitalSignature",),
                    ("keyEncipherment",),
                    ("keyCertSign",),
                    ("cRLSign", "digitalSignature"),
                )
            )
        },
        {"usage_critical": False},
        {"ca": source.choice((True, None, False))},
        {"purposes": source.choice((None, (), forge.BOTH_PURPOSES[:1]))},
        {"others": [x509.DNSName("db.a.test")]},
        {"not_before": forge.NOW - forge.DAY, "not_after": forge.NOW - forge.DAY / 2},
        {"not_before": forge.NOW + forge.DAY / 2, "not_after": forge.NOW + forge.DAY},
        {"names_critical": True, "common_name": ""},
        {"common_name": ""},
        {"identified": False},
        {"extra": [(unknown, source.random() < 0.5)]},
        {
            "own_key": forge.key(
                "odd", source.choice(("rsa-2048", "rsa-1024", "ed25519", "ec-p384", "ec-p521"))
            )
        },
    ]
    return source.choice(changes)


_ODD_URIS: Sequence[Sequence[str]] = (
    (f"spiffe://a.test/{'x' * 2100}",),
    ("spiffe://a.test",),
    ("SPIFFE://a.test/web",),
    ("spiffe://a.test/web#",),
)
_URIS: Sequence[Sequence[str]] = (
    (),
    (forge.WEB, forge.WEB),
    (forge.WEB, "https://a.test/"),
    ("spiffe://b.test/x",),
    ("spiffe://c.test/x",),
    ("https://a.test/web",),
    ("spiffe://A.test/web",),
    ("spiffe://a.test/web/",),
    ("spiffe://a.test//web",),
    ("spiffe://a.test/%41",),
    ("spiffe://a.test/web?",),
    ("spiffe://a.test:1/web",),
    ("spiffe://u@a.test/web",),
    ("spiffe://" + "x" * 256 + "/web",),
    ("urn:a",),
)


def _ca_change(source: random.Random) -> dict[str, Any]:
    own, foreign = x509.UniformResourceIdentifier("a.test"), x509.UniformResourceIdentifier("b.test")
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.7"), b"\x05\x00")
    changes: list[dict[str, Any]] = [
        {"ca": source.choice((False, None))},
        {"usages": source.choice((None, (), ("cRLSign",), ("digitalSignature",)))},
        {"usages": source.choice((("cRLSign",), ("digitalSignature",)))},
        {"uris": source.choice(((), ("spiffe://a.test/path",), ("spiffe://b.test",), ("https://a.test/",)))},
        {"path_length": source.choice((0, 1))},
        {"not_after": forge.NOW - forge.DAY / 2},
        {"purposes": source.choice((forge.BOTH_PURPOSES, forge.BOTH_PURPOSES[:1]))},
        {"constraints": forge.constraints([source.choice((own, foreign))], [])},
        {"constraints": forge.constraints([], [source.choice((own, foreign))])},
        {"constraints": forge.constraints([x509.DNSName("a.test")], [])},
        {"constraints": forge.constraints([x509.DirectoryName(forge.name("leaf"))], [])},
        {"extra": [(unknown, source.random() < 0.5)]},
        {"own_key": forge.key("odd signing", source.choice(("rsa-2048", "rsa-1024", "ed25519", "ec-p384")))},
    ]
    return source.choice(changes)


@cache
def _bundles() -> BundleSet:
    *of_a, of_b = _roots()
    return forge.bundles(a=of_a, b=of_b)


def judge(asked: Question, now: datetime) -> Verdict:
    try:
        proven = verify_x509([data(each) for each in asked["chain"]], _bundles(), now=forge.NOW)
    except RefusedError as error:
        return refused(error)
    return Verdict({"spiffe_id": proven.id.text})


def read(answer: Mapping[str, Any]) -> Found:
    return {"spiffe_id": answer["spiffe_id"]}


KIND = Kind("chain", draw, judge, read)
