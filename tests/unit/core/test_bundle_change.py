"""What differs between two bundles of one trust domain, and a bundle with the authorities of both."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from finial.core.bundle import Bundle
from finial.core.bundle_change import Change, difference, merged
from finial.core.errors import BundleError
from support import forge, tokens

ONE, TWO, THREE = (forge.root(name).certificate for name in ("one", "two", "three"))
J1, J2, W1, W2 = (tokens.authority(kid)[0] for kid in ("j1", "j2", "w1", "w2"))
OLD = Bundle(
    trust_domain=forge.A,
    x509_authorities=(ONE, TWO),
    jwt_authorities=(J1,),
    wit_authorities=(W1,),
    sequence=4,
)


def test_nothing_differs() -> None:
    found = difference(OLD, replace(OLD, x509_authorities=(TWO, ONE)))
    assert not found
    assert str(found) == "nothing"


def test_what_came_and_what_went() -> None:
    new = replace(
        OLD, x509_authorities=(THREE, TWO), jwt_authorities=(J2, J1), wit_authorities=(), sequence=5
    )
    found = difference(OLD, new)
    assert found.x509 == Change((THREE,), (ONE,))
    assert found.jwt == Change((J2,), ())
    assert found.wit == Change((), (W1,))
    assert not found.marks
    assert found.sequence == (4, 5)
    assert str(found) == ("X.509 authorities +1 -1, JWT authorities +1, WIT authorities -1, sequence 4 to 5")
    back = difference(new, OLD)
    assert (back.x509.came, back.x509.went) == (found.x509.went, found.x509.came)


def test_the_same_key_id_with_another_key_is_another_authority() -> None:
    other = replace(J2, key_id="j1")
    assert difference(OLD, replace(OLD, jwt_authorities=(other,))).jwt == Change((other,), (J1,))


@pytest.mark.parametrize(
    "new",
    [
        replace(OLD, tainted=frozenset({ONE})),
        replace(OLD, jwt_authorities=(replace(J1, tainted=True),)),
        replace(OLD, wit_authorities=(replace(W1, expires_at=forge.NOW),)),
        replace(OLD, refresh_hint=timedelta(seconds=1)),
    ],
)
def test_marks_alone(new: Bundle) -> None:
    found = difference(OLD, new)
    assert found.marks
    assert not (found.x509)
    assert not (found.jwt)
    assert not (found.wit)
    assert str(found) == "marks"


def test_a_number_alone() -> None:
    assert difference(OLD, replace(OLD, sequence=9))


def test_authorities_of_both() -> None:
    more = Bundle(
        trust_domain=forge.A,
        x509_authorities=(TWO, THREE),
        tainted=frozenset({THREE}),
        jwt_authorities=(replace(J1, expires_at=forge.NOW, tainted=True), J2),
        wit_authorities=(W1, W2),
        sequence=99,
        refresh_hint=timedelta(seconds=1),
    )
    found = merged(replace(OLD, tainted=frozenset({ONE})), more)
    assert found == Bundle(
        trust_domain=forge.A,
        x509_authorities=(ONE, TWO, THREE),
        tainted=frozenset({ONE}),
        jwt_authorities=(J1, J2),
        wit_authorities=(W1, W2),
        sequence=4,
    )
    assert merged(OLD, OLD) == OLD


def test_a_key_id_that_means_two_keys_is_refused() -> None:
    for more in ({"jwt_authorities": (replace(J2, key_id="j1"),)}, {"jwt_authorities": (replace(W1),)}):
        with pytest.raises(BundleError) as caught:
            merged(OLD, Bundle(trust_domain=forge.A, **more))  # type: ignore[arg-type]
        assert caught.value.reason.id == "bundle-entry-key-id"


def test_two_domains_are_never_compared_or_put_together() -> None:
    foreign = replace(OLD, trust_domain=forge.B)
    for ask in (difference, merged):
        with pytest.raises(BundleError) as caught:
            ask(OLD, foreign)
        assert caught.value.reason.id == "bundle-two-domains"
        assert "a.test" in str(caught.value)
        assert "b.test" in str(caught.value)
