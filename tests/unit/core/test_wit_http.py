from __future__ import annotations

import json

import pytest

from finial.core.errors import CarriageError, RefusedError, TokenParseError, TokenVerifyError
from finial.core.reasons import wit, wpt
from finial.core.wit_http import Carried, ProofCarrier, answer, read_fields, write_fields
from finial.core.witsvid import WITSVID
from support import tokens

TOKEN = tokens.wit()
SVID = WITSVID(TOKEN)
PROOF = tokens.proof(TOKEN)
WIT = ("workload-identity-token", TOKEN)
OWN, AUTHORIZATION = ProofCarrier.FIELD, ProofCarrier.AUTHORIZATION
KELVIN = "\u212a"  # `lower` makes a k of it


@pytest.mark.parametrize("carrier", ProofCarrier)
def test_both_ways(carrier: ProofCarrier) -> None:
    fields = write_fields(SVID, PROOF, carrier)
    assert read_fields(fields, carrier) == Carried(TOKEN, PROOF)
    assert read_fields([(name.upper(), f" {value}\t") for name, value in fields], carrier).token == TOKEN
    assert not any(value in repr(read_fields(fields, carrier)) for value in (TOKEN, PROOF))


def test_the_two_carriers() -> None:
    assert write_fields(SVID, PROOF, OWN) == (
        ("Workload-Identity-Token", TOKEN),
        ("Workload-Proof-Token", PROOF),
    )
    assert write_fields(SVID, PROOF) == (
        ("Workload-Identity-Token", TOKEN),
        ("Authorization", f"WPT {PROOF}"),
    )
    assert read_fields([WIT, ("authorization", f"wpt  {PROOF}")]).proof == PROOF


def test_a_token_never_travels_alone() -> None:
    with pytest.raises(TokenParseError):
        write_fields(SVID, "")
    with pytest.raises(TokenParseError):
        write_fields(SVID, TOKEN)
    with pytest.raises(CarriageError) as caught:
        write_fields(SVID, tokens.proof(tokens.wit(jti="other")))
    assert caught.value.reason.id == "field-proof"


@pytest.mark.parametrize(
    ("fields", "carrier", "wanted"),
    [
        ([], OWN, "field-token"),
        ([("authorization", TOKEN), ("workload-proof-token", PROOF)], OWN, "field-token"),
        ([("authorization", f"Bearer {TOKEN}"), ("workload-proof-token", PROOF)], OWN, "field-token"),
        ([("authorization", f"WPT {TOKEN}")], AUTHORIZATION, "field-token"),
        ([WIT, WIT, ("workload-proof-token", PROOF)], OWN, "field-token"),
        ([(WIT[0], "a.b"), ("workload-proof-token", PROOF)], OWN, "field-token"),
        ([(WIT[0], f"{TOKEN}, {TOKEN}"), ("workload-proof-token", PROOF)], OWN, "field-token"),
        ([(WIT[0], "a.b.ä"), ("workload-proof-token", PROOF)], OWN, "field-token"),
        ([(WIT[0].replace("k", KELVIN), TOKEN), ("workload-proof-token", PROOF)], OWN, "field-token"),
        ([WIT, (f"wor{KELVIN}load-proof-token", PROOF)], OWN, "field-proof"),
        ([WIT], OWN, "field-proof"),
        ([WIT, ("authorization", f"WPT {PROOF}")], OWN, "field-proof"),
        ([WIT, ("workload-proof-token", PROOF)], AUTHORIZATION, "field-proof"),
        ([WIT, ("workload-proof-token", PROOF), ("Workload-Proof-Token", PROOF)], OWN, "field-proof"),
        ([WIT, ("authorization", f"Bearer {PROOF}")], AUTHORIZATION, "field-proof"),
        ([WIT, ("authorization", PROOF)], AUTHORIZATION, "field-proof"),
        ([WIT, ("authorization", "WPT")], AUTHORIZATION, "field-proof"),
        (
            [WIT, ("authorization", f"WPT {PROOF}"), ("authorization", "Bearer x")],
            AUTHORIZATION,
            "field-proof",
        ),
        ([WIT, ("authorization", f"WPT {PROOF} x")], AUTHORIZATION, "field-proof"),
    ],
)
def test_what_is_not_carried(fields: list[tuple[str, str]], carrier: ProofCarrier, wanted: str) -> None:
    with pytest.raises(CarriageError) as caught:
        read_fields(fields, carrier)
    assert caught.value.reason.id == wanted
    assert TOKEN not in str(caught.value)


def test_answers() -> None:
    bad_token: RefusedError = TokenVerifyError.because(wit.WIT_EXPIRED, "it expired: private")
    bad_proof: RefusedError = TokenVerifyError.because(wpt.WPT_EXPIRED, "it expired")
    found = answer(bad_token)
    assert (found.status, found.fields) == (400, (("Content-Type", "application/problem+json"),))
    assert json.loads(found.body) == {
        "title": "The workload identity is refused",
        "status": 400,
        "errors": [{"code": "wit-expired", "detail": "The token has expired."}],
    }
    challenged = answer(bad_proof)
    assert challenged.status == json.loads(challenged.body)["status"] == 401
    assert ("WWW-Authenticate", "WPT") in challenged.fields
    assert answer(bad_proof, OWN).status == answer(bad_token, OWN).status == 400
