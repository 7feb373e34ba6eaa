"""Bundle documents."""

from __future__ import annotations

import base64
import json
import random  # noqa: TID251 - seeded
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from differential.kinds import Found, Kind, Question, Verdict, data, refused, words
from finial.core import jwk
from finial.core.bundle import Bundle
from finial.core.bundle_doc import read_bundle, write_bundle
from finial.core.errors import BundleError
from finial.core.keys import public_key_der
from fuzz import stock
from fuzz.mutate import mutated
from fuzz.targets import bundles
from support import forge
from support.judge import data_of, keys_of, question

_KINDS = ("ec-p256", "ec-p384", "ec-p521", "rsa-2048")
_REMOVED = object()


@cache
def _sound() -> Bundle:
    return Bundle(
        trust_domain=forge.A,
        x509_authorities=tuple(stock.root(name).certificate for name in ("one", "two")),
        jwt_authorities=tuple(stock.token_authority(f"jwt {kind}", kind) for kind in _KINDS),
        wit_authorities=tuple(stock.token_authority(f"wit {kind}", kind) for kind in _KINDS[:2]),
        sequence=7,
        refresh_hint=timedelta(minutes=5),
    )


@cache
def _documents() -> tuple[bytes, ...]:
    return (write_bundle(_sound()), *bundles.corpus())


def draw(source: random.Random, now: datetime) -> Question:
    form = source.random()
    if form < 0.25:
        document = bundles.generate(source)
    elif form < 0.4:
        document = mutated(source, _documents())
    else:
        document = _changed(source)
    return question("bundle", trust_domain=forge.A.name, document=document)


def _changed(source: random.Random) -> bytes:
    """A sound document with up to two changes."""
    document: dict[str, Any] = json.loads(_documents()[0])
    source.shuffle(document["keys"])
    del document["keys"][source.randint(1, 4) :]
    for _ in range(source.randint(0, 2)):
        if source.random() < 0.3:
            _change_member(source, document)
        else:
            _change_entry(source, source.choice(document["keys"]))
    text = json.dumps(document)
    if source.random() < 0.15:
        text = _disturbed(source, text)
    return text.encode("latin-1" if source.random() < 0.05 else "utf-8", "replace")


def _disturbed(source: random.Random, text: str) -> str:
    """A document that is not written as it should be, or only nearly as it should be."""
    use = source.choice(('"Use"', '"USE"', '"u\\u0073e"'))
    return source.choice(
        (
            text.replace('"use"', use, 1),
            text.replace('"keys"', source.choice(('"Keys"', '"KEYS"')), 1),
            f'{text[:-1]},"keys":[]}}',
            f'{text[:-1]},"other":"\u00e4"}}',
            f'{text[:-1]},"other":"\\ud800"}}',
            f'{text[:-1]},"other":{"[" * 20}{"]" * 20}}}',
            f"\ufeff{text}",
            f"{text}{{}}",
            f"[{text}]",
        )
    )


def _change_member(source: random.Random, document: dict[str, Any]) -> None:
    name = source.choice(("spiffe_sequence", "spiffe_refresh_hint", "other", "Keys"))
    numbers: list[object] = [
        0,
        1,
        -1,
        2**63,
        2**64 - 1,
        2**64,
        1.0,
        1.5,
        1e300,
        True,
        None,
        "1",
        [],
        10**9,
        10**11,
    ]
    document[name] = source.choice(numbers)


def _change_entry(source: random.Random, entry: dict[str, Any]) -> None:
    group = source.choice((_named, _certified, _keyed))
    for name, value in source.choice(group(source)).items():
        if value is _REMOVED:
            entry.pop(name, None)
        else:
            entry[name] = value


