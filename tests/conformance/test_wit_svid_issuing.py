"""The WIT-SVID standard, as far as it binds issuers and publishers. Incubating."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import timedelta

import pytest

from finial.core.algorithms import Algorithm, algorithm_of
from finial.core.bundle import Bundle
from finial.core.bundle_doc import read_bundle, write_bundle
from finial.core.errors import BundleError, IssueError
from finial.core.ids import SpiffeID
from finial.core.jwk import PRIVATE_MEMBERS
from finial.core.rules.engine import Stage
from finial.core.rules.wit import HEADER
from finial.core.token_issuer import DEFAULT_WIT_TTL, TokenIssuer
from finial.core.witsvid import WITSVID, WITRequest, issue_wit, validate_wit
from finial.core.wpt import ProofScope, make_proof
from support import forge, tokens

KINDS = {"rsa-2048": "RS256", "ec-p256": "ES256", "ec-p384": "ES384", "ec-p521": "ES512"}
S = tokens.SECONDS


def issue(
    *,
    kind: str = "ec-p256",
    holder: str = "ec-p256",
    algorithm: Algorithm | None = None,
    iss: str = "",
    jti: str = "",
    claims: Mapping[str, object] | None = None,
    **authority: object,
) -> WITSVID:
    published, key = tokens.authority("w1", kind, **authority)
    request = WITRequest(
        spiffe_id=SpiffeID(forge.WEB),
        public_key=tokens.holder(holder).public_key(),
        algorithm=algorithm,
        issuer=iss,
        jti=jti,
        claims=claims or {},
    )
    issuer = TokenIssuer(forge.A, published)
    return issue_wit(request, issuer, key=key, now=tokens.NOW, ttl=DEFAULT_WIT_TTL)


def parts(token: str) -> tuple[dict[str, object], dict[str, object]]:
    """Header and payload, read by nothing of ours."""
    header, payload = (json.loads(base64.urlsafe_b64decode(f"{part}==")) for part in token.split(".")[:2])
    return header, payload


def published(*kids: str) -> list[dict[str, object]]:
    authorities = tuple(tokens.authority(kid)[0] for kid in kids)
    found: list[dict[str, object]] = json.loads(
        write_bundle(Bundle(trust_domain=forge.A, wit_authorities=authorities))
    )["keys"]
    return found


@pytest.mark.spec("WIT-01", "WIT-02", "WIT-06", "WIT-07", "WIT-09")
@pytest.mark.parametrize("kind", KINDS)
def test_issued_headers_are_exactly_three_parameters(kind: str) -> None:
    svid = issue(kind=kind)
    header, _ = parts(svid.token)
    assert svid.token.count(".") == 2
    assert header == {"alg": KINDS[kind], "kid": "w1", "typ": "wit+jwt"}
    assert HEADER.findings({**header, "x-foo": 1}, Stage.ISSUE)


@pytest.mark.spec("WIT-11", "WIT-12", "WIT-13", "WIT-14", "WIT-19", "WIT-33", "WIT-55")
@pytest.mark.parametrize("holder", KINDS)
def test_issued_tokens_say_what_issuing_asks_for(holder: str) -> None:
    svid = issue(holder=holder)
    _, payload = parts(svid.token)
    assert payload["sub"] == forge.WEB
    assert payload["exp"] == S + 3600
    cnf = payload["cnf"]
    assert isinstance(cnf, dict)
    assert list(cnf) == ["jwk"]
    assert cnf["jwk"]["alg"] == KINDS[holder]
    assert not PRIVATE_MEMBERS & cnf["jwk"].keys()
    assert svid.key == tokens.holder(holder).public_key()


@pytest.mark.spec("WIT-14", "WIT-55")
def test_the_algorithm_of_the_key_goes_with_it() -> None:
    _, payload = parts(issue(holder="rsa-2048", algorithm=Algorithm.PS256).token)
    cnf = payload["cnf"]
    assert isinstance(cnf, dict)
    assert cnf["jwk"]["alg"] == "PS256"
    for holder, algorithm in (("ec-p256", Algorithm.ES384), ("rsa-2048", Algorithm.ES256)):
        with pytest.raises(IssueError) as caught:
            issue(holder=holder, algorithm=algorithm)
        assert caught.value.reason.id == "wit-confirmation-kind"


@pytest.mark.spec("WIT-57")
def test_keys_on_p256_sign_by_es256() -> None:
    assert algorithm_of(tokens.holder().public_key()) == "ES256"
    assert parts(issue().token)[0]["alg"] == "ES256"


@pytest.mark.spec("WIT-15", "WIT-23", "WIT-26", "WIT-28", "WIT-31", "WIT-34")
def test_what_may_be_issued_beside() -> None:
    _, payload = parts(issue(jti="j", iss="issuer.test", claims={"https://x.test/team": ["a"]}).token)
    assert (payload["jti"], payload["iss"], payload["iat"]) == ("j", "issuer.test", S)
    assert payload["https://x.test/team"] == ["a"]
    bare = parts(issue().token)[1]
    assert not {"jti", "iss", "nbf"} & bare.keys()


@pytest.mark.spec("WIT-22")
def test_the_life_is_an_hour_and_ends_with_its_authority() -> None:
    assert timedelta(hours=1) == DEFAULT_WIT_TTL
    end = tokens.NOW + timedelta(minutes=10)
    assert issue(expires_at=end).expires_at == end


@pytest.mark.spec("WIT-29")
def test_no_issuer_that_discovery_works_with() -> None:
    for iss in ("https://issuer.test", "HTTPS://issuer.test", "https:x"):
        with pytest.raises(IssueError) as caught:
            issue(iss=iss)
        assert caught.value.reason.id == "wit-issued-issuer"


@pytest.mark.spec("WIT-30")
def test_no_audience_whoever_asks_for_it() -> None:
    assert "aud" not in parts(issue().token)[1]
    for name in ("aud", "cnf", "sub", "exp"):
        with pytest.raises(IssueError) as caught:
            issue(claims={name: "x"})
        assert caught.value.reason.id == "issue-claim"


@pytest.mark.spec("WIT-33")
def test_what_is_issued_validates_with_its_proof() -> None:
    svid = issue()
    scope = ProofScope(tokens.TARGET)
    proof = make_proof(svid, scope, key=tokens.holder(), now=tokens.NOW, jti="one")
    bundles = tokens.bundles(wit=(tokens.authority("w1")[0],))
    assert validate_wit(svid.token, proof, bundles, scope=scope, now=tokens.NOW).svid == svid


@pytest.mark.spec("WIT-43", "WIT-44", "WIT-45")
def test_each_key_is_one_entry_with_its_use_and_its_id() -> None:
    entries = published("one", "two", "three")
    assert [entry["kid"] for entry in entries] == ["one", "two", "three"]
    assert {entry["use"] for entry in entries} == {"wit-svid"}
    assert not any(PRIVATE_MEMBERS & entry.keys() for entry in entries)
    with pytest.raises(BundleError):
        tokens.authority("")


@pytest.mark.spec("WIT-04", "WIT-46")
def test_no_two_keys_have_one_id_of_whatever_kinds_they_are() -> None:
    one, two = tokens.authority("one")[0], tokens.authority("one", "ec-p384")[0]
    for jwt, wit in (((), (one, two)), ((one,), (two,)), ((one,), (one,))):
        with pytest.raises(BundleError) as caught:
            Bundle(trust_domain=forge.A, jwt_authorities=jwt, wit_authorities=wit)
        assert caught.value.reason.id == "bundle-entry-key-id"
    document = {"keys": [{**published("one")[0], "use": "jwt-svid"}, published("one")[0]]}
    bundle = read_bundle(forge.A, json.dumps(document).encode()).bundle
    assert (len(bundle.jwt_authorities), len(bundle.wit_authorities)) == (1, 0)
