"""What messages of the WIT profile say, good and bad."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from finial.core import jwk
from finial.core.errors import KeyRefusedError, TokenVerifyError
from finial.core.ids import SpiffeID
from finial.core.witsvid import WITSVID
from finial.sdk import ProofScope, ResponseError, WITIdentity
from finial.sdk.response_wit import read_wit_bundles, read_wit_svids, write_key
from finial.wire.gen import workload as pb
from support import forge, tokens
from support.fake_workload import key_set, one_wit, wit_keys, wits

OTHER = "spiffe://a.test/other"
W1 = tokens.authority("w1")[0]
SCOPE = ProofScope(tokens.TARGET)


def findings(message: pb.WITSVIDResponse, wanted: str = "") -> list[str]:
    with pytest.raises(ResponseError) as caught:
        read_wit_svids(message, SpiffeID(wanted) if wanted else None)
    told = [str(found) for found in caught.value.findings]
    secrets = [each for one in message.svids for each in (one.wit_svid, one.wit_svid_key) if len(each) > 8]
    assert not any(secret in line for secret in secrets for line in told)
    return told


def test_tokens_come_with_their_keys() -> None:
    answer = read_wit_svids(wits(one_wit(hint="x"), one_wit(uri=OTHER)), None)
    first, second = answer.value
    assert (first.id.text, first.hint, second.id.text) == (forge.WEB, "x", OTHER)
    assert first.private_key.public_key() == tokens.holder().public_key() == first.svid.key
    assert answer.passed_over == ()
    written = json.loads(write_key(first))
    assert jwk.read_private(written).public_key() == first.svid.key
    assert written["alg"] == "ES256"
    assert written["d"] not in repr(first)


def test_an_rsa_key_is_written_too() -> None:
    key = tokens.holder("rsa-2048")
    assert isinstance(key, rsa.RSAPrivateKey)
    token = tokens.wit(cnf=tokens.confirmation("rsa-2048"))
    message = wits(
        pb.WITSVID(spiffe_id=forge.WEB, wit_svid=token, wit_svid_key=json.dumps(jwk.write_private(key)))
    )
    (identity,) = read_wit_svids(message, SpiffeID(forge.WEB)).value
    assert json.loads(write_key(identity)) == {**jwk.write_private(key), "alg": "RS256"}


def test_a_second_token_of_one_hint_is_passed_over() -> None:
    answer = read_wit_svids(wits(one_wit(hint="x"), one_wit(uri=OTHER, hint="x")), None)
    assert [each.id.text for each in answer.value] == [forge.WEB]
    assert [str(found) for found in answer.passed_over] == ["svids[1]: a second SVID with the hint 'x'"]


def other_key() -> str:
    key = forge.key("another")
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return json.dumps(jwk.write_private(key))


def test_a_message_that_breaks_rules_is_refused_whole() -> None:
    assert findings(wits()) == ["svids: the message holds no SVID"]
    bad = one_wit()
    bad.wit_svid_key = other_key()
    message = wits(one_wit(), pb.WITSVID(), one_wit("x.y"), one_wit(tokens.wit(sub=OTHER)), bad)
    assert findings(message) == [
        "svids[1]: the field spiffe_id is empty",
        "svids[1]: the field wit_svid is empty",
        "svids[1]: the field wit_svid_key is empty",
        "svids[2]: the token has 2 parts, not three",
        f"svids[3]: the SVID is of {OTHER}, and the message says '{forge.WEB}'",
        "svids[4]: the private key is not the one that the token is bound to",
    ]
    assert findings(wits(one_wit()), wanted=OTHER) == [
        f"svids[0]: the SVID is of {forge.WEB}, and {OTHER} was asked for"
    ]


@pytest.mark.parametrize(
    "garbage",
    ["x", "[]", "{}", '{"kty":"EC","kty":"EC"}', '{"kty":"oct","k":"AAAAAAAAAAAA"}', " " * 100_000, "[" * 99],
)
def test_garbage_for_a_key_is_a_finding(garbage: str) -> None:
    message = one_wit()
    message.wit_svid_key = garbage
    assert len(findings(wits(message))) == 1


def test_a_public_key_is_not_enough() -> None:
    message = one_wit()
    message.wit_svid_key = json.dumps(jwk.write_public(tokens.holder().public_key()))
    assert findings(wits(message)) == ["svids[0]: the member d is missing or is not a text"]


def test_an_identity_has_the_key_of_its_token() -> None:
    with pytest.raises(KeyRefusedError, match="not the one that the token is bound to"):
        WITIdentity(WITSVID.parse(tokens.wit()), forge.key("another"))


def test_bundles_validate_a_token_with_its_proof() -> None:
    answer = read_wit_bundles(wit_keys(a=key_set(W1), b=key_set()))
    (identity,) = read_wit_svids(wits(one_wit()), None).value
    proof = identity.prove(SCOPE, now=tokens.NOW, jti="one")
    found = answer.value.validate(identity.svid.token, proof, scope=SCOPE, now=tokens.NOW)
    assert found.id.text == forge.WEB
    elsewhere = ProofScope("https://elsewhere.test/")
    with pytest.raises(TokenVerifyError):
        answer.value.validate(identity.svid.token, proof, scope=elsewhere, now=tokens.NOW)
    assert [domain.name for domain in answer.value] == ["a.test", "b.test"]


def test_keys_for_other_tokens_are_not_kept() -> None:
    jwt_key = {**json.loads(key_set(tokens.authority("k1")[0]))["keys"][0], "use": "jwt-svid"}
    (wit_key,) = json.loads(key_set(W1))["keys"]
    answer = read_wit_bundles(wit_keys(a=json.dumps({"keys": [jwt_key, wit_key]}).encode()))
    assert answer.value.authorities(forge.A) == (W1,)
    assert [found.message for found in answer.passed_over] == ["it has keys of the use jwt-svid"]
    with pytest.raises(ResponseError, match="holds no bundle"):
        read_wit_bundles(pb.WITBundlesResponse())
