"""The WIT-SVID standard, as far as it binds validators of the token and consumers of bundles. Incubating."""

from __future__ import annotations

import inspect
import json
from datetime import UTC, datetime, timedelta

import pytest

from finial.core import witsvid
from finial.core.bundle import Bundle, BundleSet, BundleSource
from finial.core.bundle_doc import read_bundle, write_bundle
from finial.core.errors import RefusedError, TokenParseError, TokenVerifyError
from finial.core.jwtsvid import validate_jwt
from finial.core.token_authority import TokenAuthority
from finial.core.witsvid import WITSVID, VerifiedWIT, validate_wit
from finial.core.wpt import ProofScope
from support import forge, tokens

W1, KEY = tokens.authority("w1")
BUNDLES = tokens.bundles(wit=(W1,))
SCOPE = ProofScope(tokens.TARGET)
SECOND = timedelta(seconds=1)
S = tokens.SECONDS

# The example of the standard, Appendix A; by whom it was signed is not told.
EXAMPLE = (
    "eyJhbGciOiJFUzI1NiIsImtpZCI6ImxRU2kzaFpGbmRhMkQtWEprajF6bDdmb0pvdWl3STRuckF5aHk0alppSmciLCJ0eXAiOiJ3aXQrand0"
    "In0.eyJjbmYiOnsiandrIjp7ImFsZyI6IkVTMjU2IiwiY3J2IjoiUC0yNTYiLCJrdHkiOiJFQyIsIngiOiJyelA3bUxDS0FIV21zTTZYMEV3"
    "VklTQ19oSTN1amN1OTVmZlVreWVER0dvIiwieSI6InVPcmZEbGp0WDltM2pZLWhzeWhMSllheHRHa3pEdjVlNWttQ2U1OFo5N2cifX0sImV4"
    "cCI6MTc2NTQ1NjUwMywiaWF0IjoxNzY1NDUyOTAzLCJqdGkiOiIxeWoxOVY0TWNPQXpNY0ZpN3F2c2dfQWdDeGxyWTVFX3g1MDl3bEtLUXRj"
    "Iiwic3ViIjoic3BpZmZlOi8vZXhhbXBsZS5jb20vbXktd29ya2xvYWQifQ.sfhEvZNdY_kWrICF08lX0u__rn39YnTavnW-VPBS20zgowDh6"
    "-X43v5eOUKZbjZf06yLBQM-Mry5w1g1QFsCkg"
)


def validate(
    token: str,
    bundles: BundleSource = BUNDLES,
    *,
    late: int = 0,
    leeway: int = 0,
    longest: timedelta | None = None,
    **proof: object,
) -> VerifiedWIT:
    """What it proves together with a sound proof, except for the changes."""
    made = tokens.proof(token, **{"exp": S + late + 20, **proof})  # type: ignore[arg-type]
    now = tokens.NOW + late * SECOND
    return validate_wit(token, made, bundles, scope=SCOPE, now=now, leeway=leeway * SECOND, longest=longest)


def refusal(token: str, bundles: BundleSource = BUNDLES, **settings: object) -> str:
    with pytest.raises((TokenParseError, TokenVerifyError)) as caught:
        validate(token, bundles, **settings)  # type: ignore[arg-type]
    return caught.value.reason.id


@pytest.mark.spec("WIT-01")
def test_the_example_of_the_standard() -> None:
    svid = WITSVID.parse(EXAMPLE)
    assert svid.id.text == "spiffe://example.com/my-workload"
    assert svid.key_id == "lQSi3hZFnda2D-XJkj1zl7foJouiwI4nrAyhy4jZiJg"
    assert svid.expires_at == datetime(2025, 12, 11, 12, 35, 3, tzinfo=UTC)
    assert svid.key_algorithm == "ES256"


@pytest.mark.spec("WIT-01")
def test_only_the_compact_form_is_read() -> None:
    header, payload, signature = tokens.wit().split(".")
    flattened = json.dumps({"payload": payload, "protected": header, "signature": signature})
    for bad in (flattened, f"{tokens.wit()}.x.y", f"{header}.{payload}", f"{tokens.wit()}="):
        assert refusal(bad) == "token-form"


@pytest.mark.spec("WIT-02", "WIT-03")
def test_kid_is_there_and_any_text() -> None:
    for bad in (..., "", 1, None, ["w1"]):
        assert refusal(tokens.wit(header={"kid": bad})) == "wit-key-id"
    for kid in ("Ab", "ä/#? \n", "x" * 1000):
        authority, _ = tokens.authority(kid)
        assert validate(tokens.wit(kid=kid), tokens.bundles(wit=(authority,))).authority == authority


