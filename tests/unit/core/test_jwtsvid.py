from __future__ import annotations

import traceback
from datetime import timedelta

import pytest

from finial.core.algorithms import Algorithm
from finial.core.bundle import Bundle, BundleSet
from finial.core.errors import FinialError, TokenParseError, TokenVerifyError
from finial.core.ids import TrustDomain
from finial.core.jwtsvid import JWTSVID, VerifiedJWT, validate_jwt
from support import forge, tokens

K1, KEY1 = tokens.authority()
K2, KEY2 = tokens.authority("k2", "ec-p384")
BUNDLES = tokens.bundles(K1, K2)
SECOND = timedelta(seconds=1)
S = tokens.SECONDS


def validate(token: str, *audiences: str, leeway: timedelta = timedelta(0), late: int = 0) -> VerifiedJWT:
    now = tokens.NOW + late * SECOND
    return validate_jwt(token, BUNDLES, audiences or [tokens.AUDIENCE], now=now, leeway=leeway)


def faults(token: str, *audiences: str, late: int = 0) -> list[str]:
    with pytest.raises(TokenVerifyError) as caught:
        validate(token, *audiences, late=late)
    return [found.reason.id for found in caught.value.findings]


def parse_faults(token: str) -> list[str]:
    with pytest.raises(TokenParseError) as caught:
        JWTSVID.parse(token)
    return [found.reason.id for found in caught.value.findings]


def test_what_is_in_a_token() -> None:
    svid = JWTSVID.parse(tokens.jwt(nbf=S - 1.5, jti="j", x={"y": [1]}), hint="internal")
    assert svid.id.text == forge.WEB
    assert svid.audience == (tokens.AUDIENCE,)
    assert svid.expires_at == tokens.NOW + 300 * SECOND
    assert svid.issued_at == tokens.NOW
    assert svid.not_before == tokens.NOW - 1.5 * SECOND
    assert (svid.key_id, svid.algorithm, svid.hint) == ("k1", Algorithm.ES256, "internal")
    assert svid.claims["x"] == {"y": (1,)}
    assert svid.header == {"alg": "ES256", "kid": "k1", "typ": "JWT"}


def test_what_need_not_be_in_a_token() -> None:
    svid = JWTSVID.parse(tokens.jwt(iat=..., header={"kid": ..., "typ": ...}))
    assert svid.key_id == ""
    assert svid.issued_at is svid.not_before is None


def test_equal_by_token_and_hint() -> None:
    token = tokens.jwt()
    assert JWTSVID(token) == JWTSVID.parse(token)
    assert hash(JWTSVID(token)) == hash(JWTSVID(token))
    assert JWTSVID(token) != JWTSVID(token, "hint")


def test_a_token_is_never_shown() -> None:
    token = tokens.jwt(x="private")
    svid = JWTSVID.parse(token)
    for part in (*token.split("."), "private"):
        assert part not in repr(svid)
        assert part not in repr(validate(token))
    bad = [
        token[:-3],
        f"{token}.",
        tokens.jwt(aud=...),
        tokens.jwt(sub="x"),
        tokens.jwt(exp=S),
        token[:-4] + "AAAA",
    ]
    for each in bad:
        with pytest.raises(FinialError) as caught:
            validate(each)
        found: BaseException | None = caught.value
        assert found is not None
        while found is not None:
            text = f"{found} {found!r} {found.args!r} {''.join(traceback.format_exception_only(found))}"
            assert not any(part in text for part in each.split(".") if part)
            found = found.__cause__ or found.__context__


def test_a_proven_id() -> None:
    token = tokens.jwt()
    assert validate(token) == VerifiedJWT(JWTSVID(token).id, JWTSVID(token), K1)
    assert validate(tokens.jwt(kid="k2", kind="ec-p384")).authority is K2


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"sub": ...}, ["jwt-subject"]),
        ({"sub": 7}, ["jwt-subject"]),
        ({"sub": "web"}, ["jwt-subject"]),
        ({"sub": "spiffe://a.test"}, ["jwt-root-id"]),
        ({"aud": ...}, ["jwt-no-audience"]),
        ({"aud": [tokens.AUDIENCE, ""]}, ["jwt-no-audience"]),
        ({"exp": ...}, ["jwt-no-expiry"]),
        ({"exp": True}, ["jwt-no-expiry"]),
        ({"exp": str(S + 300)}, ["jwt-no-expiry"]),
        ({"exp": -1}, ["jwt-no-expiry"]),
        ({"nbf": "now"}, ["jwt-time"]),
        ({"nbf": None}, ["jwt-time"]),
        ({"iat": False}, ["jwt-time"]),
        ({"sub": ..., "aud": ..., "exp": ...}, ["jwt-subject", "jwt-no-audience", "jwt-no-expiry"]),
    ],
)
def test_claims_that_break_rules(changes: dict[str, object], wanted: list[str]) -> None:
    assert parse_faults(tokens.jwt(**changes)) == wanted  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ({"alg": ...}, "jwt-algorithm"),
        ({"alg": "none"}, "jwt-algorithm"),
        ({"alg": ["ES256"]}, "jwt-algorithm"),
        ({"alg": "EdDSA", "crit": ["x"]}, "jwt-algorithm"),
        ({"crit": ["x"], "x": 1}, "jwt-header"),
        ({"jku": "https://evil.test"}, "jwt-header"),
        ({"cty": "JWT"}, "jwt-header"),
        ({"typ": "jwt"}, "jwt-type"),
        ({"typ": ""}, "jwt-type"),
        ({"typ": None}, "jwt-type"),
        ({"kid": ""}, "jwt-key-id"),
        ({"kid": 1}, "jwt-key-id"),
        ({"kid": None}, "jwt-key-id"),
    ],
)
def test_headers_that_break_rules(header: dict[str, object], wanted: str) -> None:
    assert parse_faults(tokens.jwt(header=header)) == [wanted]


