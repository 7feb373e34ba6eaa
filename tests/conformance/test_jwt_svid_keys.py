"""The JWT-SVID standard, as far as it binds validators in choosing a key and using it."""

from __future__ import annotations

import json

import jwt as pyjwt
import pytest

from finial.core.algorithms import Algorithm, sign
from finial.core.bundle import Bundle, BundleSet
from finial.core.bundle_doc import read_bundle, write_bundle, write_jwks
from finial.core.x509path import verify_x509
from support import forge, tokens
from support.jwt_checks import refusal, validate

K1 = tokens.authority()[0]
S = tokens.SECONDS
NINE = {
    "RS256": "rsa-2048",
    "RS384": "rsa-2048",
    "RS512": "rsa-2048",
    "PS256": "rsa-2048",
    "PS384": "rsa-2048",
    "PS512": "rsa-2048",
    "ES256": "ec-p256",
    "ES384": "ec-p384",
    "ES512": "ec-p521",
}


def signed_by(algorithm: str) -> tuple[str, BundleSet]:
    authority, key = tokens.authority("nine", NINE[algorithm])
    header = {"alg": algorithm, "kid": "nine", "typ": "JWT"}
    claims = {"sub": forge.WEB, "aud": tokens.AUDIENCE, "exp": S + 60}
    return tokens.signed(header, claims, key, Algorithm(algorithm)), tokens.bundles(authority)


@pytest.mark.spec("JWT-05", "JWT-07")
@pytest.mark.parametrize("algorithm", NINE)
def test_all_nine_algorithms_with_their_own_kind_of_key(algorithm: str) -> None:
    token, bundles = signed_by(algorithm)
    assert validate(token, bundles=bundles).svid.algorithm == algorithm


@pytest.mark.spec("JWT-07")
@pytest.mark.parametrize(
    ("algorithm", "kind"),
    [
        ("ES256", "ec-p384"),
        ("ES384", "ec-p256"),
        ("ES512", "rsa-2048"),
        ("RS256", "ec-p256"),
        ("PS256", "ec-p521"),
    ],
)
def test_an_algorithm_with_another_kind_of_key(algorithm: str, kind: str) -> None:
    authority, key = tokens.authority("confused", kind)
    usual = tokens.jwt(kid="confused", kind=kind, header={"alg": algorithm})
    assert refusal(usual, bundles=tokens.bundles(authority)) == "token-key-kind"
    assert key.public_key() == authority.key


@pytest.mark.spec("JWT-07")
def test_an_algorithm_is_not_taken_for_another_of_the_same_key() -> None:
    authority, key = tokens.authority("nine", "rsa-2048")
    for said, done in (("RS256", "PS256"), ("PS256", "RS256"), ("RS256", "RS384")):
        head, payload, _ = tokens.jwt(kid="nine", kind="rsa-2048", header={"alg": said}).split(".")
        signature = sign(key, Algorithm(done), f"{head}.{payload}".encode())
        token = f"{head}.{payload}.{tokens.text(signature)}"
        assert refusal(token, bundles=tokens.bundles(authority)) == "token-signature"


@pytest.mark.spec("JWT-08")
def test_without_kid_the_fitting_keys_of_the_domain_are_tried() -> None:
    bare = tokens.jwt(header={"kid": ...})
    others = [tokens.authority("k2")[0], tokens.authority("k3", "ec-p384")[0]]
    assert validate(bare, bundles=tokens.bundles(*others, K1)).authority == K1
    assert refusal(bare, bundles=tokens.bundles(*others)) == "token-signature"
    elsewhere = BundleSet(
        [Bundle(trust_domain=forge.B, jwt_authorities=(K1,)), *tokens.bundles(*others).values()]
    )
    assert refusal(bare, bundles=elsewhere) == "token-signature"
    for kid in ("", 1, None):
        assert refusal(tokens.jwt(header={"kid": kid})) == "jwt-key-id"


