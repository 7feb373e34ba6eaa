from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import pytest

from finial.core import base64url, jws
from finial.core.errors import IssueError
from finial.core.ids import SpiffeID
from finial.core.jwtsvid import JWTSVID, JWTRequest, issue_jwt, validate_jwt
from finial.core.keys import PrivateKey
from finial.core.token_issuer import DEFAULT_JWT_TTL, TokenIssuer
from support import forge, tokens

K1, KEY = tokens.authority()
ISSUER = TokenIssuer(forge.A, K1)
S = tokens.SECONDS


def issue(
    sub: str = forge.WEB,
    audience: tuple[str, ...] = (tokens.AUDIENCE,),
    *,
    issuer: TokenIssuer = ISSUER,
    key: PrivateKey = KEY,
    ttl: timedelta = DEFAULT_JWT_TTL,
    late: float = 0,
    **further: object,
) -> JWTSVID:
    request = JWTRequest(spiffe_id=SpiffeID(sub), audience=audience, **further)  # type: ignore[arg-type]
    return issue_jwt(request, issuer, key=key, now=tokens.NOW + timedelta(seconds=late), ttl=ttl)


def faults(*args: object, **settings: object) -> list[str]:
    with pytest.raises(IssueError) as caught:
        issue(*args, **settings)  # type: ignore[arg-type]
    return [found.reason.id for found in caught.value.findings]


def test_what_is_issued() -> None:
    svid = issue(audience=("a", "b"))
    assert svid.header == {"alg": "ES256", "kid": "k1", "typ": "JWT"}
    assert svid.claims == {"sub": forge.WEB, "aud": ("a", "b"), "exp": S + 300, "iat": S}
    full = issue(issuer=ISSUER, claims={"x": {"y": [1, None]}}, jti="j")
    assert full.claims["jti"] == "j"
    assert full.claims["x"] == {"y": (1, None)}
    request = JWTRequest(spiffe_id=SpiffeID(forge.WEB), audience=("a",), issuer="https://issuer.test")
    assert (
        issue_jwt(request, ISSUER, key=KEY, now=tokens.NOW, ttl=DEFAULT_JWT_TTL).claims["iss"]
        == request.issuer
    )


@pytest.mark.parametrize("kind", ["ec-p256", "ec-p384", "ec-p521", "rsa-2048"])
def test_what_is_issued_validates(kind: str) -> None:
    authority, key = tokens.authority("kinds", kind)
    svid = issue(issuer=TokenIssuer(forge.A, authority), key=key)
    proven = validate_jwt(svid.token, tokens.bundles(authority), [tokens.AUDIENCE], now=tokens.NOW)
    assert proven.svid == svid


def test_whole_seconds() -> None:
    svid = issue(late=0.9, ttl=timedelta(seconds=1.2))
    assert (svid.claims["iat"], svid.claims["exp"]) == (S, S + 2)
    assert issue(late=0.999, ttl=timedelta(seconds=1)).claims["exp"] == S + 1


def test_no_token_outlives_its_authority() -> None:
    authority, _ = tokens.authority(expires_at=tokens.NOW + timedelta(seconds=100.5))
    issuer = TokenIssuer(forge.A, authority)
    assert issue(issuer=issuer).claims["exp"] == S + 100
    assert issue(issuer=issuer, late=99).claims["exp"] == S + 100
    assert faults(issuer=issuer, late=100) == ["issue-authority-expired"]


def test_who_and_for_whom() -> None:
    assert faults("spiffe://b.test/web") == ["issue-foreign-subject"]
    assert faults("spiffe://a.test") == ["jwt-root-id"]
    assert faults(audience=()) == ["jwt-no-audience"]
    assert faults(audience=("",)) == ["jwt-no-audience"]
    assert faults(audience=("a", "")) == ["jwt-no-audience"]
    assert faults("spiffe://b.test", ()) == ["issue-foreign-subject", "jwt-root-id", "jwt-no-audience"]


def test_how_long_and_with_which_key() -> None:
    assert faults(ttl=timedelta(seconds=0.9)) == ["issue-ttl"]
    assert faults(ttl=timedelta(seconds=-1)) == ["issue-ttl"]
    assert faults(key=forge.key("another")) == ["issue-key"]
    assert faults(key=forge.key("another", "rsa-2048")) == ["issue-key"]


def test_a_key_that_was_found_to_be_the_right_one_vouches_for_no_other() -> None:
    issuer = TokenIssuer(forge.A, K1)
    for _ in range(2):
        assert issue(issuer=issuer).key_id == "k1"
        assert faults(issuer=issuer, key=forge.key("another")) == ["issue-key"]
    assert issuer == TokenIssuer(forge.A, K1)
    assert hash(issuer) == hash(TokenIssuer(forge.A, K1))
    assert "PrivateKey" not in repr(issuer)


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "spiffe://a.test/admin"},
        {"aud": "x"},
        {"exp": 1},
        {"nbf": 1},
        {"iat": 1},
        {"iss": "x"},
        {"jti": "x"},
        {"x": float("nan")},
        {"x": object()},
        {"x": {1, 2}},
    ],
)
def test_further_claims_that_are_not_allowed(claims: Mapping[str, object]) -> None:
    assert faults(claims=claims) == ["issue-claim"]


def test_a_claim_without_end() -> None:
    endless: list[object] = []
    endless.append(endless)
    assert faults(claims={"x": endless}) == ["issue-claim"]


@pytest.mark.parametrize(
    ("claims", "wanted"),
    [
        ({"x": "y" * jws.MAX_TOKEN_BYTES}, "token-large"),
        ({"x": "\ud800"}, "token-json"),
        ({"x": {1: "a", "1": "b"}}, "token-duplicate-member"),
    ],
)
def test_what_no_peer_would_read_is_not_issued(claims: Mapping[str, object], wanted: str) -> None:
    assert faults(claims=claims) == [wanted]


def test_what_was_built_wrong_does_not_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(header: str, payload: dict[str, object], **settings: object) -> str:
        return tokens.jwt(aud=["everybody"], exp=S + 0.5)

    monkeypatch.setattr(jws, "write", other)
    assert faults() == ["jwt-issued-times", *["issue-token-mismatch"] * 2]

    def bare(header: str, payload: dict[str, object], **settings: object) -> str:
        return tokens.signed({"alg": "ES256"}, payload, KEY)

    monkeypatch.setattr(jws, "write", bare)
    assert faults() == ["jwt-issued-header"]


def test_the_audience_is_an_array_also_when_there_is_one() -> None:
    payload = issue().token.split(".")[1]
    assert b'"aud":["reports"]' in base64url.decode(payload)
