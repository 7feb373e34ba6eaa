"""The JWT-SVID standard, as far as it binds validators and consumers of bundles."""

from __future__ import annotations

import json
from collections.abc import Mapping

import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from finial.core.bundle import Bundle
from finial.core.errors import RefusedError, TokenParseError, TokenVerifyError
from finial.core.ids import TrustDomain
from finial.core.jwtsvid import JWTSVID, validate_jwt
from finial.core.seen_proofs import SeenProofs
from support import forge, tokens
from support.jwt_checks import BUNDLES, refusal, validate

KEY = tokens.authority()[1]
S = tokens.SECONDS
OTHER_ALGORITHMS = [
    "none",
    "None",
    "HS256",
    "EdDSA",
    "ES256K",
    "RSA-OAEP",
    "es256",
    "",
    None,
    1,
    ["ES256"],
    ...,
]


def encrypted() -> str:
    """A JWE by a shared key, whose plaintext is a JWT-SVID (RFC 7516, 7.1)."""
    header = tokens.text({"alg": "dir", "enc": "A256GCM", "cty": "JWT"})
    sealed = AESGCM(bytes(32)).encrypt(bytes(12), tokens.jwt().encode(), header.encode())
    return ".".join(
        [header, "", tokens.text(bytes(12)), tokens.text(sealed[:-16]), tokens.text(sealed[-16:])]
    )


class Asked:
    """A source of bundles that remembers what it was asked for."""

    def __init__(self) -> None:
        self.domains: list[TrustDomain] = []

    def bundle_for(self, trust_domain: TrustDomain) -> Bundle | None:
        self.domains.append(trust_domain)
        return BUNDLES.bundle_for(trust_domain)


@pytest.mark.spec("JWT-01", "JWT-04", "JWT-30")
def test_only_the_compact_form_of_signed_tokens_is_read() -> None:
    assert refusal(encrypted()) == "token-form"
    assert refusal(f"{tokens.jwt()}=") == "token-form"
    assert refusal(tokens.jwt().rpartition(".")[0]) == "token-form"
    validate(tokens.jwt())


@pytest.mark.spec("JWT-02", "JWT-30")
def test_neither_json_form_is_read() -> None:
    protected, payload, signature = tokens.jwt().split(".")
    flattened = {"payload": payload, "protected": protected, "signature": signature}
    general = {"payload": payload, "signatures": [{"protected": protected, "signature": signature}]}
    for form in (flattened, general, {**flattened, "header": {"kid": "k1"}}):
        assert refusal(json.dumps(form)) == "token-form"


@pytest.mark.spec("JWT-03", "JWT-44")
@pytest.mark.parametrize(
    "extra",
    [
        {"jku": "https://evil.test/keys"},
        {"jwk": {"kty": "oct", "k": "AA"}},
        {"x5u": "https://evil.test/chain"},
        {"x5c": ["AA"]},
        {"x5t": "AA"},
        {"x5t#S256": "AA"},
        {"cty": "JWT"},
        {"crit": ["exp"], "exp": 1},
        {"b64": False, "crit": ["b64"]},
        {"zip": "DEF"},
        {"private": 1},
    ],
)
def test_a_further_header_parameter_refuses_the_token_and_is_not_followed(
    extra: Mapping[str, object],
) -> None:
    source = Asked()
    with pytest.raises(TokenParseError) as caught:
        validate_jwt(tokens.jwt(header=extra), source, [tokens.AUDIENCE], now=tokens.NOW)
    assert caught.value.reason.id == "jwt-header"
    assert not source.domains


@pytest.mark.spec("JWT-06", "JWT-25")
@pytest.mark.parametrize("algorithm", OTHER_ALGORITHMS)
def test_another_algorithm_is_refused_before_anything_else_is_looked_at(algorithm: object) -> None:
    source = Asked()
    # The payload cannot be decoded, the signature neither: nobody gets as far as that.
    token = f"{tokens.text(tokens.without({'alg': algorithm, 'kid': 'k1', 'jku': 'x'}))}.!.!"
    with pytest.raises(TokenParseError) as caught:
        validate_jwt(token, source, [tokens.AUDIENCE], now=tokens.NOW)
    assert caught.value.reason.id == "jwt-algorithm"
    assert not source.domains


@pytest.mark.spec("JWT-06", "JWT-44")
def test_a_public_key_is_no_secret_for_a_shared_algorithm() -> None:
    pem = KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    header, payload, _ = tokens.jwt(header={"alg": "HS256"}).split(".")
    mac = pyjwt.algorithms.HMACAlgorithm(pyjwt.algorithms.HMACAlgorithm.SHA256).sign(
        f"{header}.{payload}".encode(), pem
    )
    assert refusal(f"{header}.{payload}.{tokens.text(mac)}") == "jwt-algorithm"
    unsigned = tokens.text({"alg": "none"})
    assert refusal(f"{unsigned}.{payload}.") == "jwt-algorithm"


@pytest.mark.spec("JWT-09", "JWT-10")
def test_typ_may_be_absent_and_is_one_of_two_otherwise() -> None:
    for good in (..., "JWT", "JOSE"):
        validate(tokens.jwt(header={"typ": good}))
    for bad in ("wit+jwt", "at+jwt", "jwt", "jose", "", 1, None, ["JWT"]):
        assert refusal(tokens.jwt(header={"typ": bad})) == "jwt-type"


