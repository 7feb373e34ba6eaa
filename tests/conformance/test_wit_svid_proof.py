"""The WIT-SVID standard: presentation with a proof, and what it takes over from WIMSE. Incubating."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import jwt as pyjwt
import pytest

from finial.core.algorithms import Algorithm
from finial.core.bearer import write_bearer
from finial.core.errors import CarriageError, IssueError, RefusedError, TokenParseError, TokenVerifyError
from finial.core.seen_proofs import SeenProofs
from finial.core.wit_http import DEFAULT_CARRIER, ProofCarrier, answer, read_fields, write_fields
from finial.core.witsvid import WITSVID, VerifiedWIT, validate_wit
from finial.core.wpt import DEFAULT_PROOF_TTL, ProofScope, WorkloadProof, hash_of, make_proof
from support import forge, tokens

BUNDLES = tokens.bundles(wit=(tokens.authority("w1")[0],))
SCOPE = ProofScope(tokens.TARGET)
WITH_OTHERS = ProofScope(tokens.TARGET, transaction_token="txn", others={"X-User": "user"})
GOOD_OTHERS: dict[str, Any] = {"tth": hash_of("txn"), "oth": {"x-user": hash_of("user")}}
SECOND = timedelta(seconds=1)
S = tokens.SECONDS
TOKEN = tokens.wit()
SVID = WITSVID(TOKEN)


def validate(
    proof: str,
    token: str = TOKEN,
    *,
    scope: ProofScope = SCOPE,
    late: int = 0,
    seen: SeenProofs | None = None,
) -> VerifiedWIT:
    now = tokens.NOW + late * SECOND
    return validate_wit(token, proof, BUNDLES, scope=scope, now=now, seen=seen)


def refusal(proof: str, token: str = TOKEN, **settings: Any) -> str:
    with pytest.raises((TokenParseError, TokenVerifyError)) as caught:
        validate(proof, token, **settings)
    return caught.value.reason.id


def make(scope: ProofScope = SCOPE, **settings: Any) -> str:
    settings = {"key": tokens.holder(), "now": tokens.NOW, "jti": "one", **settings}
    return make_proof(SVID, scope, **settings)


@pytest.mark.spec("WIT-17", "WIT-18")
def test_a_token_is_presented_as_often_as_there_are_fresh_proofs() -> None:
    token, seen = tokens.wit(jti="the same"), SeenProofs()
    for name in ("one", "two"):
        assert validate(tokens.proof(token, jti=name), token, seen=seen).id.text == forge.WEB


@pytest.mark.spec("WIT-38")
def test_the_proof_is_by_the_key_of_the_token_and_for_this_token() -> None:
    assert validate(tokens.proof(TOKEN)).id.text == forge.WEB
    assert refusal(tokens.proof(TOKEN, key=forge.key("stranger"))) == "wpt-signature"
    assert refusal(tokens.proof(tokens.wit(jti="other"))) == "wpt-other-token"
    with pytest.raises(IssueError):
        make(key=forge.key("stranger"))


@pytest.mark.spec("WIT-39", "WIT-40", "WIT-58")
@pytest.mark.parametrize("carrier", ProofCarrier)
def test_a_token_travels_in_its_own_field_and_never_alone(carrier: ProofCarrier) -> None:
    fields = write_fields(SVID, make(), carrier)
    assert fields[0] == ("Workload-Identity-Token", TOKEN)
    assert not any(TOKEN in value for name, value in fields if name == "Authorization")
    for nothing in ("", TOKEN, tokens.proof(tokens.wit(jti="other"))):
        with pytest.raises(RefusedError):
            write_fields(SVID, nothing, carrier)
    with pytest.raises(CarriageError):
        write_bearer(TOKEN)
    alone = [("workload-identity-token", TOKEN)]
    as_bearer = [("authorization", f"Bearer {TOKEN}"), *fields[1:]]
    for request in (alone, as_bearer):
        with pytest.raises(CarriageError):
            read_fields(request, carrier)


@pytest.mark.spec("WIT-58")
@pytest.mark.parametrize("carrier", ProofCarrier)
def test_names_of_fields_in_any_case_and_values_as_they_are(carrier: ProofCarrier) -> None:
    fields = write_fields(SVID, make(), carrier)
    for change in (str.lower, str.upper, str.title):
        carried = read_fields([(change(name), value) for name, value in fields], carrier)
        assert carried.token == TOKEN
        assert validate(carried.proof, carried.token).id.text == forge.WEB
    for value in (TOKEN.partition(".")[2], f"{TOKEN}.x", f"{TOKEN} x", "", "a.b.c="):
        with pytest.raises(CarriageError):
            read_fields([("workload-identity-token", value), *fields[1:]], carrier)


@pytest.mark.spec("WIT-63")
def test_which_field_carries_the_proof_is_a_setting() -> None:
    assert [carrier.value for carrier in ProofCarrier] == ["workload-proof-token", "authorization"]
    assert ProofCarrier("authorization") is DEFAULT_CARRIER
    own = write_fields(SVID, make(), ProofCarrier.FIELD)
    assert own[1][0] == "Workload-Proof-Token"
    scheme = write_fields(SVID, make(), ProofCarrier.AUTHORIZATION)
    assert scheme[1][0] == "Authorization"
    assert scheme[1][1].startswith("WPT ")
    for fields, other in ((own, ProofCarrier.AUTHORIZATION), (scheme, ProofCarrier.FIELD)):
        with pytest.raises(CarriageError):
            read_fields(fields, other)


@pytest.mark.spec("WIT-50")
def test_a_proof_covers_the_target_and_the_tokens_of_the_request() -> None:
    proof = make(WITH_OTHERS)
    assert validate(proof, scope=WITH_OTHERS).id.text == forge.WEB
    assert refusal(proof) == "wpt-transaction-token"
    elsewhere = "https://reports.test/other"
    assert refusal(proof, scope=ProofScope(elsewhere, "txn", {"X-User": "user"})) == "wpt-target"
    assert (
        refusal(proof, scope=ProofScope(tokens.TARGET, "other", {"X-User": "user"}))
        == "wpt-transaction-token"
    )
    assert refusal(proof, scope=ProofScope(tokens.TARGET, "txn", {"X-User": "x"})) == "wpt-further-tokens"


@pytest.mark.spec("WIT-51", "WIT-52")
def test_a_proof_ends_soon() -> None:
    assert timedelta(minutes=1) > DEFAULT_PROOF_TTL
    assert WorkloadProof(make()).expires_at == tokens.NOW + DEFAULT_PROOF_TTL
    assert refusal(tokens.proof(TOKEN, exp=...)) == "wpt-claims"
    assert refusal(tokens.proof(TOKEN), late=20) == "wpt-expired"
    assert refusal(tokens.proof(TOKEN, exp=S + 3600)) == "wpt-long-lived"
    for ttl in (timedelta(0), timedelta(minutes=6)):
        with pytest.raises(IssueError):
            make(ttl=ttl)


@pytest.mark.spec("WIT-41")
def test_the_proof_is_one_of_wimse_to_another_library_too() -> None:
    claims = {"aud": tokens.TARGET, "exp": S + 20, "jti": "one", "wth": tokens.digest(TOKEN)}
    theirs = pyjwt.encode(claims, tokens.holder(), "ES256", {"typ": "wpt+jwt"})
    assert validate(theirs).proof.id == "one"
    ours = pyjwt.decode(
        make(),
        SVID.key,
        algorithms=[SVID.key_algorithm.value],
        audience=tokens.TARGET,
        options={"verify_exp": False, "require": ["aud", "exp", "jti", "wth"]},
    )
    assert ours == {**claims, "exp": S + 30}


@pytest.mark.spec("WIT-53")
def test_a_receiver_may_accept_each_proof_once() -> None:
    seen = SeenProofs()
    proof = tokens.proof(TOKEN)
    validate(proof, seen=seen)
    assert refusal(proof, seen=seen) == "wpt-used"
    validate(tokens.proof(TOKEN, jti="two", exp=S + 60), seen=seen, late=30)
    assert len(seen) == 1  # the first one has ended
    validate(proof)


@pytest.mark.spec("WIT-54")
def test_nothing_is_presented_in_plain_text() -> None:
    for target in ("http://reports.test/", "http://localhost/", "ws://reports.test/"):
        with pytest.raises(CarriageError) as caught:
            ProofScope(target)
        assert caught.value.reason.id == "target-plain"


@pytest.mark.spec("WIT-56")
def test_the_proof_is_by_exactly_the_algorithm_of_the_key() -> None:
    token = tokens.wit(cnf=tokens.confirmation("ec-p384"))
    for algorithm, wanted in (
        (Algorithm.ES256, "wpt-other-algorithm"),
        (Algorithm.RS256, "wpt-other-algorithm"),
    ):
        header = {"alg": algorithm.value}
        assert refusal(tokens.proof(token, key=tokens.holder("ec-p384"), header=header), token) == wanted
    rsa = tokens.wit(cnf=tokens.confirmation("rsa-2048"))
    other = tokens.proof(rsa, key=tokens.holder("rsa-2048"), algorithm=Algorithm.PS256)
    assert refusal(other, rsa) == "wpt-other-algorithm"


@pytest.mark.spec("WIT-59")
def test_a_key_is_not_used_after_its_token_has_ended() -> None:
    short = WITSVID(tokens.wit(exp=S + 5))
    proof = make_proof(short, SCOPE, key=tokens.holder(), now=tokens.NOW, jti="one")
    assert WorkloadProof(proof).expires_at == short.expires_at
    with pytest.raises(IssueError) as caught:
        make_proof(short, SCOPE, key=tokens.holder(), now=short.expires_at, jti="one")
    assert caught.value.reason.id == "wpt-credential-expired"
    assert "d" not in SVID.claims["cnf"]["jwk"]  # type: ignore[index]  # the public half alone


@pytest.mark.spec("WIT-60")
def test_a_bad_token_is_answered_by_400_and_a_description() -> None:
    with pytest.raises(TokenVerifyError) as caught:
        validate(tokens.proof(tokens.wit(exp=S)), tokens.wit(exp=S))
    with pytest.raises(CarriageError) as missing:
        read_fields([])
    for refused in (caught.value, missing.value):
        found = answer(refused)
        assert found.status == 400
        assert ("Content-Type", "application/problem+json") in found.fields
        assert json.loads(found.body)["errors"][0]["code"] == refused.reason.id


@pytest.mark.spec("WIT-61")
def test_what_stands_in_a_proof() -> None:
    payload = json.loads(tokens.decoded(make(WITH_OTHERS, jti="the id"), 1))
    assert payload == {
        "aud": tokens.TARGET,
        "exp": S + 30,
        "jti": "the id",
        "wth": tokens.digest(TOKEN),
        "tth": tokens.digest("txn"),
        "oth": {"x-user": tokens.digest("user")},
    }
    assert json.loads(tokens.decoded(make(), 0)) == {"alg": "ES256", "typ": "wpt+jwt"}
    with_query = make(ProofScope(f"{tokens.TARGET}?a=1#b"))
    assert json.loads(tokens.decoded(with_query, 1))["aud"] == tokens.TARGET


@pytest.mark.spec("WIT-61", "WIT-62")
@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"header": {"alg": "none"}}, "wpt-algorithm"),
        ({"header": {"alg": "ES384"}}, "wpt-other-algorithm"),
        ({"key": forge.key("stranger")}, "wpt-signature"),
        ({"header": {"typ": "JWT"}}, "wpt-type"),
        ({"header": {"typ": ...}}, "wpt-type"),
        ({"header": {"crit": ["x"]}}, "wpt-critical-header"),
        ({"aud": ...}, "wpt-claims"),
        ({"aud": "https://other.test/daily"}, "wpt-target"),
        ({"aud": [tokens.TARGET, "https://other.test/"]}, "wpt-claims"),
        ({"exp": ...}, "wpt-claims"),
        ({"exp": S}, "wpt-expired"),
        ({"nbf": S + 5}, "wpt-not-yet-valid"),
        ({"jti": ...}, "wpt-claims"),
        ({"jti": ""}, "wpt-claims"),
        ({"wth": ...}, "wpt-claims"),
        ({"wth": "x"}, "wpt-other-token"),
        ({"tth": ...}, "wpt-transaction-token"),
        ({"tth": "x"}, "wpt-transaction-token"),
        ({"oth": ...}, "wpt-further-tokens"),
        ({"oth": {"x-user": "x"}}, "wpt-further-tokens"),
        ({"oth": {**GOOD_OTHERS["oth"], "x-unknown": "x"}}, "wpt-further-tokens"),
    ],
)
def test_each_step_of_proof_validation(change: dict[str, Any], wanted: str) -> None:
    assert validate(tokens.proof(TOKEN, **GOOD_OTHERS), scope=WITH_OTHERS).id.text == forge.WEB
    assert refusal(tokens.proof(TOKEN, **{**GOOD_OTHERS, **change}), scope=WITH_OTHERS) == wanted


@pytest.mark.spec("WIT-62")
def test_the_token_comes_first_and_the_proof_is_one() -> None:
    foreign = tokens.wit(header={"kid": "gone"})
    assert refusal("not even a proof", foreign) == "token-unknown-key"
    for bad in ("", "..", f"{make()}.", f"{make()},{make()}"):
        assert refusal(bad).startswith("token-")