@pytest.mark.spec("JWT-24")
@pytest.mark.parametrize("algorithm", NINE)
def test_another_library_signs_what_is_accepted(algorithm: str) -> None:
    authority, key = tokens.authority("nine", NINE[algorithm])
    claims = {"sub": forge.WEB, "aud": ["reports"], "exp": S + 60}
    token = pyjwt.encode(claims, key, algorithm, {"kid": "nine"})
    assert validate(token, bundles=tokens.bundles(authority)).id.text == forge.WEB


@pytest.mark.spec("JWT-24")
def test_a_changed_token_proves_nothing() -> None:
    header, payload, signature = tokens.jwt().split(".")
    other = tokens.jwt(sub="spiffe://a.test/admin").split(".")[1]
    assert refusal(f"{header}.{other}.{signature}") == "token-signature"
    twice = tokens.text(
        b'{"sub":"spiffe://a.test/web","sub":"spiffe://a.test/admin","aud":"reports","exp":1}'
    )
    assert refusal(f"{header}.{twice}.{signature}") == "token-duplicate-member"
    assert refusal(f"{header}.{payload}.{tokens.text(bytes(64))}") == "token-signature"
    assert refusal(f"{header}.{payload}.{tokens.text(bytes(63))}") == "token-signature"


@pytest.mark.spec("JWT-28")
def test_the_key_comes_from_the_domain_of_the_subject() -> None:
    key_of_a, _ = tokens.authority("shared")
    key_of_b = tokens.authority("of b")[0]
    assert key_of_a != key_of_b
    bundles = BundleSet(
        [
            Bundle(trust_domain=forge.A, jwt_authorities=(key_of_a,)),
            Bundle(
                trust_domain=forge.B,
                jwt_authorities=(type(key_of_b)(key_id="shared", key=key_of_b.key),),
            ),
        ]
    )
    validate(tokens.jwt(kid="shared"), bundles=bundles)
    assert refusal(tokens.jwt(kid="shared", sub="spiffe://b.test/web"), bundles=bundles) == "token-signature"
    assert refusal(tokens.jwt(sub="spiffe://c.test/web"), bundles=bundles) == "token-no-bundle"


@pytest.mark.spec("JWT-36")
def test_keys_of_other_uses_validate_nothing() -> None:
    for use in ("wit-svid", "x509-svid", "sig", None):
        document = json.loads(write_bundle(Bundle(trust_domain=forge.A, jwt_authorities=(K1,))))
        document["keys"][0]["use"] = use
        document["keys"].append(
            json.loads(write_bundle(tokens.bundles(tokens.authority("k2")[0])[forge.A]))["keys"][0]
        )
        bundle = read_bundle(forge.A, json.dumps(document).encode()).bundle
        assert len(bundle.jwt_authorities) == 1
        assert refusal(tokens.jwt(), bundles=BundleSet([bundle])) == "token-unknown-key"


@pytest.mark.spec("JWT-37")
def test_a_domain_without_such_keys_does_not_support_them() -> None:
    root = forge.root()
    bundles = forge.bundles(a=root)
    assert refusal(tokens.jwt(), bundles=bundles) == "token-no-keys"
    assert verify_x509([forge.leaf(root).der], bundles, now=forge.NOW).id.text == forge.WEB


@pytest.mark.spec("JWT-38")
def test_a_consumer_of_plain_key_sets_accepts_the_entries() -> None:
    authorities = [tokens.authority(kind, kind)[0] for kind in ("ec-p256", "ec-p384", "ec-p521", "rsa-2048")]
    bundle = Bundle(trust_domain=forge.A, jwt_authorities=tuple(authorities))
    keys = pyjwt.PyJWKSet.from_json(write_jwks(bundle).decode())
    for kind in ("ec-p256", "ec-p384", "ec-p521", "rsa-2048"):
        token = tokens.jwt(kid=kind, kind=kind, exp=2**40)
        claims = pyjwt.decode(token, keys[kind], audience="reports", options={"verify_iat": False})
        assert claims["sub"] == forge.WEB
