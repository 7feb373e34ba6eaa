"""The bundle document: read or refused, and what is read comes back the same after writing."""

from __future__ import annotations

import base64
import json
import random  # noqa: TID251 - seeded

from finial.core.bundle import Bundle
from finial.core.bundle_doc import read_bundle, write_bundle, write_jwks, write_wit_jwks
from finial.core.errors import BundleError
from fuzz import stock
from fuzz.target import Target, refused_well
from support import forge

_USES: list[object] = [
    "x509-svid",
    "jwt-svid",
    "wit-svid",
    "X509-SVID",
    "",
    None,
    7,
    True,
    1.0,
    ["x509-svid"],
    {},
]
_TYPES: list[object] = ["EC", "RSA", "OKP", "oct", "", None, 0, []]
_NUMBERS: list[object] = [0, 1, -1, 2**64 - 1, 2**64, 1.0, 1e300, True, None, "1", [], 10**13, 10**14]


def check(data: bytes) -> None:
    try:
        found = read_bundle(forge.A, data)
    except BundleError as refused:
        refused_well(refused)
        return
    assert found.bundle.trust_domain == forge.A
    for finding in (*found.skipped, *found.broken):
        assert str(finding).isprintable()
        assert finding.where
    again = read_bundle(forge.A, write_bundle(found.bundle))
    assert again.bundle == found.bundle
    assert not (again.skipped)
    assert not (again.broken)
    # What workloads get of it says no use, and is the same keys.
    for written, held in (
        (write_jwks, found.bundle.jwt_authorities),
        (write_wit_jwks, found.bundle.wit_authorities),
    ):
        entries = json.loads(written(found.bundle))["keys"]
        assert [each["kid"] for each in entries] == [each.key_id for each in held]
        assert not any("use" in each for each in entries)


def corpus() -> list[bytes]:
    full = Bundle(
        trust_domain=forge.A,
        x509_authorities=tuple(stock.root(name).certificate for name in ("one", "two")),
        jwt_authorities=(stock.token_authority("j"), stock.token_authority("r", "rsa-2048")),
        wit_authorities=(stock.token_authority("w", "ec-p384"),),
        sequence=7,
        refresh_hint=forge.DAY,
    )
    token = {"use": "jwt-svid", "kty": "EC", "kid": "k", "crv": "P-256", "x": "AA", "y": "AA"}
    return [write_bundle(full), json.dumps({"keys": [token]}).encode(), b'{"keys":[]}']


def generate(source: random.Random) -> bytes:
    document: dict[str, object] = {"keys": [entry(source) for _ in range(source.randint(0, 4))]}
    for name in ("spiffe_sequence", "spiffe_refresh_hint", "other"):
        if source.random() < 0.5:
            document[name] = source.choice(_NUMBERS)
    if source.random() < 0.1:
        document["keys"] = source.choice([None, {}, "x", 7])
    text = json.dumps(document)
    if source.random() < 0.1:
        text = text[:-1] + ',"keys":[]}'
    return text.encode()


def entry(source: random.Random) -> object:
    if source.random() < 0.05:
        return source.choice([None, 7, "x", []])
    if source.random() < 0.5:
        return key(source)
    good = source.choice(_CERTIFICATES)
    found = {
        "use": source.choice(_USES) if source.random() < 0.4 else "x509-svid",
        "kty": source.choice(_TYPES) if source.random() < 0.3 else "EC",
        "x5c": source.choice(
            [[good], [good, good], [], [7], good, None, [good[:-4]], ["!"], ["AAAA"], [good], ["\u00e9"]]
        ),
    }
    if source.random() < 0.2:
        del found[source.choice(list(found))]
    return found


def key(source: random.Random) -> object:
    """An entry for tokens, mostly sound."""
    found = dict(source.choice(_KEYS))
    if source.random() < 0.3:
        found["use"] = source.choice(_USES)
    if source.random() < 0.5:
        found["kid"] = source.choice(["j", "w", "", None, 7, "\u00e9", "x" * 1025])
    if source.random() < 0.2:
        found[source.choice(["d", "k", "crv", "x", "y", "n", "e", "alg", "kty"])] = source.choice(_MEMBERS)
    if source.random() < 0.2:
        del found[source.choice(list(found))]
    return found


_KEYS: list[dict[str, object]] = json.loads(corpus()[0])["keys"][2:]
_CERTIFICATES = [
    base64.b64encode(made.der).decode()
    for made in (stock.root("one"), stock.root("two"), stock.root("ed", own_key=stock.key("ed", "ed25519")))
] + [base64.b64encode(stock.leaf(stock.root()).der).decode()]
_MEMBERS: list[object] = ["AA", "", "!", "P-256", "P-521", "Ed25519", 7, None, "A" * 43, "AQAB", "A" * 342]
_PARSER = ("finial.core.bundle_doc", "finial.core.bundle_entries", "finial.core.rules.bundle")
_OMITS = ("_domains", "_many_domains")
TARGET = Target("bundles", corpus, check, generate, modules=_PARSER, omits=_OMITS)