@pytest.mark.spec("WIT-03", "WIT-05")
def test_kid_picks_the_key_and_no_other_is_tried() -> None:
    published = TokenAuthority(key_id="Ab", key=W1.key)
    assert refusal(tokens.wit(header={"kid": "ab"}), tokens.bundles(wit=(published,))) == "token-unknown-key"
    assert refusal(tokens.wit(header={"kid": "gone"})) == "token-unknown-key"
    elsewhere = BundleSet([Bundle(trust_domain=forge.B, wit_authorities=(W1,))])
    assert refusal(tokens.wit(), elsewhere) == "token-no-bundle"


@pytest.mark.spec("WIT-06")
def test_typ_is_exactly_one() -> None:
    for bad in (..., "JWT", "jwt", "application/wit+jwt", "WIT+JWT", "", None):
        assert refusal(tokens.wit(header={"typ": bad})) == "wit-type"
    assert validate(tokens.wit()).id.text == forge.WEB


@pytest.mark.spec("WIT-08")
def test_other_algorithms_are_refused() -> None:
    for bad in ("none", "HS256", "EdDSA", "ES256K", "es256", "", ..., None):
        assert refusal(tokens.wit(header={"alg": bad})) == "wit-algorithm"
    assert refusal(tokens.wit(header={"alg": "ES384"})) == "token-key-kind"


@pytest.mark.spec("WIT-10")
def test_unknown_header_parameters_are_passed_over_except_critical_ones() -> None:
    class OnlyOwn:
        def bundle_for(self, trust_domain: object) -> Bundle | None:
            assert trust_domain == forge.A
            return BUNDLES[forge.A]

    foreign = {"x-foo": 1, "jku": "https://evil.test", "x5u": "https://evil.test", "jwk": {"kty": "oct"}}
    assert validate(tokens.wit(header=foreign), OnlyOwn()).authority == W1
    for crit in (["x-foo"], [], ["exp"]):
        assert refusal(tokens.wit(header={**foreign, "crit": crit})) == "wit-critical-header"


@pytest.mark.spec("WIT-11")
def test_identity_is_sub_and_nothing_else() -> None:
    for bad in (..., "", None, 1, "web", "https://a.test/web"):
        assert refusal(tokens.wit(sub=bad, iss=forge.WEB)) == "wit-subject"
    assert refusal(tokens.wit(sub="spiffe://a.test")) == "wit-root-id"
    assert validate(tokens.wit(iss="spiffe://a.test/admin")).id.text == forge.WEB


@pytest.mark.spec("WIT-12", "WIT-13")
def test_the_confirmation_is_one_public_key() -> None:
    none: tuple[object, ...] = (
        ...,
        None,
        "x",
        {},
        [],
        {"kid": "x"},
        {"x5t#S256": "x"},
        {"jwe": "x"},
        {"jwk": "x"},
    )
    for bad in none:
        assert refusal(tokens.wit(cnf=bad)) == "wit-no-confirmation"
    secrets = [tokens.confirmation(d="AA"), tokens.confirmation(k="AA"), {"jwk": {"kty": "oct", "k": "AA"}}]
    for secret in secrets:
        assert refusal(tokens.wit(cnf=secret)) == "wit-confirmation-secret"
    assert refusal(tokens.wit(cnf=tokens.confirmation(x="AA"))) == "wit-confirmation-key"


@pytest.mark.spec("WIT-14", "WIT-55")
def test_the_key_names_its_algorithm_and_it_fits() -> None:
    for bad in (..., None, "EdDSA", "HS256", "none", "ECDH-ES", "RSA-OAEP", "A128KW", "dir"):
        assert refusal(tokens.wit(cnf=tokens.confirmation(alg=bad))) == "wit-confirmation-algorithm"
    for bad in ("ES384", "RS256"):
        assert refusal(tokens.wit(cnf=tokens.confirmation(alg=bad))) == "wit-confirmation-kind"


@pytest.mark.spec("WIT-15", "WIT-26", "WIT-28", "WIT-34")
def test_what_may_be_absent() -> None:
    bare = tokens.wit()
    assert set(WITSVID(bare).claims) == {"sub", "exp", "cnf"}
    assert validate(bare).id.text == forge.WEB


