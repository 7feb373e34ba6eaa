"""The chain verifier: nothing is proven but by a chain to an authority, whatever is mixed into it."""

from __future__ import annotations

import random  # noqa: TID251 - seeded
from functools import cache

from finial.core.errors import X509VerifyError
from finial.core.x509path import verify_x509
from fuzz.target import Target, refused_well
from support import forge


@cache
def stock() -> tuple[forge.Made, ...]:
    """Certificates of two domains, good and bad, of which chains are drawn."""
    a, b = forge.root("root a"), forge.root("root b", forge.B)
    inter = forge.authority("inter", a)
    below = forge.authority("below", inter, path_length=0)
    crossed = forge.authority("inter", b, forge.B, own_key=forge.key("inter"))
    mesh = tuple(forge.authority("root a", a, own_key=forge.key("root a")) for _ in range(4))
    leaves = (
        forge.leaf(a),
        forge.leaf(inter),
        forge.leaf(below),
        forge.leaf(b, "spiffe://b.test/x"),
        forge.leaf(inter, "spiffe://b.test/x"),
        forge.leaf(a, ca=True),
        forge.leaf(a, not_after=forge.NOW - forge.DAY / 2),
        forge.leaf(forge.root("root a", own_key=forge.key("thief"))),
    )
    return (*leaves, a, b, inter, below, crossed, *mesh)


def check(data: bytes) -> None:
    """Each byte below 128 names a certificate of the stock; 255 damages a byte of the one before."""
    made = stock()
    chain: list[bytes] = []
    for at, byte in enumerate(data[:24]):
        if byte == 0xFF and chain:
            chain[-1] = forge.flipped(chain[-1], (at * 31 + len(data)) % len(chain[-1]))
        else:
            chain.append(made[byte % len(made)].der)
    roots = forge.bundles(a=made[8], b=made[9])
    try:
        proven = verify_x509(chain, roots, now=forge.NOW)
    except X509VerifyError as refused:
        refused_well(refused)
        return
    bundle = roots.bundle_for(proven.id.trust_domain)
    assert bundle is not None
    assert proven.authority in bundle.x509_authorities
    assert proven.leaf.der == chain[0]
    for child, issuer in zip(proven.path, proven.path[1:], strict=False):
        assert issuer.key is not None
        assert child.signed_by(issuer.key)
        assert child.issuer == issuer.subject
    assert all(one.not_before <= forge.NOW <= one.not_after for one in proven.path)


def corpus() -> list[bytes]:
    return [
        bytes([0]),
        bytes([1, 10]),
        bytes([2, 11, 10]),
        bytes([3]),
        bytes([2, 12, 11, 10, 13, 14]),
        bytes([1, 10, 255]),
    ]


def generate(source: random.Random) -> bytes:
    return bytes(source.choice([*range(17), 255]) for _ in range(source.randint(0, 18)))


_PARSER = ("finial.core.x509path", "finial.core.x509_names", "finial.core.rules.x509")
TARGET = Target("chains", corpus, check, generate, budget_s=0.1, modules=_PARSER, verifies=True)
