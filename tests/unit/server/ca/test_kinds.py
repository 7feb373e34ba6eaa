from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from finial.core.bundle import Bundle
from finial.core.errors import BundleError
from finial.core.ids import TrustDomain
from finial.server.ca.kinds import (
    JWT,
    WIT,
    X509,
    AnyAuthority,
    Kind,
    TokenKind,
    authority_id_of,
    end_of,
    named,
    with_authority,
    with_taint,
    without,
)
from support import forge
from support.authorities import DAY, DOMAIN, root, token_key
from support.clock import START

EMPTY = Bundle(trust_domain=DOMAIN, sequence=7)
FULL = replace(
    EMPTY,
    x509_authorities=(root("x"),),
    jwt_authorities=(token_key("j"),),
    wit_authorities=(token_key("w"),),
)

each_kind = pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        (X509, root("A"), root("B")),
        (JWT, token_key("a"), token_key("b")),
        (WIT, token_key("a"), token_key("b")),
    ],
    ids=["x509", "jwt", "wit"],
)


@each_kind
def test_an_authority_comes_into_a_bundle_is_tainted_and_goes(
    kind: Kind[Any], one: AnyAuthority, other: AnyAuthority
) -> None:
    before = kind.published(FULL)
    bundle = with_authority(kind, with_authority(kind, FULL, one), other)
    assert list(kind.published(bundle)) == [*before, one, other]
    assert with_authority(kind, bundle, other) == bundle
    assert not kind.tainted(bundle)
    tainted = with_taint(kind, bundle, authority_id_of(one))
    assert list(kind.published(tainted)) == [*before, one, other]
    assert set(kind.tainted(tainted)) == {one}
    assert tainted.untainted() == bundle
    assert with_taint(kind, tainted, "none") == tainted
    assert set(kind.tainted(with_authority(kind, tainted, one))) == {one}
    assert without(kind, tainted, {authority_id_of(one), authority_id_of(other)}) == FULL
    assert named(kind, bundle, authority_id_of(other)) == [other]
    assert not named(kind, None, authority_id_of(other))


@each_kind
def test_it_is_published_in_its_own_place(kind: Kind[Any], one: AnyAuthority, other: AnyAuthority) -> None:
    bundle = with_authority(kind, EMPTY, one)
    places = {X509: bundle.x509_authorities, JWT: bundle.jwt_authorities, WIT: bundle.wit_authorities}
    assert places.pop(kind) == (one,)
    assert set(places.values()) == {()}
    assert (end_of(one), end_of(other)) == (START + DAY, START + DAY)


@each_kind
def test_it_survives_being_kept(kind: Kind[Any], one: AnyAuthority, other: AnyAuthority) -> None:
    for each in (one, other):
        assert kind.from_kept(kind.to_kept(each)) == each


@pytest.mark.spec("JWT-35", "WIT-46")
def test_no_key_id_is_published_twice_not_even_for_tokens_of_another_kind() -> None:
    for kind in (JWT, WIT):
        for key_id in ("j", "w"):
            with pytest.raises(BundleError, match=f"two keys have the key id '{key_id}'"):
                with_authority(kind, FULL, replace(token_key("other"), key_id=key_id))


def test_whose_an_authority_is() -> None:
    assert X509.stranger(root("A"), DOMAIN) == ""
    assert X509.stranger(root("A"), TrustDomain("b.test")) == "'spiffe://a.test'"
    assert X509.stranger(forge.root(uris=()).certificate, DOMAIN) == "no trust domain"
    assert JWT.stranger(token_key("a"), TrustDomain("b.test")) == ""


def test_how_an_authority_is_called() -> None:
    assert authority_id_of(token_key("Ab-1")) == "Ab-1"
    assert authority_id_of(root("A")) == (root("A").subject_key_id or b"").hex()
    assert authority_id_of(replace(root("A"), subject_key_id=None)) == ""
    assert end_of(replace(token_key("a"), expires_at=None)) is None


def test_what_agents_report_of() -> None:
    kinds: tuple[TokenKind, ...] = (JWT, WIT)
    assert X509.counted
    assert not any(kind.counted for kind in kinds)
