from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from finial.core.bundle import Bundle, BundleSet
from finial.core.errors import BundleError
from support import forge, tokens

ONE, TWO = forge.root("one"), forge.root("two")


def test_equal_authorities_collapse_and_order_stays() -> None:
    bundle = forge.bundle(forge.A, TWO, ONE, TWO)
    assert bundle.x509_authorities == (TWO.certificate, ONE.certificate)
    assert hash(bundle) == hash(forge.bundle(forge.A, TWO, ONE))


def test_authorities_are_found_by_name() -> None:
    again = forge.root("one", own_key=forge.key("another"))
    bundle = forge.bundle(forge.A, ONE, TWO, again)
    assert list(bundle.named(ONE.certificate.subject)) == [ONE.certificate, again.certificate]
    assert list(bundle.named(b"")) == []


def test_tainted_authorities_are_among_the_authorities() -> None:
    taint = frozenset({ONE.certificate, TWO.certificate})
    bundle = Bundle(trust_domain=forge.A, x509_authorities=(ONE.certificate,), tainted=taint)
    assert bundle.tainted == {ONE.certificate}
    assert not bundle.same_content(replace(bundle, tainted=frozenset()))


def test_keys_for_tokens_are_found_by_key_id_within_their_kind() -> None:
    jwt, wit = (tokens.authority(kid)[0] for kid in ("j", "w"))
    bundle = Bundle(trust_domain=forge.A, jwt_authorities=(jwt,), wit_authorities=(wit,))
    assert (bundle.jwt_authority("j"), bundle.wit_authority("w")) == (jwt, wit)
    assert (bundle.jwt_authority("w"), bundle.wit_authority("j")) == (None, None)
    assert hash(bundle) == hash(replace(bundle))


@pytest.mark.parametrize("kind", ["jwt_authorities", "wit_authorities"])
def test_no_two_keys_have_one_key_id(kind: str) -> None:
    first, second = tokens.authority("j")[0], replace(tokens.authority("other")[0], key_id="j")
    for fields in ({kind: (first, second)}, {"jwt_authorities": (first,), "wit_authorities": (second,)}):
        with pytest.raises(BundleError) as caught:
            Bundle(trust_domain=forge.A, **fields)
        assert caught.value.reason.id == "bundle-entry-key-id"


def test_without_taints() -> None:
    jwt, wit = (tokens.authority(kid, tainted=True)[0] for kid in ("j", "w"))
    plain = Bundle(
        trust_domain=forge.A,
        x509_authorities=(ONE.certificate,),
        jwt_authorities=(replace(jwt, tainted=False),),
        wit_authorities=(replace(wit, tainted=False),),
        sequence=3,
    )
    assert plain.untainted() is plain
    for changes in (
        {"tainted": frozenset({ONE.certificate})},
        {"jwt_authorities": (jwt,)},
        {"wit_authorities": (wit,)},
    ):
        tainted = replace(plain, **changes)
        assert tainted != plain
        assert tainted.untainted() == plain


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({"sequence": -1}, ["bundle-sequence"]),
        ({"sequence": 2**64}, ["bundle-sequence"]),
        ({"sequence": True}, ["bundle-sequence"]),
        ({"refresh_hint": timedelta(0)}, ["bundle-refresh-hint"]),
        ({"sequence": -1, "refresh_hint": timedelta(-1)}, ["bundle-sequence", "bundle-refresh-hint"]),
    ],
)
def test_numbers_out_of_range(changes: dict[str, object], reasons: list[str]) -> None:
    with pytest.raises(BundleError) as caught:
        Bundle(trust_domain=forge.A, **changes)  # type: ignore[arg-type]
    assert [finding.reason.id for finding in caught.value.findings] == reasons


def test_a_set_is_an_immutable_mapping() -> None:
    held = forge.bundles(a=ONE, b=TWO)
    assert set(held) == {forge.A, forge.B}
    assert len(held) == 2
    assert held[forge.A] == held.bundle_for(forge.A)
    assert held == forge.bundles(b=TWO, a=ONE)
    assert hash(held) == hash(forge.bundles(b=TWO, a=ONE))
    assert len(held.without(forge.B)) == 1
    assert held.without(forge.B).bundle_for(forge.B) is None
    newer = held.with_bundle(forge.bundle(forge.A, TWO))
    assert newer[forge.A].x509_authorities == (TWO.certificate,)
    assert held[forge.A].x509_authorities == (ONE.certificate,)


def test_one_bundle_per_domain() -> None:
    with pytest.raises(BundleError) as caught:
        BundleSet([forge.bundle(forge.A, ONE), forge.bundle(forge.A, TWO)])
    assert caught.value.reason.id == "bundle-duplicate-domain"


def test_sharing_is_seen_for_keys_that_are_not_understood_too() -> None:
    plain = forge.root("weak", own_key=forge.key("weak", "rsa-1024"))
    assert plain.certificate.key is None
    assert len(forge.bundles(a=plain, b=plain).shared_authorities()) == 1
