"""Bundles as messages, as values, and in the form that is kept."""

from __future__ import annotations

import contextlib
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from finial.core import pem
from finial.core.bundle import Bundle
from finial.core.errors import BundleError, RefusedError
from finial.core.ids import TrustDomain
from finial.core.x509cert import Certificate
from finial.wire import bundles
from finial.wire.gen import spire_api_types as types
from support.certs import Authority

_DOMAIN = TrustDomain("b.test")
_ROOTS = [Authority("b.test") for _ in range(3)]
_DERS = [root.der for root in _ROOTS]
_FIRST, _SECOND, _THIRD = (Certificate.parse(der) for der in _DERS)
_LEAF = pem.read_certificates(_ROOTS[0].leaf("/web").chain_pem)[0]
_KEY = (
    ec.generate_private_key(ec.SECP256R1())
    .public_key()
    .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
)


def _bundle(**more: object) -> Bundle:
    fields: dict[str, object] = {
        "trust_domain": _DOMAIN,
        "x509_authorities": (_FIRST, _SECOND),
        "tainted": frozenset({_SECOND}),
        "sequence": 7,
        "refresh_hint": timedelta(seconds=60),
        **more,
    }
    return Bundle(**fields)  # type: ignore[arg-type]


def _x509(*ders: bytes, tainted: bool = False) -> types.X509Certificate:
    return types.X509Certificate(asn1=b"".join(ders), tainted=tainted)


def _jwt(key_id: str = "k", *, tainted: bool = False) -> types.JWTKey:
    return types.JWTKey(public_key=_KEY, key_id=key_id, expires_at=9, tainted=tainted)


def test_a_bundle_goes_there_and_back() -> None:
    message = bundles.bundle_message(_bundle())
    assert message == types.Bundle(
        trust_domain="b.test",
        x509_authorities=[_x509(_DERS[0]), _x509(_DERS[1], tainted=True)],
        refresh_hint=60,
        sequence_number=7,
    )
    assert bundles.read_bundle(message) == _bundle()
    assert bundles.decode(bundles.encode(_bundle())) == _bundle()
    bare = Bundle(trust_domain=_DOMAIN)
    assert bundles.decode(bundles.encode(bare)) == bare


def test_a_hint_is_whole_seconds_within_reason() -> None:
    odd = _bundle(refresh_hint=timedelta(seconds=1, microseconds=1))
    assert bundles.bundle_message(odd).refresh_hint == 2
    assert bundles.decode(bundles.encode(_bundle(refresh_hint=timedelta.max))).refresh_hint is not None


def test_several_certificates_in_one_field_are_all_read() -> None:
    message = types.Bundle(
        trust_domain="b.test", x509_authorities=[_x509(*_DERS[:2], tainted=True), _x509(_DERS[2])]
    )
    read = bundles.read_bundle(message)
    assert read.x509_authorities == (_FIRST, _SECOND, _THIRD)
    assert read.tainted == {_FIRST, _SECOND}


def test_what_somebody_sets_is_kept_apart_and_without_taints() -> None:
    given_ = types.Bundle(
        trust_domain="spiffe://b.test",
        x509_authorities=[_x509(*_DERS[:2], tainted=True), _x509(_DERS[0])],
        jwt_authorities=[_jwt(tainted=True), _jwt("other"), _jwt()],
        refresh_hint=60,
        sequence_number=3,
        wit_authorities=[types.WITKey(public_key=_KEY, key_id="w")],
    )
    before = given_.SerializeToString()
    kept = bundles.accept(given_)
    assert kept.bundle == _bundle(tainted=frozenset(), sequence=3)
    assert bundles.message_of(kept.data) == types.Bundle(
        trust_domain="b.test",
        x509_authorities=[_x509(_DERS[0]), _x509(_DERS[1])],
        jwt_authorities=[_jwt(), _jwt("other")],
        refresh_hint=60,
        sequence_number=3,
    )
    assert bundles.decode(kept.data) == kept.bundle
    assert given_.SerializeToString() == before


