"""The keys that tokens are validated with, as values."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from finial.core.bundle import Bundle
from finial.core.errors import BundleError, TokenVerifyError
from finial.core.ids import TrustDomain
from finial.sdk import JWTBundles, ProofScope, SeenProofs, WITBundles
from support import forge, tokens

K1 = tokens.authority("k1")[0]
W1 = tokens.authority("w1")[0]
C = TrustDomain("c.test")
BOTH = Bundle(
    trust_domain=forge.A,
    x509_authorities=(forge.root().certificate,),
    jwt_authorities=(K1,),
    wit_authorities=(W1,),
)
NONE = Bundle(trust_domain=forge.B)


def test_each_keeps_the_keys_of_its_kind() -> None:
    jwt, wit = JWTBundles([NONE, BOTH]), WITBundles([NONE, BOTH])
    assert jwt.authorities(forge.A) == (K1,)
    assert wit.authorities(forge.A) == (W1,)
    assert jwt.authorities(forge.B) == ()
    assert wit.authorities(C) == ()
    for each in (jwt, wit):
        assert list(each) == [forge.A, forge.B]
        assert len(each) == 2
        assert forge.A in each
        assert C not in each


def test_they_are_values_of_two_types() -> None:
    assert JWTBundles([BOTH]) == JWTBundles([BOTH.untainted()])
    assert hash(JWTBundles([BOTH])) == hash(JWTBundles([BOTH]))
    assert JWTBundles([BOTH]) != JWTBundles()
    other: object = WITBundles([NONE])
    assert JWTBundles([NONE]) != other
    with pytest.raises(BundleError, match=r"two bundles of trust domain a\.test"):
        JWTBundles([BOTH, BOTH.untainted(), Bundle(trust_domain=forge.A)])


def test_key_sets_for_others() -> None:
    sets = JWTBundles([BOTH, NONE]).key_sets()
    assert list(sets) == [forge.A, forge.B]
    (key,) = json.loads(sets[forge.A])["keys"]
    assert key["kid"] == "k1"
    assert "use" not in key
    assert json.loads(sets[forge.B]) == {"keys": []}
    assert json.loads(WITBundles([BOTH]).key_sets()[forge.A])["keys"][0]["kid"] == "w1"


def test_one_of_several_audiences_is_enough_and_none_is_not() -> None:
    bundles = JWTBundles([BOTH])
    late = tokens.NOW + timedelta(seconds=310)
    assert bundles.validate(tokens.jwt(), "x", tokens.AUDIENCE, now=tokens.NOW).authority == K1
    bundles.validate(tokens.jwt(), tokens.AUDIENCE, now=late, leeway=timedelta(seconds=30))
    for audience, now in ((("x",), tokens.NOW), ((), tokens.NOW), ((tokens.AUDIENCE,), late)):
        with pytest.raises(TokenVerifyError):
            bundles.validate(tokens.jwt(), *audience, now=now)


def test_a_proof_is_accepted_once_where_that_is_wanted() -> None:
    bundles, seen, scope = WITBundles([BOTH]), SeenProofs(), ProofScope(tokens.TARGET)
    token = tokens.wit()
    proof = tokens.proof(token)
    bundles.validate(token, proof, scope=scope, now=tokens.NOW, seen=seen)
    bundles.validate(token, proof, scope=scope, now=tokens.NOW)
    with pytest.raises(TokenVerifyError):
        bundles.validate(token, proof, scope=scope, now=tokens.NOW, seen=seen)
    with pytest.raises(TokenVerifyError):
        bundles.validate(token, proof, scope=scope, now=tokens.NOW, longest=timedelta(minutes=1))
