from __future__ import annotations

from datetime import timedelta

import pytest

from finial.core.algorithms import Algorithm
from finial.core.bundle import BundleSource
from finial.core.errors import TokenParseError, TokenVerifyError
from finial.core.seen_proofs import SeenProofs
from finial.core.witsvid import WITSVID, VerifiedWIT, validate_wit
from finial.core.wpt import ProofScope
from support import forge, tokens

W1, KEY = tokens.authority("w1")
BUNDLES = tokens.bundles(wit=(W1,))
SCOPE = ProofScope(tokens.TARGET)
SECOND = timedelta(seconds=1)
S = tokens.SECONDS


def validate(
    token: str,
    proof: str = "",
    *,
    bundles: BundleSource = BUNDLES,
    late: int = 0,
    leeway: timedelta = timedelta(0),
    longest: timedelta | None = None,
    seen: SeenProofs | None = None,
) -> VerifiedWIT:
    return validate_wit(
        token,
        proof or tokens.proof(token, exp=S + late + 20),
        bundles,
        scope=SCOPE,
        now=tokens.NOW + late * SECOND,
        leeway=leeway,
        longest=longest,
        seen=seen,
    )


def faults(token: str, proof: str = "", **settings: object) -> list[str]:
    with pytest.raises(TokenVerifyError) as caught:
        validate(token, proof, **settings)  # type: ignore[arg-type]
    return [found.reason.id for found in caught.value.findings]


def parse_faults(token: str) -> list[str]:
    with pytest.raises(TokenParseError) as caught:
        WITSVID.parse(token)
    return [found.reason.id for found in caught.value.findings]


def test_what_is_in_a_token() -> None:
    svid = WITSVID.parse(tokens.wit(nbf=S - 1, iat=S, jti="j", foo=1), hint="internal")
    assert svid.id.text == forge.WEB
    assert svid.key == tokens.holder().public_key()
    assert (svid.key_algorithm, svid.algorithm) == (Algorithm.ES256, Algorithm.ES256)
    assert svid.expires_at == tokens.NOW + 3600 * SECOND
    assert (svid.not_before, svid.issued_at) == (tokens.NOW - SECOND, tokens.NOW)
    assert (svid.key_id, svid.hint) == ("w1", "internal")
    assert svid.claims["foo"] == 1
    assert svid.header == {"alg": "ES256", "kid": "w1", "typ": "wit+jwt"}


def test_equal_by_token_and_hint_and_never_shown() -> None:
    token = tokens.wit(x="private")
    assert WITSVID(token) == WITSVID.parse(token)
    assert len({WITSVID(token), WITSVID(token), WITSVID(token, "hint")}) == 2
    for part in (*token.split("."), "private"):
        assert part not in repr(WITSVID(token))


@pytest.mark.parametrize(
    ("claims", "wanted"),
    [
        ({"sub": ...}, ["wit-subject"]),
        ({"sub": "spiffe://a.test"}, ["wit-root-id"]),
        ({"aud": "x"}, ["wit-audience"]),
        ({"aud": None}, ["wit-audience"]),
        ({"exp": ...}, ["wit-no-expiry"]),
        ({"exp": True}, ["wit-no-expiry"]),
        ({"nbf": "x"}, ["wit-time"]),
        ({"iat": None}, ["wit-time"]),
        ({"cnf": ...}, ["wit-no-confirmation"]),
        ({"sub": ..., "exp": ..., "cnf": {}}, ["wit-subject", "wit-no-expiry", "wit-no-confirmation"]),
    ],
)
def test_claims_that_break_rules(claims: dict[str, object], wanted: list[str]) -> None:
    assert parse_faults(tokens.wit(**claims)) == wanted  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ({"alg": "HS256", "typ": "x"}, "wit-algorithm"),
        ({"alg": ...}, "wit-algorithm"),
        ({"crit": ["x-foo"], "x-foo": 1}, "wit-critical-header"),
        ({"crit": []}, "wit-critical-header"),
        ({"typ": ...}, "wit-type"),
        ({"typ": "JWT"}, "wit-type"),
        ({"typ": "application/wit+jwt"}, "wit-type"),
        ({"typ": ["wit+jwt"]}, "wit-type"),
        ({"kid": ...}, "wit-key-id"),
        ({"kid": ""}, "wit-key-id"),
        ({"kid": 1}, "wit-key-id"),
    ],
)
def test_headers_that_break_rules(header: dict[str, object], wanted: str) -> None:
    assert parse_faults(tokens.wit(header=header)) == [wanted]


def test_a_proven_id() -> None:
    token = tokens.wit(header={"x-foo": 1})
    proven = validate(token)
    assert (proven.id.text, proven.svid, proven.authority) == (forge.WEB, WITSVID(token), W1)
    assert proven.proof.audience == tokens.TARGET


def test_times() -> None:
    token = tokens.wit(exp=S + 10, nbf=S + 2, iat=S + 100)
    assert faults(token, late=1) == ["wit-not-yet-valid"]
    assert faults(token, late=1, leeway=2 * SECOND) == ["wit-not-yet-valid"]
    validate(token, late=2)
    assert faults(token, late=10) == ["wit-expired"]
    validate(token, late=10, leeway=SECOND)
    with pytest.raises(TokenVerifyError) as caught:
        validate(token, leeway=timedelta(seconds=121))
    assert caught.value.reason.id == "token-leeway"


def test_the_longest_life_counts_from_the_best_known_begin() -> None:
    hour = 3600 * SECOND
    validate(tokens.wit(), longest=hour)
    assert faults(tokens.wit(exp=S + 3601), longest=hour) == ["wit-lifespan"]
    assert faults(tokens.wit(iat=S - 1), longest=hour) == ["wit-lifespan"]
    validate(tokens.wit(iat=S - 1, nbf=S), longest=hour)
    assert faults(tokens.wit(iat=S, nbf=S - 1), longest=hour) == ["wit-lifespan"]


def test_a_token_that_nobody_signed_gets_no_further() -> None:
    token = tokens.wit(header={"kid": "gone"}, exp=S - 1)
    assert faults(token, "no proof") == ["token-unknown-key", "wit-expired"]
    assert faults(tokens.wit(), bundles=tokens.bundles(W1)) == ["token-no-keys"]
    assert faults(tokens.wit(), bundles=tokens.bundles(wit=(W1,), domain=forge.B)) == ["token-no-bundle"]


def test_reasons_of_both_are_listed() -> None:
    token = tokens.wit(exp=S - 1)
    assert faults(token, tokens.proof(token, exp=S - 1, wth="x")) == [
        "wit-expired",
        "wpt-expired",
        "wpt-other-token",
    ]


@pytest.mark.parametrize("proof", ["x", "..", "a.b.c"])
def test_no_proof_no_identity(proof: str) -> None:
    with pytest.raises(TokenParseError):
        validate(tokens.wit(), proof)


def test_a_token_is_no_proof_of_itself() -> None:
    token = tokens.wit()
    with pytest.raises(TokenParseError) as caught:
        validate(token, token)
    assert caught.value.reason.id == "wpt-type"


def test_each_proof_once_if_there_is_a_memory() -> None:
    token, seen = tokens.wit(), SeenProofs()
    validate(token, seen=seen)
    assert faults(token, seen=seen) == ["wpt-used"]
    validate(token, tokens.proof(token, jti="two"), seen=seen)
    # A proof that does not hold uses nothing up.
    assert faults(token, tokens.proof(token, jti="three", key=forge.key("x")), seen=seen) == ["wpt-signature"]
    validate(token, tokens.proof(token, jti="three"), seen=seen)
    validate(token)
