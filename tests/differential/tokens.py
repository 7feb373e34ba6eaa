"""JWT-SVIDs and WIT-SVIDs: sound tokens with changes, so that most inputs have one fault or two."""

from __future__ import annotations

import base64
import random  # noqa: TID251 - seeded
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from differential.kinds import Found, Kind, Question, Verdict, refused
from differential.token_form import Members, disturbed, written
from finial.core import jwk
from finial.core.algorithms import algorithm_of
from finial.core.bundle import Bundle, BundleSet
from finial.core.bundle_doc import write_jwks, write_wit_jwks
from finial.core.errors import RefusedError
from finial.core.jwtsvid import validate_jwt
from finial.core.keys import public_key_der
from finial.core.witsvid import WITSVID, validate_wit
from finial.core.wpt import ProofScope, make_proof
from support import forge, tokens
from support.judge import question

_KINDS = ("ec-p256", "ec-p256", "ec-p384", "ec-p521", "rsa-2048")
_OWN = "ec-p256"
_SCOPE = ProofScope("https://reports.a.test/")
_REMOVED = object()


@cache
def bundles() -> BundleSet:
    """The bundles that both sides validate with: of two trust domains, with one key id in both."""
    of_a = Bundle(
        trust_domain=forge.A,
        jwt_authorities=tuple(tokens.authority(kind, kind)[0] for kind in dict.fromkeys(_KINDS)),
        wit_authorities=tuple(tokens.authority(f"wit {kind}", kind)[0] for kind in dict.fromkeys(_KINDS)),
    )
    of_b = Bundle(trust_domain=forge.B, jwt_authorities=(tokens.authority("ec-p256", "ec-p384")[0],))
    return BundleSet([of_a, of_b])


@cache
def _key_sets(wit: bool) -> Mapping[str, bytes]:
    write = write_wit_jwks if wit else write_jwks
    return {domain.name: write(bundle) for domain, bundle in bundles().items()}


def _some(source: random.Random, members: Members, changes: list[Members]) -> None:
    for name, value in source.choice(changes).items():
        if value is _REMOVED:
            members.pop(name, None)
        else:
            members[name] = value


def _header_changes(source: random.Random, types: tuple[object, ...]) -> list[Members]:
    public = jwk.write_public(forge.key("thief").public_key())
    return [
        {"alg": source.choice(("none", "HS256", "es256", "ES384", "RS256", "PS256", "EdDSA"))},
        {"alg": source.choice(("", 7, None, _REMOVED))},
        {"typ": source.choice(types)},
        {"kid": source.choice(("", "ec-p384", "unknown", 7, None, _REMOVED))},
        {"kid": _REMOVED},
        {"jku": "https://a.test/keys"},
        {"x5u": "https://a.test/x"},
        {"jwk": source.choice((public, {"kty": "EC"}, 7, None))},
        {"x5c": source.choice(([], ["AAAA"], [base64.b64encode(forge.root().der).decode()]))},
        {"crit": source.choice((["x-foo"], [], ["exp"], None, 7)), "x-foo": 1},
        {"crit": ["b64"], "b64": source.choice((False, True))},
        {"b64": False},
        {"cty": source.choice(("JWT", "x", 7))},
        {"x-foo": source.choice((1, None, {"a": []}))},
        {"nonce": source.choice(("x", 7))},
        {"zip": "DEF"},
    ]


def _time_changes(source: random.Random, now: int) -> list[Members]:
    odd: tuple[object, ...] = ("x", str(now + 300), None, True, [], -1, 0, 1e300, 2**63, 2**70, _REMOVED)
    return [
        {"exp": source.choice((now - 3600, now - 30, now + 3600, now + 0.5 + 3600, *odd))},
        {"nbf": source.choice((now - 3600, now + 30, now + 3600, now - 0.5, *odd))},
        {"iat": source.choice((now - 3600, now + 30, now + 3600, now - 0.5, *odd))},
    ]


def _claim_changes(source: random.Random, now: int) -> list[Members]:
    subjects = (
        "spiffe://a.test", "spiffe://b.test/web", "spiffe://c.test/web", "spiffe://A.test/web",
        "SPIFFE://a.test/web", "spiffe://a.test/web/", "spiffe://a.test/w%65b", "spiffe://a.test/web\n",
        "web", "", 7, None, ["x"], _REMOVED, f"spiffe://a.test/{'x' * 2100}", f"spiffe://{'x' * 256}/web",
    )  # fmt: skip
    audiences: tuple[object, ...] = (
        tokens.AUDIENCE, "Reports", "", [], [""], [tokens.AUDIENCE, ""], ["other"],
        ["other", tokens.AUDIENCE], [tokens.AUDIENCE, 7], [7], None, 7, {"a": 1}, True, _REMOVED,
    )  # fmt: skip
    return [
        {"sub": source.choice(subjects)},
        {"sub": source.choice((subjects[0], *subjects[-2:]))},
        {source.choice(("exp", "nbf")): now + source.choice((30, -30))},
        {"iat": now + 3600},
        {"aud": source.choice(audiences)},
        {"aud": source.choice(([], None, [tokens.AUDIENCE, ""]))},
        *_time_changes(source, now),
        {"iss": source.choice(("https://a.test/", "", 7, None, []))},
        {"jti": source.choice(("x", "", 7, None, []))},
        {"role": source.choice(("db", None, 1.5, {"a": [1, None]}))},
    ]