def _named(source: random.Random) -> list[dict[str, object]]:
    """What an entry is for, and members that nobody needs."""
    uses = ("x509-svid", "jwt-svid", "wit-svid", "X509-SVID", "sig", "", None, 7, _REMOVED)
    return [
        {"use": source.choice(uses)},
        {"kid": source.choice(("jwt ec-p256", "jwt rsa-2048", "x" * 1025))},
        {"kid": source.choice(("a", "A", "", None, 7, _REMOVED))},
        {"alg": source.choice(("ES256", "RS256", "none", 7, None))},
        {"key_ops": source.choice((["verify"], [], "x", None))},
        {"x5t": source.choice(("AAAA", "", None)), "x5u": "https://a.test/"},
        {"unknown": source.choice((None, [], {"a": 1}, "x"))},
    ]


def _certified(source: random.Random) -> list[dict[str, object]]:
    """Its certificate."""
    good, leaf, odd, own_key = _certificates()
    nearly = ([f"{good}\n"], [good * 2], [good[:-4]], [good.replace("+", "-").replace("/", "_")])
    return [
        {"x5c": source.choice(([good], [good, "AAAA"], [leaf], [], _REMOVED))},
        {"x5c": source.choice((None, "x", ["!"], ["AAAA"], [7]))},
        {"x5c": source.choice(nearly)},
        {"use": "x509-svid", "x5c": [odd], **own_key},
    ]


@cache
def _certificates() -> tuple[str, str, str, dict[str, object]]:
    """An authority, a leaf, an authority that Go takes and we do not, and the key of both authorities."""
    root = stock.root("three")
    odd = forge.with_extensions(root, root, {"2.5.29.37": forge.tlv(0x30)})
    made = (root, stock.leaf(stock.root("one")), odd)
    good, leaf, third = (base64.b64encode(each.der).decode() for each in made)
    return good, leaf, third, jwk.write_public(stock.key("three").public_key())


def _keyed(source: random.Random) -> list[dict[str, object]]:
    """Its key."""
    secret, small, edwards = _keys()
    return [
        {"kty": source.choice(("EC", "RSA", "OKP", "oct", "XYZ", "", None, 1, _REMOVED))},
        {"x": source.choice(("AA", "", "AAAA" * 11, "!", None, 7, _REMOVED))},
        {"n": source.choice(("AQAB", "", None)), "e": source.choice(("AQAB", "AQ", "", None))},
        {"k": "AAAA", "kty": "oct"},
        secret,
        small,
        edwards,
    ]


@cache
def _keys() -> tuple[dict[str, object], dict[str, object], dict[str, object]]:
    """One with its private half, one that is too weak, and one that signs no tokens."""
    secret = stock.key("secret")
    assert isinstance(secret, ec.EllipticCurvePrivateKey)
    others = (forge.key("small", "rsa-1024"), stock.key("edwards", "ed25519"))
    small, edwards = (jwk.write_public(each.public_key()) for each in others)
    return jwk.write_private(secret), small, edwards


def judge(asked: Question, now: datetime) -> Verdict:
    try:
        found = read_bundle(forge.A, data(asked["document"]))
    except BundleError as error:
        return refused(error)
    bundle = found.bundle
    hint = bundle.refresh_hint
    read: Found = {
        "x509": frozenset(each.der for each in bundle.x509_authorities),
        "jwt": {each.key_id: public_key_der(each.key) for each in bundle.jwt_authorities},
        "wit": {each.key_id: public_key_der(each.key) for each in bundle.wit_authorities},
        "sequence": bundle.sequence,
        "refresh_hint": None if hint is None else hint.total_seconds(),
    }
    return Verdict(read, words((*found.skipped, *found.broken)))


def read(answer: Mapping[str, Any]) -> Found:
    return {
        "x509": frozenset(data_of(answer["x509"])),
        "jwt": keys_of(answer["jwt"]),
        "wit": keys_of(answer["wit"]),
        "sequence": answer.get("sequence", 0),
        "refresh_hint": answer.get("refresh_hint"),
    }


KIND = Kind("bundle", draw, judge, read)