def test_everything_that_is_wrong_is_named() -> None:
    with pytest.raises(BundleError) as caught:
        bundles.accept(
            types.Bundle(
                trust_domain="b.test",
                x509_authorities=[_x509(b"garbage"), _x509(), _x509(_DERS[0], _LEAF), _x509(_DERS[0][:-1])],
                jwt_authorities=[types.JWTKey(public_key=_KEY), types.JWTKey(public_key=b"no", key_id="k")],
                refresh_hint=-1,
            )
        )
    found = caught.value.findings
    assert [finding.where for finding in found] == [
        "x509_authorities[0]", "x509_authorities[1]", "x509_authorities[3]", "x509_authorities[2]",
        "x509_authorities[2]",
        "jwt_authorities[0]", "jwt_authorities[1]", "refresh_hint",
    ]  # fmt: skip
    assert caught.value.subject == "b.test"
    assert "no authority" in found[3].message
    assert "missing key ID" in found[5].message
    assert "public_key" in found[6].message


@pytest.mark.parametrize("hint", [-1, 2**62])
def test_a_hint_out_of_range_is_refused(hint: int) -> None:
    with pytest.raises(BundleError, match="refresh_hint: "):
        bundles.read_bundle(types.Bundle(trust_domain="b.test", refresh_hint=hint))


def test_a_reader_takes_a_certificate_that_is_no_authority() -> None:
    # Whether it may sign is judged where something is proven by it.
    read = bundles.read_bundle(types.Bundle(trust_domain="b.test", x509_authorities=[_x509(_LEAF)]))
    assert len(read.x509_authorities) == 1


def test_a_change_keeps_what_the_value_cannot_hold() -> None:
    old = bundles.accept(
        types.Bundle(trust_domain="b.test", x509_authorities=[_x509(_DERS[2])], jwt_authorities=[_jwt()])
    )
    data = bundles.revised(old.data, _bundle())
    assert bundles.decode(data) == _bundle()
    assert list(bundles.message_of(data).jwt_authorities) == [_jwt()]
    gone = bundles.revised(data, Bundle(trust_domain=_DOMAIN))
    assert bundles.message_of(gone) == types.Bundle(trust_domain="b.test", jwt_authorities=[_jwt()])


def test_authorities_are_added_once() -> None:
    data = bundles.encode(_bundle())
    assert bundles.extended(data, [_x509(_DERS[0]), _x509(_DERS[1])], []) is None
    more = bundles.extended(data, [_x509(*_DERS, tainted=True)], [_jwt(tainted=True)])
    assert more is not None
    assert more.bundle == _bundle(x509_authorities=(_FIRST, _SECOND, _THIRD), sequence=8)
    assert bundles.decode(more.data) == more.bundle
    assert list(bundles.message_of(more.data).jwt_authorities) == [_jwt()]
    assert bundles.extended(more.data, [], [_jwt()]) is None
    again = bundles.extended(more.data, [], [_jwt("other")])
    assert again is not None
    assert again.bundle.sequence == 9
    with pytest.raises(BundleError, match=r"x509_authorities\[0\]"):
        bundles.extended(data, [_x509(b"garbage")], [])


def test_parts_of_a_kept_bundle_are_replaced() -> None:
    old = bundles.accept(
        types.Bundle(trust_domain="b.test", x509_authorities=[_x509(_DERS[0])], jwt_authorities=[_jwt()])
    )
    new = bundles.accept(
        types.Bundle(trust_domain="b.test", x509_authorities=[_x509(_DERS[1])], refresh_hint=60)
    )
    assert bundles.replaced(old.data, new, None) == new
    mixed = bundles.replaced(old.data, new, types.BundleMask(x509_authorities=True))
    assert mixed.bundle == Bundle(trust_domain=_DOMAIN, x509_authorities=(_SECOND,))
    assert bundles.message_of(mixed.data) == types.Bundle(
        trust_domain="b.test", x509_authorities=[_x509(_DERS[1])], jwt_authorities=[_jwt()]
    )


def test_bytes_that_are_no_bundle() -> None:
    for read in (bundles.decode, bundles.message_of):
        with pytest.raises(BundleError) as caught:
            read(b"\xff")
        assert caught.value.reason is bundles.UNREADABLE


@given(st.binary(max_size=200), st.binary(max_size=60), st.integers(-(2**63), 2**63 - 1))
def test_reading_is_total(data: bytes, asn1: bytes, hint: int) -> None:
    message = types.Bundle(
        trust_domain="b.test",
        x509_authorities=[_x509(asn1)],
        refresh_hint=hint,
        jwt_authorities=[types.JWTKey(public_key=asn1, key_id="k")],
    )
    for attempt in (lambda: bundles.decode(data), lambda: bundles.accept(message)):
        with contextlib.suppress(RefusedError):
            attempt()
