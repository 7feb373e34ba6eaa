"""The JWT-SVID standard, as far as it binds issuers, publishers and workloads."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import timedelta

import jwt as pyjwt
import pytest

from finial.core.algorithms import Algorithm, algorithm_of
from finial.core.bearer import read_bearer, write_bearer
from finial.core.bundle import Bundle
from finial.core.bundle_doc import read_bundle, write_bundle
from finial.core.errors import BundleError, CarriageError, IssueError
from finial.core.ids import SpiffeID
from finial.core.jwk import PRIVATE_MEMBERS
from finial.core.jwtsvid import JWTSVID, JWTRequest, issue_jwt
from finial.core.rules.engine import Stage
from finial.core.rules.jwt import HEADER
from finial.core.target import check_bearer_target
from finial.core.token_issuer import DEFAULT_JWT_TTL, TokenIssuer
from support import forge, tokens

KINDS = {"rsa-2048": "RS256", "ec-p256": "ES256", "ec-p384": "ES384", "ec-p521": "ES512"}
S = tokens.SECONDS


def issue(
    *audience: str,
    kind: str = "ec-p256",
    sub: str = forge.WEB,
    claims: Mapping[str, object] | None = None,
    ttl: timedelta = DEFAULT_JWT_TTL,
) -> JWTSVID:
    authority, key = tokens.authority("k1", kind)
    request = JWTRequest(spiffe_id=SpiffeID(sub), audience=audience or ("reports",), claims=claims or {})
    return issue_jwt(request, TokenIssuer(forge.A, authority), key=key, now=tokens.NOW, ttl=ttl)


def parts(token: str) -> tuple[dict[str, object], dict[str, object]]:
    """Header and payload, read by nothing of ours."""
    header, payload = (json.loads(base64.urlsafe_b64decode(f"{part}==")) for part in token.split(".")[:2])
    return header, payload


def published(*kids: str) -> list[dict[str, object]]:
    authorities = tuple(tokens.authority(kid)[0] for kid in kids)
    found: list[dict[str, object]] = json.loads(
        write_bundle(Bundle(trust_domain=forge.A, jwt_authorities=authorities))
    )["keys"]
    return found


@pytest.mark.spec("JWT-01", "JWT-02", "JWT-30")
def test_issued_tokens_are_in_compact_form() -> None:
    token = issue().token
    assert token.count(".") == 2
    assert "=" not in token
    assert all(token.split("."))


@pytest.mark.spec("JWT-03", "JWT-08", "JWT-10")
@pytest.mark.parametrize("kind", KINDS)
def test_issued_headers_are_exactly_three_parameters(kind: str) -> None:
    header, _ = parts(issue(kind=kind).token)
    assert header == {"alg": KINDS[kind], "kid": "k1", "typ": "JWT"}
    for bad in ({**header, "jku": "x"}, {"alg": "ES256"}, {**header, "typ": "JOSE"}):
        assert HEADER.findings(bad, Stage.ISSUE)


@pytest.mark.spec("JWT-05", "JWT-07")
def test_each_kind_of_key_signs_by_an_algorithm_of_the_list() -> None:
    for kind, name in KINDS.items():
        assert algorithm_of(forge.key("x", kind)) == name
        assert name in {algorithm.value for algorithm in Algorithm}
    with pytest.raises(BundleError):
        tokens.authority("k1", "ed25519")


@pytest.mark.spec("JWT-11")
def test_further_claims_can_be_issued() -> None:
    _, payload = parts(issue(claims={"https://x.test/team": {"name": ["a", None, 1.5]}}).token)
    assert payload["https://x.test/team"] == {"name": ["a", None, 1.5]}
    assert payload["iat"] == S


@pytest.mark.spec("JWT-13")
def test_nobody_but_the_authority_sets_the_subject() -> None:
    assert parts(issue().token)[1]["sub"] == forge.WEB
    for name in ("sub", "aud", "exp", "iat", "nbf", "iss", "jti"):
        with pytest.raises(IssueError) as caught:
            issue(claims={name: "spiffe://a.test/admin"})
        assert caught.value.reason.id == "issue-claim"
    for sub, wanted in (("spiffe://a.test", "jwt-root-id"), ("spiffe://b.test/x", "issue-foreign-subject")):
        with pytest.raises(IssueError) as caught:
            issue(sub=sub)
        assert caught.value.reason.id == wanted


@pytest.mark.spec("JWT-15")
def test_no_token_for_nobody() -> None:
    authority, key = tokens.authority()
    for audience in ((), ("",), ("", "")):
        request = JWTRequest(spiffe_id=SpiffeID(forge.WEB), audience=audience)
        with pytest.raises(IssueError) as caught:
            issue_jwt(request, TokenIssuer(forge.A, authority), key=key, now=tokens.NOW, ttl=DEFAULT_JWT_TTL)
        assert caught.value.reason.id == "jwt-no-audience"


@pytest.mark.spec("JWT-21", "JWT-23", "JWT-26")
def test_every_token_ends_soon() -> None:
    _, payload = parts(issue().token)
    begin, end = payload["iat"], payload["exp"]
    assert isinstance(begin, int)
    assert isinstance(end, int)
    assert 0 < end - begin <= 300
    with pytest.raises(IssueError):
        issue(ttl=timedelta(0))


@pytest.mark.spec("JWT-24")
@pytest.mark.parametrize("kind", KINDS)
def test_another_library_accepts_what_is_issued(kind: str) -> None:
    authority, _ = tokens.authority("k1", kind)
    token = issue(kind=kind).token
    options = {"verify_exp": False, "verify_iat": False, "require": ["sub", "aud", "exp"]}
    claims = pyjwt.decode(
        token,
        authority.key,
        algorithms=[KINDS[kind]],
        audience="reports",
        options=options,  # type: ignore[arg-type]  # a plain dictionary
    )
    assert claims["sub"] == forge.WEB
    with pytest.raises(pyjwt.InvalidSignatureError):
        pyjwt.decode(f"{token[:-8]}AAAAAAAA", authority.key, algorithms=[KINDS[kind]], options=options)  # type: ignore[arg-type]


@pytest.mark.spec("JWT-31", "JWT-32")
def test_a_token_travels_as_bearer_in_authorization() -> None:
    token = issue().token
    assert write_bearer(token) == f"Bearer {token}"
    for scheme in ("Bearer", "bearer", "BEARER"):
        assert read_bearer([("Authorization", f"{scheme} {token}")]) == token
    # Of gRPC the metadata is a list of such pairs, with names in small letters.
    metadata = [("te", "trailers"), ("authorization", write_bearer(token))]
    assert read_bearer(metadata) == token
    for elsewhere in (
        [("x-token", token)],
        [("authorization", token)],
        [("authorization", f"Basic {token}")],
        [],
    ):
        with pytest.raises(CarriageError):
            read_bearer(elsewhere)


@pytest.mark.spec("JWT-33", "JWT-34", "JWT-35")
def test_each_key_is_one_entry_with_its_use_and_its_id() -> None:
    entries = published("one", "two", "three")
    assert [entry["kid"] for entry in entries] == ["one", "two", "three"]
    assert {entry["use"] for entry in entries} == {"jwt-svid"}
    assert not any(PRIVATE_MEMBERS & entry.keys() for entry in entries)
    assert issue().key_id == published("k1")[0]["kid"]


@pytest.mark.spec("JWT-35")
def test_key_ids_are_neither_empty_nor_shared() -> None:
    one, two = tokens.authority("one")[0], tokens.authority("one", "ec-p384")[0]
    for keys in ({"jwt_authorities": (one, two)}, {"jwt_authorities": (one,), "wit_authorities": (two,)}):
        with pytest.raises(BundleError) as caught:
            Bundle(trust_domain=forge.A, **keys)
        assert caught.value.reason.id == "bundle-entry-key-id"
    with pytest.raises(BundleError):
        tokens.authority("")
    entry = published("one")[0]
    for kid in ({}, {"kid": ""}, {"kid": 1}):
        document = {"keys": [{**{n: v for n, v in entry.items() if n != "kid"}, **kid}]}
        assert read_bundle(forge.A, json.dumps(document).encode()).bundle.jwt_authorities == ()


@pytest.mark.spec("JWT-40")
def test_no_token_leaves_this_machine_in_plain_text() -> None:
    for good in ("https://reports.test/", "http://localhost:8080/", "http://127.0.0.1/", "http://[::1]/x"):
        check_bearer_target(good)
    for bad in ("http://reports.test/", "http://192.0.2.1/", "ftp://reports.test/", "reports.test"):
        with pytest.raises(CarriageError):
            check_bearer_target(bad)


@pytest.mark.spec("JWT-45")
@pytest.mark.parametrize("audience", [("reports",), ("reports", "billing")])
def test_issued_tokens_fit_the_schema(audience: tuple[str, ...]) -> None:
    header, payload = parts(issue(*audience, claims={"x": 1}).token)
    assert isinstance(header["alg"], str)
    assert isinstance(header["kid"], str)
    assert isinstance(header["typ"], str)
    assert isinstance(payload["sub"], str)
    assert type(payload["exp"]) is int
    # The schema knows aud as a text; the prose and RFC 7519 allow the array that is written.
    texts = payload["aud"]
    assert isinstance(texts, list)
    assert all(isinstance(text, str) for text in texts)
