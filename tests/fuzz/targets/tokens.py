"""The reader of JWT-SVIDs: what is read is what another reader finds there, and nothing is quoted."""

from __future__ import annotations

import random  # noqa: TID251 - seeded

from finial.core.algorithms import Algorithm
from finial.core.errors import TokenParseError
from finial.core.jwtsvid import JWTSVID
from fuzz import compact
from fuzz.target import Target, refused_well
from support import forge, tokens

_HEADER: compact.Object = {"alg": "ES256", "kid": "k1", "typ": "JWT"}
_CLAIMS: compact.Object = {
    "sub": forge.WEB, "aud": ["reports"], "exp": tokens.SECONDS + 300, "iat": tokens.SECONDS,
    "x": {"y": [1, {}]},
}  # fmt: skip
_NAMES = ("alg", "kid", "typ", "crit", "jku", "b64", "sub", "aud", "exp", "nbf", "iat", "iss", "jti")
_ODD: tuple[object, ...] = (
    None, True, False, 0, -1, 1.5, 1e300, 10**15, 253_402_300_799, 253_402_300_800, "", "x",
    "spiffe://a.test", "spiffe://a.test/x", "none", "HS256", "RS256", "ES512", "JOSE", "jwt", [], ["a", ""],
    ["a", 7], "reports", {}, {"a": {"b": ["c"]}}, "\u00e9\n\x1b", "x" * 300,
)  # fmt: skip


def check(data: bytes) -> None:
    token = compact.token(data)
    try:
        found = JWTSVID.parse(token, hint="h")
    except TokenParseError as refused:
        refused_well(refused, token, *token.split("."))
        return
    header, payload = compact.read(token)
    assert compact.one_spelling(token)
    assert found.token == token
    assert header.keys() <= {"alg", "kid", "typ"}
    assert header["alg"] == found.algorithm
    assert found.algorithm in set(Algorithm)
    assert header.get("kid", "") == found.key_id
    assert header.get("typ", "JWT") in {"JWT", "JOSE"}
    assert payload["sub"] == found.id.text
    assert found.id.path
    assert found.audience
    assert payload["aud"] in (found.audience[0], list(found.audience))
    for name, instant in (("exp", found.expires_at), ("nbf", found.not_before), ("iat", found.issued_at)):
        assert (instant is None) == (name not in payload)
        assert instant is None or abs(instant.timestamp() - payload[name]) < 0.001
    assert compact.thawed(found.claims) == payload
    assert compact.thawed(found.header) == header
    signed = found.signed()
    assert signed.data.decode() == token.rpartition(".")[0]
    assert tokens.text(signed.signature) == token.rpartition(".")[2]
    assert not any(part in repr(found) for part in token.split(".") if len(part) > 8)
    assert JWTSVID(token, "h") == found


def corpus() -> list[bytes]:
    sound = compact.joined(_HEADER, _CLAIMS)
    bare = compact.joined({"alg": "RS256"}, {**_CLAIMS, "aud": "reports", "nbf": 1.5})
    deep = compact.joined(_HEADER, {**_CLAIMS, "x": [[[[[[[[[[[[[["x"]]]]]]]]]]]]]]})
    long = compact.joined(_HEADER, {**_CLAIMS, "x": "x" * 40_000})
    return [sound, bare, deep, long, *map(compact.whole, (sound, bare)), b"..", b"a.b.c", b"e30.e30.e30"]


def generate(source: random.Random) -> bytes:
    header = compact.changed(source, _HEADER, _ODD, _NAMES)
    signature = source.randbytes(source.choice((0, 1, 63, 64, 64, 65)))
    return compact.joined(header, compact.changed(source, _CLAIMS, _ODD, _NAMES), signature)


_PARSER = (
    "finial.core.base64url", "finial.core.claims", "finial.core.jws", "finial.core.jwtsvid",
    "finial.core.rules.jwt", "finial.core.rules.token", "finial.core.strictjson",
)  # fmt: skip
# What signs, and what a validator asks.
_OMITS = (
    "encode_number", "decode_number", "write", "write_header", "_reader", "ObjectReader.__post_init__",
    "seconds", "validate_jwt", "issue_jwt", "_read_back", "_issued_header", "_audience", "critical",
    "exact_type", "lifetime", "expired", "not_yet_valid", "instant",
)  # fmt: skip
TARGET = Target("tokens", corpus, check, generate, modules=_PARSER, omits=_OMITS)