@pytest.mark.spec("WIT-19", "WIT-20", "WIT-21")
def test_the_end_and_the_leeway() -> None:
    for bad in (..., None, "", True, str(S + 60)):
        assert refusal(tokens.wit(exp=bad)) == "wit-no-expiry"
    token = tokens.wit(exp=S + 10)
    assert validate(token, late=9).id.text == forge.WEB
    assert refusal(token, late=11) == refusal(token, late=10) == "wit-expired"
    assert validate(token, late=129, leeway=120).id.text == forge.WEB
    assert refusal(token, late=130, leeway=120) == "wit-expired"
    assert refusal(token, leeway=121) == "token-leeway"


@pytest.mark.spec("WIT-23", "WIT-24", "WIT-27")
def test_nbf_is_the_begin_and_iat_is_not() -> None:
    assert validate(tokens.wit(nbf=S - 60, iat=S)).id.text == forge.WEB
    for begin in (1, 3600):
        assert refusal(tokens.wit(nbf=S + begin), leeway=60) == "wit-not-yet-valid"
    assert validate(tokens.wit(iat=S + 3600)).id.text == forge.WEB


@pytest.mark.spec("WIT-25")
def test_a_validator_may_limit_the_life() -> None:
    day = tokens.wit(nbf=S - 10, exp=S + 86400)
    assert validate(day).id.text == forge.WEB
    assert refusal(day, longest=timedelta(hours=1)) == "wit-lifespan"
    assert validate(tokens.wit(nbf=S - 10, exp=S + 3590), longest=timedelta(hours=1)).id.text == forge.WEB


@pytest.mark.spec("WIT-30")
def test_a_token_with_an_audience_is_another_token() -> None:
    for audience in ("reports", ["reports"], [], None):
        assert refusal(tokens.wit(aud=audience)) == "wit-audience"


@pytest.mark.spec("WIT-31", "WIT-32")
def test_unknown_claims_are_passed_over() -> None:
    proven = validate(tokens.wit(foo=1, roles=["a", {"b": None}]))
    assert proven.svid.claims["foo"] == 1
    assert proven.svid.claims["roles"] == ("a", {"b": None})


@pytest.mark.spec("WIT-37")
def test_nothing_makes_an_identity_out_of_a_token_alone() -> None:
    proof = inspect.signature(validate_wit).parameters["proof"]
    assert proof.default is inspect.Parameter.empty
    functions = [
        each
        for _, each in inspect.getmembers(witsvid, inspect.isfunction)
        if each.__module__ == witsvid.__name__ and each.__annotations__.get("return") == "VerifiedWIT"
    ]
    assert functions == [validate_wit]
    assert "proves nothing" in (WITSVID.parse.__doc__ or "")
    for bad in ("", "..", tokens.wit(), tokens.jwt()):
        with pytest.raises(RefusedError):
            validate_wit(tokens.wit(), bad, BUNDLES, scope=SCOPE, now=tokens.NOW)


@pytest.mark.spec("WIT-47", "WIT-49")
def test_keys_and_tokens_of_the_two_kinds_do_not_mix() -> None:
    jwt_key, _ = tokens.authority("k1")
    both = tokens.bundles(jwt_key, wit=(W1,))
    validate(tokens.wit(), both)
    validate_jwt(tokens.jwt(), both, [tokens.AUDIENCE], now=tokens.NOW)
    swapped = tokens.bundles(W1, wit=(jwt_key,))
    assert refusal(tokens.wit(), swapped) == "token-unknown-key"
    cases = (
        (tokens.jwt(), swapped),
        (tokens.jwt(kid="w1"), both),
        (tokens.wit(), both),
        (tokens.wit(aud=tokens.AUDIENCE), both),
    )
    for token, bundles in cases:
        with pytest.raises(RefusedError):
            validate_jwt(token, bundles, [tokens.AUDIENCE], now=tokens.NOW)
    assert refusal(tokens.jwt(kid="w1")) == "wit-type"


@pytest.mark.spec("WIT-47")
def test_the_use_of_an_entry_decides() -> None:
    document = json.loads(write_bundle(BUNDLES[forge.A]))
    document["keys"][0]["use"] = "jwt-svid"
    bundle = read_bundle(forge.A, json.dumps(document).encode()).bundle
    assert (len(bundle.jwt_authorities), bundle.wit_authorities) == (1, ())


@pytest.mark.spec("WIT-48")
def test_a_domain_without_such_keys_does_not_support_them() -> None:
    assert refusal(tokens.wit(), tokens.bundles(W1)) == "token-no-keys"