def test_both_types() -> None:
    for header in ({"typ": "JOSE"}, {"typ": "JWT"}, {"typ": ...}):
        validate(tokens.jwt(header=header))


def test_times() -> None:
    token = tokens.jwt(exp=S + 10.5, nbf=S + 1.5)
    assert faults(token, late=1) == ["jwt-not-yet-valid"]
    validate(token, late=2)
    validate(token, late=10)
    assert faults(token, late=11) == ["jwt-expired"]
    assert faults(tokens.jwt(exp=S)) == ["jwt-expired"]
    validate(tokens.jwt(exp=S), leeway=SECOND)
    validate(tokens.jwt(nbf=S + 1), leeway=SECOND)
    validate(tokens.jwt(iat=S + 3600))


def test_audiences() -> None:
    validate(tokens.jwt(aud="one"), "one")
    validate(tokens.jwt(aud=["one", "two"]), "three", "two")
    assert faults(tokens.jwt(aud=["one", "two"]), "three") == ["jwt-audience"]
    assert faults(tokens.jwt(aud="one"), "ONE", "on", "one ") == ["jwt-audience"]


@pytest.mark.parametrize("audiences", [[], (), set(), "reports", ""])
def test_a_validator_without_a_list_of_audiences(audiences: list[str]) -> None:
    with pytest.raises(TokenVerifyError) as caught:
        validate_jwt(tokens.jwt(aud=list("reports")), BUNDLES, audiences, now=tokens.NOW)
    assert caught.value.reason.id == "jwt-validator-audience"


def test_a_leeway_that_is_none() -> None:
    for leeway in (timedelta(-1), timedelta(seconds=121)):
        with pytest.raises(TokenVerifyError) as caught:
            validate(tokens.jwt(), leeway=leeway)
        assert caught.value.reason.id == "token-leeway"


def test_every_reason_is_listed() -> None:
    token = tokens.jwt(kid="gone", exp=S - 1, nbf=S + 1)
    assert faults(token, "x") == ["token-unknown-key", "jwt-expired", "jwt-not-yet-valid", "jwt-audience"]
    assert caught_subject(token) == forge.WEB


def caught_subject(token: str) -> str:
    with pytest.raises(TokenVerifyError) as caught:
        validate(token)
    return caught.value.subject


def test_no_bundle_is_asked_for_before_the_rules_are_kept() -> None:
    asked: list[TrustDomain] = []

    class Source:
        def bundle_for(self, trust_domain: TrustDomain) -> Bundle | None:
            asked.append(trust_domain)
            return BUNDLES.bundle_for(trust_domain)

    for token in (tokens.jwt(header={"alg": "HS256"}), tokens.jwt(aud=...)):
        with pytest.raises(TokenParseError):
            validate_jwt(token, Source(), ["x"], now=tokens.NOW)
    assert asked == []
    validate_jwt(tokens.jwt(), Source(), [tokens.AUDIENCE], now=tokens.NOW)
    assert asked == [forge.A]


def test_keys_of_other_domains_and_uses_do_not_count() -> None:
    token = tokens.jwt()
    other = Bundle(trust_domain=forge.B, jwt_authorities=(K1,))
    wit_only = Bundle(trust_domain=forge.A, wit_authorities=(K1,))
    beside = Bundle(trust_domain=forge.A, jwt_authorities=(K2,), wit_authorities=(K1,))
    wanted = {other: "token-no-bundle", wit_only: "token-no-keys", beside: "token-unknown-key"}
    for bundle, reason in wanted.items():
        with pytest.raises(TokenVerifyError) as caught:
            validate_jwt(token, BundleSet([bundle]), [tokens.AUDIENCE], now=tokens.NOW)
        assert caught.value.reason.id == reason
