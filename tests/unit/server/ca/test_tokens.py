from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from finial.core.bundle import Bundle, BundleSet
from finial.core.errors import FinialError, Kind
from finial.core.ids import SpiffeID
from finial.core.jwtsvid import JWTRequest, validate_jwt
from finial.core.keys import KeyType
from finial.core.witsvid import WITRequest
from finial.server.ca.kinds import JWT
from finial.server.ca.offices import AuthorityPlan, KeyOffice
from finial.server.ca.orders import OrderError
from finial.server.ca.tokens import JWTSigner, TokenSigner, WITSigner
from support import forge
from support.authorities import DAY, DOMAIN, token_key
from support.clock import START, ManualClock

HOUR = timedelta(hours=1)
WEB = SpiffeID("spiffe://a.test/web")


def _jwt(signer: TokenSigner, ttl: timedelta = HOUR, spiffe_id: SpiffeID = WEB) -> Any:
    assert isinstance(signer, JWTSigner)
    return signer.sign_jwt(JWTRequest(spiffe_id=spiffe_id, audience=("db",)), ttl)


def _wit(signer: TokenSigner, ttl: timedelta = HOUR, spiffe_id: SpiffeID = WEB) -> Any:
    assert isinstance(signer, WITSigner)
    request = WITRequest(spiffe_id=spiffe_id, public_key=forge.key("workload").public_key())
    return signer.sign_wit(request, ttl)


both = pytest.mark.parametrize(("make", "sign"), [(JWTSigner, _jwt), (WITSigner, _wit)], ids=["jwt", "wit"])


@both
def test_nothing_is_signed_before_the_first_activation(make: Any, sign: Any) -> None:
    signer = make(DOMAIN, clock=ManualClock())
    with pytest.raises(OrderError, match="^server is initializing$") as caught:
        sign(signer)
    assert caught.value.reason.kind is Kind.UNAVAILABLE
    assert (signer.authority, signer.trust_domain) == (None, DOMAIN)
    assert repr(signer) == f"{make.__name__}(a.test, None)"


@both
@pytest.mark.spec("JWT-35", "WIT-02")
def test_a_token_names_the_key_that_signs_at_that_moment(make: Any, sign: Any) -> None:
    signer = make(DOMAIN, clock=ManualClock())
    for name in ("one", "two"):
        signer.use(token_key(name), forge.key(name))
        token = sign(signer)
        assert (token.key_id, token.id) == (name, WEB)
        assert token.expires_at == START + HOUR
        assert signer.authority == token_key(name)
        assert repr(signer) == f"{make.__name__}(a.test, {name})"


def test_a_jwt_is_good_under_the_bundle_that_has_the_key() -> None:
    signer = JWTSigner(DOMAIN, clock=ManualClock())
    signer.use(token_key("one"), forge.key("one"))
    bundles = BundleSet([Bundle(trust_domain=DOMAIN, jwt_authorities=(token_key("one"),))])
    assert validate_jwt(_jwt(signer).token, bundles, ["db"], now=START).id == WEB


@both
def test_no_token_outlives_its_key(make: Any, sign: Any) -> None:
    clock = ManualClock()
    signer = make(DOMAIN, clock=clock)
    signer.use(token_key("one"), forge.key("one"))
    assert sign(signer, 2 * DAY).expires_at == START + DAY
    clock.jump(DAY)
    with pytest.raises(FinialError, match="key for tokens ends at"):
        sign(signer)


@both
def test_what_is_never_signed(make: Any, sign: Any) -> None:
    signer = make(DOMAIN, clock=ManualClock())
    signer.use(token_key("one"), forge.key("one"))
    with pytest.raises(FinialError) as caught:
        sign(signer, HOUR, SpiffeID("spiffe://b.test/web"))
    assert caught.value.reason.id == "issue-foreign-subject"
    with pytest.raises(FinialError):
        sign(signer, timedelta(0))
    signer.use(token_key("one"), forge.key("two"))
    with pytest.raises(FinialError) as caught:
        sign(signer)
    assert caught.value.reason.id == "issue-key"


@both
def test_it_knows_when_the_last_token_ends_of_what_it_alone_has_signed_by(make: Any, sign: Any) -> None:
    clock = ManualClock()
    signer = make(DOMAIN, clock=clock)
    use = partial(signer.use, first=True)
    signer.use(token_key("one"), forge.key("one"))
    sign(signer)
    assert signer.last_end("one") is None  # it was used before, so nobody knows
    use(token_key("two"), forge.key("two"))
    assert signer.last_end("two") == START
    for ttl in (HOUR, 3 * HOUR, 2 * HOUR):
        sign(signer, ttl)
    assert signer.last_end("two") == START + 3 * HOUR
    use(token_key("three", START + 2 * DAY), forge.key("three"))
    sign(signer, 5 * HOUR)
    assert signer.last_end("two") == START + 3 * HOUR
    signer.use(token_key("two"), forge.key("two"))  # again, which changes nothing
    assert signer.last_end("two") == START + 3 * HOUR
    clock.jump(DAY)
    signer.use(token_key("three", START + 2 * DAY), forge.key("three"))
    assert signer.last_end("two") is None  # long ended, and forgotten
    assert signer.last_end("three") == START + 5 * HOUR
    endless = replace(token_key("four"), expires_at=None)
    use(endless, forge.key("four"))
    assert signer.last_end("four") is None


def test_where_it_is_not_known_the_end_of_the_key_counts() -> None:
    signer = JWTSigner(DOMAIN, clock=ManualClock())
    office = KeyOffice(JWT, AuthorityPlan(ttl=DAY, key_type=KeyType.EC_P256), signer)
    known, unknown = token_key("one"), token_key("two")
    office.use(known, forge.key("one"), first=True)
    assert (office.last_end(known), office.last_end(unknown)) == (START, START + DAY)
    assert office.last_end(replace(unknown, expires_at=None)) is None
