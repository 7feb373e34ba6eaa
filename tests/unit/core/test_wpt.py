from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from finial.core.algorithms import Algorithm
from finial.core.errors import CarriageError, IssueError, TokenParseError
from finial.core.keys import PrivateKey
from finial.core.witsvid import WITSVID
from finial.core.wpt import DEFAULT_PROOF_TTL, ProofScope, WorkloadProof, hash_of, make_proof
from support import forge, tokens

TOKEN = tokens.wit()
SVID = WITSVID(TOKEN)
RSA_TOKEN = tokens.wit(cnf=tokens.confirmation("rsa-2048"))
SCOPE = ProofScope(tokens.TARGET)
SECOND = timedelta(seconds=1)
S = tokens.SECONDS


def faults(
    proof: str,
    scope: ProofScope = SCOPE,
    *,
    svid: WITSVID = SVID,
    late: int = 0,
    leeway: timedelta = timedelta(0),
) -> list[str]:
    now = tokens.NOW + late * SECOND
    found = WorkloadProof(proof).findings(svid, scope, now=now, leeway=leeway)
    assert all(finding.where == "proof" for finding in found)
    return [finding.reason.id for finding in found]


def parse_fault(proof: str) -> str:
    with pytest.raises(TokenParseError) as caught:
        WorkloadProof(proof)
    return caught.value.reason.id


def make(
    scope: ProofScope = SCOPE,
    *,
    svid: WITSVID = SVID,
    key: PrivateKey | None = None,
    jti: str = "j",
    **more: object,
) -> str:
    key = key or tokens.holder()
    return make_proof(svid, scope, key=key, now=tokens.NOW, jti=jti, **more)  # type: ignore[arg-type]


def issue_faults(**settings: object) -> list[str]:
    with pytest.raises(IssueError) as caught:
        make(**settings)  # type: ignore[arg-type]
    return [finding.reason.id for finding in caught.value.findings]


def test_what_is_in_a_proof() -> None:
    proof = WorkloadProof(tokens.proof(TOKEN, nbf=S))
    assert (proof.algorithm, proof.audience, proof.id) == (Algorithm.ES256, tokens.TARGET, "one")
    assert (proof.not_before, proof.expires_at) == (tokens.NOW, tokens.NOW + 20 * SECOND)
    assert proof.proves(TOKEN)
    assert not proof.proves(RSA_TOKEN)
    assert proof == WorkloadProof(proof.token)
    assert not any(part in repr(proof) for part in proof.token.split("."))


@pytest.mark.parametrize(
    ("header", "claims", "wanted"),
    [
        ({"alg": "none"}, {}, "wpt-algorithm"),
        ({"alg": ...}, {}, "wpt-algorithm"),
        ({"crit": ["x"]}, {}, "wpt-critical-header"),
        ({"typ": ...}, {}, "wpt-type"),
        ({"typ": "jwt"}, {}, "wpt-type"),
        ({"typ": "WPT+JWT"}, {}, "wpt-type"),
        ({}, {"aud": ...}, "wpt-claims"),
        ({}, {"aud": [tokens.TARGET, "https://other.test/"]}, "wpt-claims"),
        ({}, {"exp": ...}, "wpt-claims"),
        ({}, {"exp": "soon"}, "wpt-claims"),
        ({}, {"nbf": "x"}, "wpt-claims"),
        ({}, {"jti": ...}, "wpt-claims"),
        ({}, {"jti": ""}, "wpt-claims"),
        ({}, {"jti": 1}, "wpt-claims"),
        ({}, {"wth": ...}, "wpt-claims"),
        ({}, {"wth": 1}, "wpt-claims"),
        ({}, {"tth": None}, "wpt-claims"),
        ({}, {"oth": "x"}, "wpt-claims"),
        ({}, {"oth": {"a": 1}}, "wpt-claims"),
    ],
)
def test_the_form_of_a_proof(header: dict[str, object], claims: dict[str, object], wanted: str) -> None:
    assert parse_fault(tokens.proof(TOKEN, header=header, **claims)) == wanted  # type: ignore[arg-type]


def test_further_parameters_and_claims_are_passed_over() -> None:
    proof = tokens.proof(TOKEN, header={"kid": "x", "jku": "https://evil.test"}, iat=S + 99, foo=1)
    assert faults(proof) == []


@pytest.mark.parametrize(
    "target", [tokens.TARGET, f"{tokens.TARGET}?a=1#b", "HTTPS://Reports.test:443/daily"]
)
def test_a_proof_that_fits(target: str) -> None:
    assert faults(tokens.proof(TOKEN), ProofScope(target)) == []
    assert faults(tokens.proof(TOKEN, aud=[target])) == []
    assert faults(make(ProofScope(target))) == []


