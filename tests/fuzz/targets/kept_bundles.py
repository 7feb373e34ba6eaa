"""Bundles as servers keep and send them: a value that stays the same when it is kept, or one refusal."""

from __future__ import annotations

import random  # noqa: TID251 - seeded
from functools import cache

from finial.core.bundle_change import difference, merged
from finial.core.errors import BundleError, RefusedError, SpiffeIDError
from finial.core.keys import public_key_der
from finial.wire import bundles
from finial.wire.gen import spire_api_types as types
from fuzz import stock
from fuzz.target import Target, refused_well

_NAMES = ("x509_authorities", "jwt_authorities", "wit_authorities", "refresh_hint", "sequence_number")


def check(data: bytes) -> None:
    try:
        message = bundles.message_of(data)
    except BundleError as refused:
        refused_well(refused)
        return
    _set(message)
    try:
        found = bundles.examined(message)
    except (BundleError, SpiffeIDError) as refused:
        refused_well(refused)
        return
    bundle = found.bundle
    assert bundles.decode(data) == bundle
    assert bundles.decode(bundles.encode(bundle)) == bundle
    assert all(str(finding).isprintable() and finding.where for finding in found.broken)
    # A change that changes nothing keeps what is kept, and what nobody here can read.
    revised = bundles.revised(data, bundle)
    assert bundles.decode(revised) == bundle
    assert bundles.revised(revised, bundle) == revised
    read = len(bundle.jwt_authorities) + len(bundle.wit_authorities)
    held, before = bundles.message_of(revised), len(message.jwt_authorities) + len(message.wit_authorities)
    assert read <= len(held.jwt_authorities) + len(held.wit_authorities) <= before
    assert not difference(bundle, bundles.decode(revised))
    assert merged(bundle, bundle).same_content(bundle)
    (_extended if len(data) & 1 else _replaced)(data)


def _set(message: types.Bundle) -> None:
    """Somebody sets it: all of it is sound, and no taint is taken from them."""
    for wit in (False, True):
        try:
            kept = bundles.accept(message, wit=wit)
        except (BundleError, SpiffeIDError) as refused:
            refused_well(refused)
            continue
        assert bundles.decode(kept.data) == kept.bundle == kept.bundle.untainted()
        assert wit or not kept.bundle.wit_authorities
        assert bundles.accept(bundles.message_of(kept.data), wit=wit) == kept


def _extended(data: bytes) -> None:
    """A key more is there, whatever was kept; the same key once more is none."""
    old = bundles.decode(data)
    key = types.JWTKey(public_key=public_key_der(stock.key("token k9").public_key()), key_id="k9")
    try:
        new = bundles.extended(data, [types.X509Certificate(asn1=stock.root("more").der)], [key])
    except RefusedError as refused:
        refused_well(refused)
        return
    if new is not None:
        assert set(new.bundle.jwt_authorities) >= set(old.jwt_authorities)
        assert new.bundle.jwt_authority("k9") is not None
        assert new.bundle.sequence == old.sequence + 1
        assert bundles.decode(new.data) == new.bundle
        assert bundles.extended(new.data, [], [key]) is None


def _replaced(data: bytes) -> None:
    """Each part can be taken from another bundle, alone; the others stay."""
    new = _other()
    at = len(data) % (len(_NAMES) + 1)
    mask = types.BundleMask(**{_NAMES[at]: True}) if at < len(_NAMES) else None
    try:
        found = bundles.replaced(data, new, mask)
    except RefusedError as refused:
        refused_well(refused)
        return
    assert bundles.decode(found.data) == found.bundle
    assert (
        found.bundle.jwt_authorities
        == (new.bundle if mask is None or at == 1 else bundles.decode(data)).jwt_authorities
    )


@cache
def _other() -> bundles.KeptBundle:
    return bundles.accept(_message("b.test", "w1"), wit=True)


def _message(domain: str, kid: str = "k1") -> types.Bundle:
    keys = [public_key_der(stock.key(f"token {each}").public_key()) for each in (kid, "w1")]
    return types.Bundle(
        trust_domain=domain,
        x509_authorities=[types.X509Certificate(asn1=stock.root().der, tainted=True)],
        jwt_authorities=[types.JWTKey(public_key=keys[0], key_id=kid, expires_at=2_000_000_000)],
        wit_authorities=[types.WITKey(public_key=keys[1], key_id="v1", tainted=True)],
        refresh_hint=300,
        sequence_number=7,
    )


def corpus() -> list[bytes]:
    full = _message("a.test")
    broken = _message("a.test")
    broken.jwt_authorities.add(key_id="k2", public_key=b"x")
    broken.wit_authorities.add(key_id="k1", public_key=broken.jwt_authorities[0].public_key)
    bare = types.Bundle(trust_domain="a.test")
    both = _message("spiffe://a.test")
    both.x509_authorities[0].asn1 += stock.root("more").der
    leaf = _message("a.test")
    leaf.x509_authorities[0].asn1 = stock.leaf(stock.root()).der
    foreign = full.SerializeToString() + b"\xfa\x07\x01x"
    return [*(each.SerializeToString() for each in (full, broken, bare, both, leaf)), foreign, b""]


_KEYS = ("k1", "k9", "w1", "r1")
_IDS = ("k1", "k1", "k9", "w1", "", "x" * 1025, "\u00e9\n")
_TIMES = (0, 0, 1, -1, 2**40, 2_000_000_000)


def generate(source: random.Random) -> bytes:
    message = types.Bundle(
        trust_domain=source.choice(("a.test", "a.test", "spiffe://a.test", "", "A")),
        refresh_hint=source.choice((0, 0, 60, -1, 2**62)),
        sequence_number=source.choice((0, 7, 2**64 - 1)),
    )
    for _ in range(source.choice((0, 1, 2))):
        asn1 = source.choice(_certificates())
        if source.random() < 0.2:
            asn1 = asn1[: source.randrange(len(asn1) + 1)]
        message.x509_authorities.add(asn1=asn1, tainted=source.random() < 0.5)
    for held in (message.jwt_authorities, message.wit_authorities):
        for _ in range(source.choice((0, 1, 2))):
            key = source.choice(_public_keys())
            held.add(
                public_key=key if source.random() < 0.8 else key[:-1],
                key_id=source.choice(_IDS),
                expires_at=source.choice(_TIMES),
                tainted=source.random() < 0.5,
            )
    return message.SerializeToString()


@cache
def _certificates() -> list[bytes]:
    root = stock.root()
    return [root.der, root.der + stock.root("more").der, stock.leaf(root).der, b"x"]


@cache
def _public_keys() -> list[bytes]:
    made = [stock.key(f"token {kid}", "rsa-2048" if kid == "r1" else "ec-p256") for kid in _KEYS]
    return [public_key_der(key.public_key()) for key in (*made, stock.key("ed", "ed25519"))]


_PARSER = (
    "finial.wire.bundles",
    "finial.wire.authorities",
    "finial.core.bundle_change",
    "finial.core.token_authority",
)
_OMITS = ("Difference.__str__", "Difference._parts", "_check_one_domain")
TARGET = Target("kept_bundles", corpus, check, generate, modules=_PARSER, omits=_OMITS)
