"""The chain verifier: nothing is proven but by a chain to an authority, whatever is mixed into it."""

from __future__ import annotations

import ipaddress
import random  # noqa: TID251 - seeded
from functools import cache

from cryptography import x509

from finial.core.bundle import Bundle, BundleSet
from finial.core.errors import X509VerifyError
from finial.core.ids import TrustDomain
from finial.core.x509path import verify_x509
from fuzz import stock
from fuzz.target import Target, refused_well
from support import forge

_HOST, _OTHER = x509.UniformResourceIdentifier("a.test"), x509.UniformResourceIdentifier(".b.test")
_CONSTRAINTS: tuple[x509.NameConstraints, ...] = (
    forge.constraints([_HOST]),
    forge.constraints([_OTHER]),
    forge.constraints([], [_HOST]),
    forge.constraints([x509.UniformResourceIdentifier("https://a.test")]),
    forge.constraints([x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))]),
    forge.constraints([x509.DNSName("a.test"), x509.DNSName("")], [x509.DNSName("x.a.test")]),
    forge.constraints([x509.DNSName(".a.test"), x509.DNSName("a b")]),
    forge.constraints([x509.RFC822Name("a@a.test"), x509.RFC822Name(".a.test")], [x509.RFC822Name("b.test")]),
    forge.constraints([x509.IPAddress(ipaddress.ip_network("10.0.0.0/8"))]),
    forge.constraints([x509.DirectoryName(forge.name("leaf"))]),
    forge.constraints([], [x509.DirectoryName(forge.name("LEAF"))]),
)
_NAMES: tuple[tuple[x509.GeneralName, ...], ...] = (
    (x509.DNSName("b.a.test"), x509.DNSName("*.a.test")),
    (x509.RFC822Name("a@a.test"), x509.IPAddress(ipaddress.ip_address("10.1.1.1"))),
    (x509.DirectoryName(forge.name("other")), x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))),
)


@cache
def stocked() -> tuple[forge.Made, ...]:
    """Certificates of two domains, good and bad, of which chains are drawn."""
    a, b = stock.root("root a"), stock.root("root b", forge.B)
    inter = stock.authority("inter", a)
    below = stock.authority("below", inter, path_length=0)
    crossed = stock.authority("inter", b, forge.B)
    mesh = tuple(stock.authority("root a", a, not_after=forge.NOW + forge.DAY * days) for days in range(1, 5))
    leaves = (
        stock.leaf(a),
        stock.leaf(inter),
        stock.leaf(below),
        stock.leaf(b, "spiffe://b.test/x"),
        stock.leaf(inter, "spiffe://b.test/x"),
        stock.leaf(a, ca=True),
        stock.leaf(a, not_after=forge.NOW - forge.DAY / 2),
        stock.leaf(stock.root("root a", own_key=stock.key("thief"))),
    )
    more = (
        stock.leaf(a, not_before=forge.NOW + forge.DAY / 2),
        stock.leaf(a, uris=()),
        stock.leaf(a, "spiffe://c.test/x"),
        stock.leaf(a, usages=("keyCertSign",)),
        stock.leaf(stock.root("root ed", own_key=stock.key("ed", "ed25519"))),
        stock.leaf(below, others=_NAMES[0] * 600),
        stock.authority("inter", a, usages=("cRLSign",)),
        stock.authority("inter", a, usages=None),
        stock.authority("inter", a, ca=False),
    )
    narrow = tuple(stock.authority("below", inter, constraints=each, path_length=0) for each in _CONSTRAINTS)
    named = tuple(stock.leaf(below, others=names) for names in _NAMES)
    # One by another that it signed itself: there are many ways through, and none that ends.
    round_about = tuple(stock.authority(one, _unsigned(other)) for one, other in _ROUND)
    # Of domains that there is no bundle of, and somebody else's.
    strangers = (stock.leaf(a, "spiffe://d.test/x"), stock.leaf(a, "spiffe://e.test/x"))
    return (*leaves, a, b, inter, below, crossed, *mesh, *more, *narrow, *named, *round_about, *strangers)


_ROUND = [(f"round {one}", f"round {other}") for one in range(4) for other in range(4) if one != other]


def _unsigned(name: str) -> forge.Made:
    """Somebody who signs under a name, with the key of that name."""
    return stock.root(name)


class _Bundles:
    """A source of bundles that answers with the bundle of a.test for e.test."""

    def bundle_for(self, trust_domain: TrustDomain) -> Bundle | None:
        return _bundles().bundle_for(forge.A if trust_domain.name == "e.test" else trust_domain)


@cache
def _bundles() -> BundleSet:
    made = stocked()
    of_a = (made[8], stock.root("root ed", own_key=stock.key("ed", "ed25519")))
    return forge.bundles(a=of_a, b=made[9]).with_bundle(Bundle(trust_domain=TrustDomain("c.test")))


def check(data: bytes) -> None:
    """Each byte below 128 names a certificate of the stock; 255 damages a byte of the one before."""
    made = stocked()
    chain: list[bytes] = []
    for at, byte in enumerate(data[:40]):
        if byte == 0xFF and chain:
            chain[-1] = forge.flipped(chain[-1], (at * 31 + len(data)) % len(chain[-1]))
        else:
            chain.append(made[byte % len(made)].der)
    roots = _Bundles()
    try:
        proven = verify_x509(chain, roots, now=forge.NOW)
    except X509VerifyError as refused:
        refused_well(refused)
        return
    bundle = roots.bundle_for(proven.id.trust_domain)
    assert bundle is not None
    assert proven.authority in bundle.x509_authorities
    assert bundle.trust_domain == proven.id.trust_domain
    assert proven.leaf.der == chain[0]
    for child, issuer in zip(proven.path, proven.path[1:], strict=False):
        assert issuer.key is not None
        assert child.signed_by(issuer.key)
        assert child.issuer == issuer.subject
    assert all(one.not_before <= forge.NOW <= one.not_after for one in proven.path)


def corpus() -> list[bytes]:
    sound = [[0], [1, 10], [2, 11, 10], [3], [2, 12, 11, 10, 13, 14], [1, 10, 255]]
    leaves = [[each] for each in (*range(17, 22), 52, 53)]
    constrained = [[leaf, each, 10] for leaf in (2, 22, *range(37, 40)) for each in range(26, 37)]
    kinds = [[1, each] for each in range(23, 26)]
    return [bytes(each) for each in (*sound, *leaves, *constrained, *kinds, [40, *range(41, 52)], [0] * 17)]


def generate(source: random.Random) -> bytes:
    """Certificates at random, or a leaf with a chain to the authority into which others are mixed."""
    some = range(len(stocked()))
    if source.random() < 0.3:
        return bytes(source.choice([*some, 255]) for _ in range(source.randint(0, 18)))
    chain = [source.choice((2, 2, 22, 37, 38, 39)), source.choice((11, *range(26, 37))), 10]
    for _ in range(source.choice((0, 1, 1, 4))):
        chain.insert(source.randint(0, len(chain)), source.choice([*some, 255]))
    return bytes(chain)


_PARSER = ("finial.core.x509path", "finial.core.x509_names", "finial.core.rules.x509")
# What only our own certificates are held to.
_OMITS = (
    "_key_rule", "_key_usage_critical", "_leaf_basic_constraints", "_leaf_extended_key_usage",
    "_leaf_name_constraints", "_names_critical", "_ca_id", "_ca_key_usage_extra", "_check_count",
)  # fmt: skip
TARGET = Target("chains", corpus, check, generate, budget_s=0.1, modules=_PARSER, omits=_OMITS, verifies=True)
