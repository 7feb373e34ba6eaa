from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import pytest

from finial.core import jws
from finial.core.algorithms import Algorithm
from finial.core.errors import IssueError, KeyRefusedError
from finial.core.ids import SpiffeID
from finial.core.keys import PrivateKey, PublicKey
from finial.core.token_issuer import DEFAULT_WIT_TTL, TokenIssuer
from finial.core.witsvid import WITSVID, WITRequest, issue_wit
from support import forge, tokens

W1, KEY = tokens.authority("w1")
ISSUER = TokenIssuer(forge.A, W1)
PUBLIC = tokens.holder().public_key()
S = tokens.SECONDS


def issue(
    sub: str = forge.WEB,
    public_key: PublicKey = PUBLIC,
    *,
    issuer: TokenIssuer = ISSUER,
    key: PrivateKey = KEY,
    ttl: timedelta = DEFAULT_WIT_TTL,
    iss: str = "",
    **further: object,
) -> WITSVID:
    request = WITRequest(spiffe_id=SpiffeID(sub), public_key=public_key, issuer=iss, **further)  # type: ignore[arg-type]
    return issue_wit(request, issuer, key=key, now=tokens.NOW, ttl=ttl)


def faults(*args: object, **settings: object) -> list[str]:
    with pytest.raises(IssueError) as caught:
        issue(*args, **settings)  # type: ignore[arg-type]
    return [found.reason.id for found in caught.value.findings]


def test_what_is_issued() -> None:
    svid = issue()
    assert svid.header == {"alg": "ES256", "kid": "w1", "typ": "wit+jwt"}
    assert svid.claims == {"sub": forge.WEB, "exp": S + 3600, "iat": S, "cnf": tokens.confirmation()}
    full = issue(jti="j", iss="issuer.test", claims={"x": [1]})
    assert [full.claims[name] for name in ("jti", "iss", "x")] == ["j", "issuer.test", (1,)]


@pytest.mark.parametrize("kind", ["ec-p256", "ec-p384", "ec-p521", "rsa-2048"])
def test_every_kind_of_key(kind: str) -> None:
    authority, key = tokens.authority("kinds", kind)
    svid = issue(public_key=tokens.holder(kind).public_key(), issuer=TokenIssuer(forge.A, authority), key=key)
    assert svid.key == tokens.holder(kind).public_key()
    assert svid.key_algorithm == svid.algorithm


def test_the_algorithm_of_the_workload() -> None:
    rsa = tokens.holder("rsa-2048").public_key()
    assert issue(public_key=rsa).key_algorithm is Algorithm.RS256
    assert issue(public_key=rsa, algorithm=Algorithm.PS384).key_algorithm is Algorithm.PS384
    assert faults(algorithm=Algorithm.ES384) == ["wit-confirmation-kind"]
    assert faults(public_key=rsa, algorithm=Algorithm.ES256) == ["wit-confirmation-kind"]


def test_keys_that_are_not_accepted() -> None:
    for kind, wanted in (("rsa-1024", "key-weak"), ("ed25519", "key-type")):
        with pytest.raises(KeyRefusedError) as caught:
            issue(public_key=forge.key("weak", kind).public_key())
        assert caught.value.reason.id == wanted


def test_the_end_of_the_authority() -> None:
    authority, _ = tokens.authority("w1", expires_at=tokens.NOW + timedelta(seconds=100))
    assert issue(issuer=TokenIssuer(forge.A, authority)).claims["exp"] == S + 100


def test_what_is_not_issued() -> None:
    assert faults("spiffe://b.test/web") == ["issue-foreign-subject"]
    assert faults("spiffe://a.test") == ["wit-root-id"]
    assert faults(ttl=timedelta(0)) == ["issue-ttl"]
    assert faults(key=forge.key("another")) == ["issue-key"]
    assert faults(iss="https://issuer.test") == ["wit-issued-issuer"]
    assert faults(iss="HTTPS:x") == ["wit-issued-issuer"]
    assert faults(claims={"x": "\ud800"}) == ["token-json"]


@pytest.mark.parametrize("claims", [{"aud": "x"}, {"cnf": {}}, {"sub": "x"}, {"nbf": 1}, {"x": object()}])
def test_further_claims_that_are_not_allowed(claims: Mapping[str, object]) -> None:
    assert faults(claims=claims) == ["issue-claim"]


def test_what_was_built_wrong_does_not_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(header: str, payload: dict[str, object], **settings: object) -> str:
        changed = {**payload, "iss": 1, "exp": S + 0.5, "sub": f"{forge.WEB}/other"}
        return tokens.signed({"alg": "ES256", "typ": "wit+jwt", "kid": "w1", "x": 1}, changed, KEY)

    monkeypatch.setattr(jws, "write", other)
    assert faults() == [
        "wit-issued-header",
        "wit-issued-times",
        "wit-issued-issuer",
        "issue-token-mismatch",
        "issue-token-mismatch",
    ]