@pytest.mark.spec("JWT-11")
def test_further_claims_survive() -> None:
    further = {
        "iss": "issuer.test",
        "jti": "j",
        "nbf": S,
        "azp": "x",
        "https://x.test/roles": ["a", {"b": 1.5}],
    }
    claims = validate(tokens.jwt(**further)).svid.claims  # type: ignore[arg-type]
    assert [claims[name] for name in ("iss", "jti", "nbf", "azp")] == ["issuer.test", "j", S, "x"]
    assert claims["https://x.test/roles"] == ("a", {"b": 1.5})


@pytest.mark.spec("JWT-14")
def test_identity_is_sub_and_nothing_else() -> None:
    for bad in (
        ...,
        "",
        None,
        1,
        ["spiffe://a.test/web"],
        "web",
        "spiffe://a.test/web/",
        "https://a.test/web",
    ):
        token = tokens.jwt(sub=bad, iss=forge.WEB, azp=forge.WEB, spiffe_id=forge.WEB)
        assert refusal(token) == "jwt-subject"
    proven = validate(tokens.jwt(iss="spiffe://a.test/admin", azp="spiffe://a.test/admin"))
    assert proven.id.text == forge.WEB


@pytest.mark.spec("JWT-13", "JWT-14")
def test_the_id_of_a_trust_domain_names_no_workload() -> None:
    assert refusal(tokens.jwt(sub="spiffe://a.test")) == "jwt-root-id"


@pytest.mark.spec("JWT-16", "JWT-27")
@pytest.mark.parametrize(
    "audience", [..., [], "", None, [""], ["reports", ""], ["reports", 1], 1, {"reports": 1}]
)
def test_without_audience_no_token(audience: object) -> None:
    assert refusal(tokens.jwt(aud=audience)) == "jwt-no-audience"


@pytest.mark.spec("JWT-17", "JWT-26")
def test_one_exact_match_is_enough_in_both_forms() -> None:
    for audience in ("reports", ["reports"], ["x", "reports", "y"]):
        validate(tokens.jwt(aud=audience))
        validate(tokens.jwt(aud=audience), "billing", "reports")
        for other in ("Reports", "report", "reports ", "reports/", "x,reports", ""):
            assert refusal(tokens.jwt(aud=audience), other) == "jwt-audience"


@pytest.mark.spec("JWT-42")
@pytest.mark.parametrize("audiences", [[], (), frozenset()])
def test_a_validator_without_audience_is_an_error_not_everybody(audiences: list[str]) -> None:
    source = Asked()
    with pytest.raises(TokenVerifyError) as caught:
        validate_jwt(tokens.jwt(), source, audiences, now=tokens.NOW)
    assert caught.value.reason.id == "jwt-validator-audience"
    assert not source.domains


@pytest.mark.spec("JWT-22", "JWT-27")
@pytest.mark.parametrize("expiry", [..., None, "", str(S + 60), True, [S + 60], -1, 10**12])
def test_without_expiry_no_token(expiry: object) -> None:
    assert refusal(tokens.jwt(exp=expiry)) == "jwt-no-expiry"


@pytest.mark.spec("JWT-26", "JWT-41")
def test_the_end_and_the_leeway() -> None:
    token = tokens.jwt(exp=S + 10)
    validate(token, late=9)
    assert refusal(token, late=10) == "jwt-expired"
    assert refusal(token, late=11) == "jwt-expired"
    validate(token, late=69, leeway=60)
    assert refusal(token, late=70, leeway=60) == "jwt-expired"
    assert refusal(token, leeway=121) == refusal(token, leeway=-1) == "token-leeway"


@pytest.mark.spec("JWT-29")
def test_nbf_is_honoured_and_iat_is_no_reason() -> None:
    assert refusal(tokens.jwt(nbf=S + 60)) == "jwt-not-yet-valid"
    validate(tokens.jwt(nbf=S))
    validate(tokens.jwt(iat=S + 10))
    validate(tokens.jwt(iat=S + 3600, exp=S + 60))


@pytest.mark.spec("JWT-39")
def test_the_same_token_validates_twice_unless_identifiers_are_remembered() -> None:
    token = tokens.jwt(jti="one")
    proven = validate(token)
    assert validate(token) == proven
    seen = SeenProofs()
    identifier = str(proven.svid.claims["jti"])
    seen.accept(proven.authority.key, identifier, until=proven.svid.expires_at, now=tokens.NOW)
    with pytest.raises(RefusedError):
        seen.accept(proven.authority.key, identifier, until=proven.svid.expires_at, now=tokens.NOW)


@pytest.mark.spec("JWT-44")
def test_the_public_function_is_the_one_that_decides() -> None:
    bad = [
        tokens.jwt(header={"alg": "none"}),
        tokens.jwt(header={"jku": "x"}),
        tokens.jwt(header={"typ": "x"}),
        tokens.jwt(sub="x"),
        tokens.jwt(aud="other"),
        tokens.jwt(aud=...),
        tokens.jwt(exp=...),
        tokens.jwt(exp=S),
        tokens.jwt(nbf=S + 1),
        tokens.jwt(kid="other"),
    ]
    for token in bad:
        with pytest.raises(RefusedError):
            validate(token)
    # What is only read says so by its type: nothing but validating makes the other one.
    assert type(JWTSVID.parse(tokens.jwt(exp=S - 10**6))) is JWTSVID