def test_what_a_proof_has_to_fit() -> None:
    assert faults(tokens.proof(TOKEN, key=forge.key("other"))) == ["wpt-signature"]
    assert faults(tokens.proof(TOKEN), svid=WITSVID(tokens.wit(jti="x"))) == ["wpt-other-token"]
    for target in (
        "https://reports.test/Daily",
        "https://reports.test/",
        "https://other.test/daily",
        "reports",
    ):
        assert faults(tokens.proof(TOKEN, aud=target)) == ["wpt-target"]
    assert faults(tokens.proof(TOKEN, wth=hash_of(f"{TOKEN}."))) == ["wpt-other-token"]


def test_the_algorithm_is_the_one_of_the_key() -> None:
    svid = WITSVID(RSA_TOKEN)
    key = tokens.holder("rsa-2048")
    assert faults(tokens.proof(RSA_TOKEN, key=key), svid=svid) == []
    proof = tokens.proof(RSA_TOKEN, key=key, algorithm=Algorithm.PS256)
    assert faults(proof, svid=svid) == ["wpt-other-algorithm", "wpt-signature"]
    assert faults(tokens.proof(TOKEN, header={"alg": "ES384"})) == ["wpt-other-algorithm"]


def test_times() -> None:
    assert faults(tokens.proof(TOKEN), late=19) == []
    assert faults(tokens.proof(TOKEN), late=20) == ["wpt-expired"]
    assert faults(tokens.proof(TOKEN), late=20, leeway=SECOND) == []
    assert faults(tokens.proof(TOKEN, exp=S + 300)) == []
    assert faults(tokens.proof(TOKEN, exp=S + 301)) == ["wpt-long-lived"]
    assert faults(tokens.proof(TOKEN, exp=S + 301), leeway=SECOND) == []
    assert faults(tokens.proof(TOKEN, nbf=S + 1)) == ["wpt-not-yet-valid"]
    assert faults(tokens.proof(TOKEN, nbf=S + 1), leeway=SECOND) == []


def test_tokens_beside_it() -> None:
    scope = ProofScope(tokens.TARGET, transaction_token="txn", others={"X-User": " user "})
    good: dict[str, Any] = {"tth": hash_of("txn"), "oth": {"x-user": hash_of("user")}}
    assert faults(tokens.proof(TOKEN, **good), scope) == []
    assert faults(make(scope), scope) == []
    assert faults(tokens.proof(TOKEN), scope) == ["wpt-transaction-token", "wpt-further-tokens"]
    assert faults(tokens.proof(TOKEN, **good)) == ["wpt-transaction-token", "wpt-further-tokens"]
    assert faults(tokens.proof(TOKEN, **{**good, "tth": "x"}), scope) == ["wpt-transaction-token"]
    for others in ({}, {"x-user": "x"}, {**good["oth"], "more": "x"}, {"X-User": hash_of("user")}):
        assert faults(tokens.proof(TOKEN, tth=good["tth"], oth=others), scope) == ["wpt-further-tokens"]
    assert "txn" not in repr(scope)


def test_what_is_made() -> None:
    proof = WorkloadProof(make())
    assert proof.expires_at == tokens.NOW + DEFAULT_PROOF_TTL
    assert proof.id == "j"
    assert timedelta(seconds=60) > DEFAULT_PROOF_TTL
    short = WITSVID(tokens.wit(exp=S + 5))
    assert WorkloadProof(make(svid=short)).expires_at == short.expires_at


def test_what_is_not_made() -> None:
    assert issue_faults(key=forge.key("other")) == ["wpt-key"]
    assert issue_faults(jti="") == ["wpt-id"]
    assert issue_faults(ttl=301 * SECOND) == ["wpt-lifetime"]
    assert issue_faults(ttl=0.5 * SECOND) == ["wpt-credential-expired", "wpt-lifetime"]
    assert issue_faults(svid=WITSVID(tokens.wit(exp=S))) == ["wpt-credential-expired"]


@pytest.mark.parametrize(
    "target", ["http://reports.test/", "http://localhost/", "reports", "https://user@reports.test/"]
)
def test_targets_that_are_none(target: str) -> None:
    with pytest.raises(CarriageError):
        ProofScope(target)


def test_a_hash_that_is_known() -> None:
    # SHA-256 over "abc" (FIPS 180-2, B.1)
    assert hash_of("abc") == "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0"
    assert hash_of("\ud800") != hash_of("?")