def draw_jwt(source: random.Random, now: datetime) -> Question:
    second = int(now.timestamp())
    kind = source.choice(_KINDS)
    key = tokens.authority(kind, kind)[1]
    header: Members = {"alg": algorithm_of(key).value, "kid": kind, "typ": "JWT"}
    claims: Members = {"sub": forge.WEB, "aud": [tokens.AUDIENCE], "exp": second + 300, "iat": second}
    types: tuple[object, ...] = (
        "JWT",
        "JOSE",
        "jwt",
        "wit+jwt",
        "at+jwt",
        "",
        7,
        None,
        None,
        None,
        [],
        _REMOVED,
    )
    for _ in range(source.choice((0, 1, 1, 1, 2))):
        if source.random() < 0.4:
            _some(source, header, _header_changes(source, types))
        else:
            _some(source, claims, _claim_changes(source, second))
    audience = source.choice(
        ([tokens.AUDIENCE],) * 6 + (["other", tokens.AUDIENCE], ["other"], ["reports "], [])
    )
    token = disturbed(source, written(source, header, claims, key))
    return question("jwt", token=token, audience=audience, keys=_key_sets(False))


def draw_wit(source: random.Random, now: datetime) -> Question:
    second = int(now.timestamp())
    kind = source.choice(_KINDS)
    key = tokens.authority(f"wit {kind}", kind)[1]
    header: Members = {"alg": algorithm_of(key).value, "kid": f"wit {kind}", "typ": "wit+jwt"}
    own = {**jwk.write_public(forge.key("own", _OWN).public_key()), "alg": "ES256"}
    claims: Members = {"sub": forge.WEB, "cnf": {"jwk": own}, "exp": second + 3600, "iat": second}
    types: tuple[object, ...] = ("wit+jwt", "WIT+JWT", "JWT", "application/wit+jwt", "", 7, None, _REMOVED)
    for _ in range(source.choice((0, 1, 1, 1, 2))):
        if source.random() < 0.3:
            _some(source, header, _header_changes(source, types))
        elif source.random() < 0.5:
            claims["cnf"] = _confirmation(source, own)
        else:
            _some(source, claims, _claim_changes(source, second))
    return question(
        "wit", token=disturbed(source, written(source, header, claims, key)), keys=_key_sets(True)
    )


def _confirmation(source: random.Random, own: Members) -> object:
    changed = dict(own)
    key = forge.key("own", _OWN)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    changes: list[Members] = [
        {"alg": source.choice(("ES384", "ES512", "RS256"))},
        {"alg": source.choice(("ES384", "EdDSA", "HS256", "none", "ECDH-ES", "", None, 7, _REMOVED))},
        {"d": jwk.write_private(key)["d"]},
        {"kty": "oct", "k": "AAAA"},
        {"k": "AAAA"},
        {"kid": source.choice(("x", "", 7, None))},
        {"use": source.choice(("sig", "enc", 7))},
        {"x": source.choice(("AA", "", 7, _REMOVED))},
        {"crv": source.choice(("P-384", "x", _REMOVED))},
        {"key_ops": source.choice((["verify"], ["sign"], 7))},
        {"x5c": source.choice(([], ["AAAA"]))},
    ]
    _some(source, changed, changes)
    return source.choice(
        ({"jwk": changed},) * 12 + ({}, None, "x", [], {"kid": "x"}, {"jwk": None}, {"jwk": own, "kid": "x"})
    )


def judge_jwt(asked: Question, now: datetime) -> Verdict:
    try:
        svid = validate_jwt(asked["token"], bundles(), asked["audience"], now=now).svid
    except RefusedError as error:
        return refused(error)
    seconds = int(svid.expires_at.timestamp())
    return Verdict({"spiffe_id": svid.id.text, "audience": list(svid.audience), "expires_at": seconds})


def judge_wit(asked: Question, now: datetime) -> Verdict:
    """With a proof that the workload makes for the token, whatever is wrong with it."""
    try:
        svid = WITSVID.parse(asked["token"])
        proof = make_proof(svid, _SCOPE, key=forge.key("own", _OWN), now=now, jti="x")
        validate_wit(svid.token, proof, bundles(), scope=_SCOPE, now=now)
    except RefusedError as error:
        return refused(error)
    seconds = int(svid.expires_at.timestamp())
    return Verdict(
        {
            "spiffe_id": svid.id.text,
            "expires_at": seconds,
            "kid": svid.key_id,
            "key": public_key_der(svid.key),
        }
    )


def read_jwt(answer: Mapping[str, Any]) -> Found:
    return {name: answer[name] for name in ("spiffe_id", "audience", "expires_at")}


def read_wit(answer: Mapping[str, Any]) -> Found:
    found: Found = {name: answer[name] for name in ("spiffe_id", "expires_at", "kid")}
    return {**found, "key": base64.b64decode(answer["key"])}


JWT = Kind("jwt", draw_jwt, judge_jwt, read_jwt)
WIT = Kind("wit", draw_wit, judge_wit, read_wit)
