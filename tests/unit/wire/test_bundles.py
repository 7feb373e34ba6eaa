"""Bundles as messages, as values, and in the form that is kept."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finial.core import pem
from finial.core.bundle import Bundle
from finial.core.errors import BundleError, RefusedError
from finial.core.ids import TrustDomain
from finial.core.keys import public_key_der
from finial.core.token_authority import TokenAuthority
from finial.core.x509cert import Certificate
from finial.wire import bundles
from finial.wire.gen import spire_api_types as types
from support import forge
from support.certs import Authority

_DOMAIN = TrustDomain("b.test")
_ROOTS = [Authority("b.test") for _ in range(3)]
_DERS = [root.der for root in _ROOTS]
_FIRST, _SECOND, _THIRD = (Certificate.parse(der) for der in _DERS)
_LEAF = pem.read_certificates(_ROOTS[0].leaf("/web").chain_pem)[0]
_PUBLIC, _OTHER = forge.key("token").public_key(), forge.key("other token").public_key()
_KEY, _OTHER_KEY = public_key_der(_PUBLIC), public_key_der(_OTHER)
_ED25519 = public_key_der(forge.key("no token", "ed25519").public_key())
_ENDS = datetime(2030, 1, 1, tzinfo=UTC)


def _token(key_id: str = "k", *, tainted: bool = False, ends: bool = True) -> TokenAuthority:
    return TokenAuthority(key_id=key_id, key=_PUBLIC, expires_at=_ENDS if ends else None, tainted=tainted)


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


def _jwt(key_id: str = "k", *, tainted: bool = False, key: bytes = _KEY) -> types.JWTKey:
    ends = int(_ENDS.timestamp())
    return types.JWTKey(public_key=key, key_id=key_id, expires_at=ends, tainted=tainted)


def _wit(key_id: str = "w", *, tainted: bool = False, key: bytes = _KEY) -> types.WITKey:
    return types.WITKey(public_key=key, key_id=key_id, tainted=tainted)


def test_a_bundle_goes_there_and_back() -> None:
    bundle = _bundle(
        jwt_authorities=(_token(tainted=True), _token("other")), wit_authorities=(_token("w", ends=False),)
    )
    message = bundles.bundle_message(bundle)
    assert message == types.Bundle(
        trust_domain="b.test",
        x509_authorities=[_x509(_DERS[0]), _x509(_DERS[1], tainted=True)],
        jwt_authorities=[_jwt(tainted=True), _jwt("other")],
        refresh_hint=60,
        sequence_number=7,
        wit_authorities=[_wit()],
    )
    assert bundles.read_bundle(message) == bundle
    assert bundles.decode(bundles.encode(bundle)) == bundle
    bare = Bundle(trust_domain=_DOMAIN)
    assert bundles.decode(bundles.encode(bare)) == bare


def test_a_broken_key_for_tokens_is_passed_over_alone() -> None:
    good = [_jwt(), _jwt(tainted=True), _jwt("other")]
    bad = [
        types.JWTKey(public_key=_KEY),
        _jwt("x" * 1025),
        _jwt(key=b"no"),
        _jwt("ed", key=_ED25519),
        types.JWTKey(public_key=_KEY, key_id="n", expires_at=-1),
        types.JWTKey(public_key=_KEY, key_id="n", expires_at=2**60),
        _jwt(key=_OTHER_KEY),
    ]
    message = types.Bundle(
        trust_domain="b.test",
        x509_authorities=[_x509(_DERS[0])],
        jwt_authorities=[*good, *bad],
        wit_authorities=[_wit("k"), _wit(tainted=True), _wit(key=b"")],
    )
    found = bundles.examined(message)
    assert found.bundle == Bundle(
        trust_domain=_DOMAIN,
        x509_authorities=(_FIRST,),
        jwt_authorities=(_token(), _token("other")),
        wit_authorities=(_token("w", tainted=True, ends=False),),
    )
    assert bundles.read_bundle(message) == found.bundle
    assert [each.where for each in found.broken] == [
        *(f"jwt_authorities[{number}]" for number in range(3, 10)),
        "wit_authorities[0]",
        "wit_authorities[2]",
    ]
    assert {each.reason.id for each in found.broken} == {"bundle-jwt-authority", "bundle-wit-authority"}
    texts = [each.message for each in found.broken]
    for text, part in zip(
        texts,
        ["missing key ID", "1024", "public_key", "P-521", "expires_at", "9999", "'k'", "'k'", "public_key"],
        strict=True,
    ):
        assert part in text


def test_the_ends_of_keys_are_where_dates_end() -> None:
    last = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    ends = int(last.timestamp())
    keys = [types.JWTKey(public_key=_KEY, key_id=f"{end}", expires_at=end) for end in (ends, ends + 1)]
    found = bundles.examined(types.Bundle(trust_domain="b.test", jwt_authorities=keys))
    assert [each.expires_at for each in found.bundle.jwt_authorities] == [last]
    assert [each.where for each in found.broken] == ["jwt_authorities[1]"]


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
        wit_authorities=[_wit(tainted=True)],
    )
    before = given_.SerializeToString()
    kept = bundles.accept(given_)
    jwt = (_token(), _token("other"))
    assert kept.bundle == _bundle(tainted=frozenset(), sequence=3, jwt_authorities=jwt)
    assert bundles.message_of(kept.data) == types.Bundle(
        trust_domain="b.test",
        x509_authorities=[_x509(_DERS[0]), _x509(_DERS[1])],
        jwt_authorities=[_jwt(), _jwt("other")],
        refresh_hint=60,
        sequence_number=3,
    )
    assert bundles.decode(kept.data) == kept.bundle
    assert bundles.accept(given_, wit=True).bundle.wit_authorities == (_token("w", ends=False),)
    assert given_.SerializeToString() == before


def test_keys_for_wit_svids_are_judged_only_by_whom_they_concern() -> None:
    message = types.Bundle(trust_domain="b.test", jwt_authorities=[_jwt()], wit_authorities=[_wit("k")])
    assert bundles.accept(message).bundle.wit_authorities == ()
    with pytest.raises(BundleError, match="'k'") as caught:
        bundles.accept(message, wit=True)
    assert [each.where for each in caught.value.findings] == ["wit_authorities[0]"]


def test_everything_that_is_wrong_is_named() -> None:
    with pytest.raises(BundleError) as caught:
        bundles.accept(
            types.Bundle(
                trust_domain="b.test",
                x509_authorities=[_x509(b"garbage"), _x509(), _x509(_DERS[0], _LEAF), _x509(_DERS[0][:-1])],
                jwt_authorities=[
                    types.JWTKey(public_key=_KEY),
                    types.JWTKey(public_key=b"no", key_id="k"),
                    _jwt("ed", key=_ED25519),
                    _jwt("twice"),
                    _jwt("twice", key=_OTHER_KEY),
                ],
                refresh_hint=-1,
            )
        )
    found = caught.value.findings
    assert [finding.where for finding in found] == [
        "x509_authorities[0]", "x509_authorities[1]", "x509_authorities[3]", "x509_authorities[2]",
        "x509_authorities[2]",
        "jwt_authorities[0]", "jwt_authorities[1]", "jwt_authorities[2]", "jwt_authorities[4]",
        "refresh_hint",
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
    # A field of a newer version, and keys of kinds that it may know.
    unknown = bytes.fromhex("fa0603616263")
    odd_jwt, odd_wit = _jwt("ed", key=_ED25519), _wit("odd", key=b"odd")
    before = types.Bundle(
        trust_domain="b.test",
        x509_authorities=[_x509(_DERS[2])],
        jwt_authorities=[odd_jwt, _jwt("old")],
        wit_authorities=[odd_wit],
    )
    data = bundles.revised(before.SerializeToString() + unknown, _bundle(jwt_authorities=(_token(),)))
    assert bundles.decode(data) == _bundle(jwt_authorities=(_token(),))
    message = bundles.message_of(data)
    assert list(message.jwt_authorities) == [_jwt(), odd_jwt]
    assert list(message.wit_authorities) == [odd_wit]
    assert unknown in data
    gone = bundles.revised(data, Bundle(trust_domain=_DOMAIN))
    left = types.Bundle(trust_domain="b.test", jwt_authorities=[odd_jwt], wit_authorities=[odd_wit])
    assert bundles.message_of(gone) == types.Bundle.FromString(left.SerializeToString() + unknown)


def test_authorities_are_added_once() -> None:
    data = bundles.encode(_bundle())
    assert bundles.extended(data, [_x509(_DERS[0]), _x509(_DERS[1])], []) is None
    more = bundles.extended(data, [_x509(*_DERS, tainted=True)], [_jwt(tainted=True)])
    assert more is not None
    assert more.bundle == _bundle(
        x509_authorities=(_FIRST, _SECOND, _THIRD), jwt_authorities=(_token(),), sequence=8
    )
    assert bundles.decode(more.data) == more.bundle
    assert list(bundles.message_of(more.data).jwt_authorities) == [_jwt()]
    assert bundles.extended(more.data, [], [_jwt()]) is None
    assert bundles.extended(more.data, [], [types.JWTKey(public_key=_KEY, key_id="k")]) is None
    again = bundles.extended(more.data, [], [_jwt("other")])
    assert again is not None
    assert again.bundle.sequence == 9
    with pytest.raises(BundleError, match=r"x509_authorities\[0\]"):
        bundles.extended(data, [_x509(b"garbage")], [])
    with pytest.raises(BundleError, match="two keys have the key id 'k'"):
        bundles.extended(more.data, [], [_jwt(key=_OTHER_KEY)])


def test_parts_of_a_kept_bundle_are_replaced() -> None:
    odd = _jwt("ed", key=_ED25519)
    old = types.Bundle(
        trust_domain="b.test",
        x509_authorities=[_x509(_DERS[0], tainted=True)],
        jwt_authorities=[_jwt(), odd],
        sequence_number=4,
    ).SerializeToString()
    new = bundles.accept(
        types.Bundle(
            trust_domain="b.test",
            x509_authorities=[_x509(_DERS[1])],
            jwt_authorities=[_jwt("new")],
            wit_authorities=[_wit("k")],
            refresh_hint=60,
            sequence_number=9,
        ),
        wit=True,
    )
    assert bundles.replaced(old, new, None) == new
    mixed = bundles.replaced(old, new, types.BundleMask(x509_authorities=True))
    assert mixed.bundle == Bundle(
        trust_domain=_DOMAIN, x509_authorities=(_SECOND,), jwt_authorities=(_token(),), sequence=4
    )
    assert bundles.message_of(mixed.data) == types.Bundle(
        trust_domain="b.test",
        x509_authorities=[_x509(_DERS[1])],
        jwt_authorities=[_jwt(), odd],
        sequence_number=4,
    )
    others = types.BundleMask(
        jwt_authorities=True, wit_authorities=True, refresh_hint=True, sequence_number=True
    )
    mixed = bundles.replaced(old, new, others)
    assert mixed.bundle == Bundle(
        trust_domain=_DOMAIN,
        x509_authorities=(_FIRST,),
        tainted=frozenset({_FIRST}),
        jwt_authorities=(_token("new"),),
        wit_authorities=(_token("k", ends=False),),
        refresh_hint=timedelta(seconds=60),
        sequence=9,
    )
    assert list(bundles.message_of(mixed.data).jwt_authorities) == [_jwt("new")]
    with pytest.raises(BundleError, match="two keys have the key id 'k'"):
        bundles.replaced(old, new, types.BundleMask(wit_authorities=True))


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
        jwt_authorities=[types.JWTKey(public_key=asn1, key_id="k", expires_at=hint)],
        wit_authorities=[types.WITKey(public_key=asn1, key_id="w", expires_at=hint)],
    )
    attempts = (lambda: bundles.decode(data), lambda: bundles.accept(message, wit=True))
    for attempt in (*attempts, lambda: bundles.read_bundle(message)):
        with contextlib.suppress(RefusedError):
            attempt()
