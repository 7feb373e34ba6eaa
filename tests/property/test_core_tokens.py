"""Tokens: whatever is issued validates and says the same, and nothing that was changed does."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finial.core.claims import REGISTERED
from finial.core.errors import TokenParseError, TokenVerifyError
from finial.core.ids import SpiffeID
from finial.core.jwtsvid import JWTRequest, issue_jwt, validate_jwt
from finial.core.strictjson import frozen
from finial.core.token_issuer import TokenIssuer
from finial.core.witsvid import WITRequest, issue_wit, validate_wit
from finial.core.wpt import ProofScope, make_proof
from support import forge, tokens

# Machines that are busy with other things make no input slow.
CALM = settings(deadline=None)

K1, KEY = tokens.authority()
W1, WIT_KEY = tokens.authority("w1")
BUNDLES = tokens.bundles(K1, wit=(W1,))
SOUND = tokens.jwt()

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
numbers = st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
further = st.dictionaries(texts.filter(lambda name: name not in {*REGISTERED, "cnf"}), values, max_size=3)
audiences = st.lists(texts.filter(bool), min_size=1, max_size=4)
lives = st.timedeltas(timedelta(seconds=1), timedelta(days=3650))


def shallow(claims: Mapping[str, object]) -> bool:
    return str(claims).count("[") + str(claims).count("{") < 12


@CALM
@given(audiences, further.filter(shallow), lives, st.data())
def test_a_token_that_is_issued_validates(
    audience: list[str], claims: dict[str, object], ttl: timedelta, data: st.DataObject
) -> None:
    request = JWTRequest(spiffe_id=SpiffeID(forge.WEB), audience=tuple(audience), claims=claims)
    svid = issue_jwt(request, TokenIssuer(forge.A, K1), key=KEY, now=tokens.NOW, ttl=ttl)
    wanted = [data.draw(st.sampled_from(audience))]
    proven = validate_jwt(svid.token, BUNDLES, wanted, now=tokens.NOW)
    assert proven.svid == svid
    assert {name: value for name, value in svid.claims.items() if name in claims} == frozen(claims)
    with pytest.raises(TokenVerifyError):
        validate_jwt(svid.token, BUNDLES, wanted, now=svid.expires_at)


@CALM
@given(further.filter(shallow), lives)
def test_a_token_that_is_issued_for_a_key_validates_with_a_proof(
    claims: dict[str, object], ttl: timedelta
) -> None:
    public_key = tokens.holder().public_key()
    request = WITRequest(spiffe_id=SpiffeID(forge.WEB), public_key=public_key, claims=claims)
    svid = issue_wit(request, TokenIssuer(forge.A, W1), key=WIT_KEY, now=tokens.NOW, ttl=ttl)
    scope = ProofScope(tokens.TARGET)
    proof = make_proof(svid, scope, key=tokens.holder(), now=tokens.NOW, jti="one")
    assert validate_wit(svid.token, proof, BUNDLES, scope=scope, now=tokens.NOW).svid == svid


@CALM
@given(st.integers(0, len(SOUND) - 1), st.characters(codec="latin-1"))
def test_a_token_with_another_character_proves_nothing(at: int, character: str) -> None:
    changed = f"{SOUND[:at]}{character}{SOUND[at + 1 :]}"
    if changed == SOUND:
        return
    with pytest.raises((TokenParseError, TokenVerifyError)):
        validate_jwt(changed, BUNDLES, [tokens.AUDIENCE], now=tokens.NOW)
