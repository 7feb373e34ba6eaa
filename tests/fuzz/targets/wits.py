"""The readers of WIT-SVIDs and of the proofs that come with them: one reader finds what another one does."""

from __future__ import annotations

import random  # noqa: TID251 - seeded

from finial.core import jwk
from finial.core.algorithms import Algorithm, fits
from finial.core.errors import TokenParseError
from finial.core.witsvid import WITSVID
from finial.core.wpt import WorkloadProof
from fuzz import compact, stock
from fuzz.target import Target, refused_well
from support import forge, tokens

_KEY = {**jwk.write_public(stock.key("holder").public_key()), "alg": "ES256"}
_RSA = {**jwk.write_public(stock.key("rsa", "rsa-2048").public_key()), "alg": "PS256"}
_ED = {**jwk.write_public(stock.key("holder", "ed25519").public_key()), "alg": "EdDSA"}
_HEADERS: dict[str, compact.Object] = {
    "wit+jwt": {"alg": "ES256", "kid": "w1", "typ": "wit+jwt"},
    "wpt+jwt": {"alg": "ES256", "typ": "wpt+jwt"},
}
_CLAIMS: dict[str, compact.Object] = {
    "wit+jwt": {"sub": forge.WEB, "exp": tokens.SECONDS + 300, "cnf": {"jwk": _KEY}, "jti": "j", "iat": 1},
    "wpt+jwt": {"aud": tokens.TARGET, "exp": tokens.SECONDS + 20, "jti": "j", "wth": "x", "oth": {"a": "b"}},
}
_NAMES = (
    "alg", "kid", "typ", "crit", "jku", "sub", "aud", "exp", "nbf", "iat", "cnf", "jti", "wth", "tth", "oth",
)  # fmt: skip
_ODD: tuple[object, ...] = (
    None, True, 0, -1, 1.5, 1e300, 10**15, "", "x", "spiffe://a.test", "none", "HS256", "PS256", [],
    ["a", ""], [tokens.TARGET], [tokens.TARGET, "x"], {}, {"a": 7}, "https://a.test", "HTTPS://a.test:443/?q",
    "http://a.test", "https://u:p@a.test/", {"jwk": {}}, {"jwk": _RSA}, {"jwk": _ED},
    {"jwk": {**_KEY, "d": "AA"}}, {"jwk": {**_KEY, "alg": "ES384"}}, {"jwk": {**_KEY, "alg": "EdDSA"}},
    {"jwk": {**_KEY, "crv": "P-384"}}, {"jwk": {**_KEY, "x": "AA"}}, {"jwk": {**_KEY, "y": 7}},
    {"jwk": {**_KEY, "kty": "oct"}}, {"jwk": None}, {"jwk": {**_KEY, "kty": "RSA"}},
    {"jwk": {**_RSA, "e": "Aw"}}, {"jwk": {**_RSA, "n": "AAAA"}}, {"jwe": "x", "jwk": _KEY},
    {"jwk": _KEY, "other": 1}, {"jwk": {**_KEY, "x": _KEY["y"]}},
)  # fmt: skip


def check(data: bytes) -> None:
    token = compact.token(data)
    for reader, sound in ((WITSVID.parse, _wit), (WorkloadProof, _proof)):
        try:
            found = reader(token)
        except TokenParseError as refused:
            refused_well(refused, token, *token.split("."))
            continue
        header, payload = compact.read(token)
        assert compact.one_spelling(token)
        assert found.token == token
        assert header["alg"] == found.algorithm
        assert found.algorithm in set(Algorithm)
        assert "crit" not in header
        assert not any(part in repr(found) for part in token.split(".") if len(part) > 8)
        for name, instant in (("exp", found.expires_at), ("nbf", found.not_before)):
            assert (instant is None) == (name not in payload)
            assert instant is None or abs(instant.timestamp() - payload[name]) < 0.001
        sound(found, header, payload)


def _wit(found: object, header: compact.Object, payload: compact.Object) -> None:
    assert isinstance(found, WITSVID)
    assert header["typ"] == "wit+jwt"
    assert header["kid"] == found.key_id != ""
    assert payload["sub"] == found.id.text
    assert found.id.path
    assert "aud" not in payload
    named = payload["cnf"]["jwk"]
    assert named["alg"] == found.key_algorithm
    assert fits(found.key_algorithm, found.key)
    assert not {"d", "k", "p", "q", "dp", "dq", "qi", "oth"} & named.keys()
    assert jwk.read_public(named) == found.key
    assert compact.thawed(found.claims) == payload
    assert compact.thawed(found.header) == header
    assert found.signed().data.decode() == found.token.rpartition(".")[0]
    assert WITSVID(found.token) == found


def _proof(found: object, header: compact.Object, payload: compact.Object) -> None:
    assert isinstance(found, WorkloadProof)
    assert header["typ"] == "wpt+jwt"
    assert payload["jti"] == found.id
    assert payload["aud"] in (found.audience, [found.audience])
    assert found.proves("x") == (payload["wth"] == tokens.digest("x"))
    assert WorkloadProof(found.token) == found


def corpus() -> list[bytes]:
    parts = [compact.joined(_HEADERS[kind], _CLAIMS[kind]) for kind in _HEADERS]
    rsa = {**_CLAIMS["wit+jwt"], "cnf": {"jwk": _RSA}}
    proven = {**_CLAIMS["wpt+jwt"], "wth": tokens.digest("x"), "tth": "y", "nbf": 1, "aud": [tokens.TARGET]}
    more = [compact.joined(_HEADERS["wit+jwt"], rsa), compact.joined(_HEADERS["wpt+jwt"], proven)]
    return [*parts, *more, *map(compact.whole, parts)]


def generate(source: random.Random) -> bytes:
    kind = source.choice(list(_HEADERS))
    claims = _CLAIMS[source.choice([kind, kind, kind, *_CLAIMS])]
    header = compact.changed(source, _HEADERS[kind], _ODD, _NAMES)
    signature = source.randbytes(source.choice((0, 1, 63, 64, 64, 65)))
    return compact.joined(header, compact.changed(source, claims, _ODD, _NAMES), signature)


_PARSER = (
    "finial.core.confirmation", "finial.core.rules.wit", "finial.core.rules.wpt", "finial.core.witsvid",
    "finial.core.wpt",
)  # fmt: skip
# What signs, and what a validator asks.
_OMITS = (
    "write", "_issuer", "_not_yet_valid", "_lifespan", "validate_wit", "issue_wit", "_read_back",
    "Credential", "ProofScope", "WorkloadProof.findings", "make_proof", "_algorithm", "_signature", "_target",
    "_expired", "_long", "_token", "_transaction", "_others",
)  # fmt: skip
TARGET = Target("wits", corpus, check, generate, modules=_PARSER, omits=_OMITS)
