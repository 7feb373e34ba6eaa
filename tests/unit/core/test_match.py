from __future__ import annotations

import pytest

from finial.core.errors import Kind, MatchError
from finial.core.ids import SpiffeID, TrustDomain
from finial.core.match import ANY_ID, ExactID, Matcher, MemberOf, OneOf

WEB, DB = SpiffeID("spiffe://a.test/web"), SpiffeID("spiffe://a.test/db")


@pytest.mark.parametrize(
    "matcher", [ANY_ID, ExactID(WEB), OneOf(frozenset({WEB, DB})), MemberOf(TrustDomain("a.test"))]
)
def test_the_wanted_id_is_accepted(matcher: Matcher) -> None:
    matcher.check(WEB)


@pytest.mark.parametrize(
    "matcher", [ExactID(DB), OneOf(frozenset({DB})), OneOf(frozenset()), MemberOf(TrustDomain("b.test"))]
)
def test_another_id_is_refused(matcher: Matcher) -> None:
    with pytest.raises(MatchError) as caught:
        matcher.check(WEB)
    assert caught.value.reason.id == "id-unexpected"
    assert caught.value.reason.kind is Kind.DENIED
    assert WEB.text in str(caught.value)


def test_matchers_are_values() -> None:
    assert ExactID(WEB) == ExactID(WEB)
    assert len({ExactID(WEB), ExactID(WEB), ExactID(DB)}) == 2
