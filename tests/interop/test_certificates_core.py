"""Certificates between our core and the SPIFFE libraries of other languages, both ways."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache

import pytest

from finial.core import pem
from finial.core.bundle import Bundle, BundleSet
from finial.core.ids import SpiffeID
from finial.core.keys import PrivateKey, write_private_key
from finial.core.x509_profile import (
    CARequest,
    Issuer,
    Order,
    SVIDRequest,
    issue_downstream,
    issue_root,
    issue_svid,
)
from finial.core.x509cert import Certificate
from finial.core.x509path import verify_x509
from finial.core.x509svid import X509SVID
from finial.runtime.clock import SystemClock
from support import forge
from support.judge import GO, JAVA, Judge, Judging, Library, data_of

NOW = SystemClock().now()
WEB = SpiffeID(forge.WEB)
KINDS = ("ec-p256", "ec-p384", "ec-p521", "rsa-2048")
LEVELS = (0, 1, 2)


@dataclass(frozen=True)
class _Issued:
    """An SVID and the root that it leads to."""

    svid: X509SVID
    root: Certificate

    @property
    def chain(self) -> tuple[bytes, ...]:
        return self.svid.chain_der()

    @property
    def bundle(self) -> Bundle:
        return Bundle(trust_domain=forge.A, x509_authorities=(self.root,))

    @property
    def anchors(self) -> dict[str, list[bytes]]:
        return {forge.A.name: [self.root.der]}


@cache
def _issued(kind: str, levels: int, *, constrained: bool = False) -> _Issued:
    """An SVID below so many signing certificates under a root, made by the code that servers run."""
    keys = [forge.key(f"{kind} level {level}", kind) for level in range(levels + 2)]
    order = Order(now=NOW, serial=1000, ttl=timedelta(days=1))
    request = CARequest(trust_domain=forge.A, public_key=keys[0].public_key(), constrained=constrained)
    root = issue_root(request, order, key=keys[0])
    chain: list[Certificate] = []
    issuer = Issuer(forge.A, root)
    for level in range(1, levels + 1):
        below = replace(request, public_key=keys[level].public_key())
        order = replace(order, serial=1000 + level)
        chain.insert(0, issue_downstream(below, issuer, order, key=keys[level - 1]))
        issuer = Issuer(forge.A, chain[0], level + 1)
    return _Issued(_leaf(keys[-1], issuer, keys[-2], chain), root)


def _leaf(own: PrivateKey, issuer: Issuer, key: PrivateKey, chain: list[Certificate]) -> X509SVID:
    request = SVIDRequest(spiffe_id=WEB, public_key=own.public_key(), dns_names=("db.a.test", "db"))
    order = Order(now=NOW, serial=2000, ttl=timedelta(hours=12))
    return X509SVID((issue_svid(request, issuer, order, key=key), *chain), own)


@pytest.mark.parametrize("library", [GO, JAVA], ids=lambda each: each.name, indirect=True)
@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_library_verifies_our_chains(judging: Judging, kind: str, levels: int) -> None:
    made = _issued(kind, levels)
    other = forge.root("other", forge.A, not_before=NOW - forge.DAY, not_after=NOW + forge.DAY)

    async def main(judge: Judge) -> None:
        found = await judge.accept("chain", chain=made.chain, anchors=made.anchors)
        assert found["spiffe_id"] == forge.WEB
        assert await judge.refuse("chain", chain=made.chain, anchors={forge.A.name: [other.der]})
        assert await judge.refuse("chain", chain=made.chain, anchors={forge.B.name: [made.root.der]})
        if levels:
            assert await judge.refuse("chain", chain=made.chain[:1], anchors=made.anchors)

    judging(main)


@pytest.mark.parametrize("library", [GO, JAVA], ids=lambda each: each.name, indirect=True)
def test_a_library_verifies_our_constrained_chains(judging: Judging) -> None:
    made = _issued("ec-p256", 1, constrained=True)

    async def main(judge: Judge) -> None:
        assert await judge.accept("chain", chain=made.chain, anchors=made.anchors)

    judging(main)


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_library_loads_our_svids(judging: Judging, library: Library, kind: str, levels: int) -> None:
    made = _issued(kind, levels)

    async def main(judge: Judge) -> None:
        found = await judge.accept("svid", chain=made.chain, key=made.svid.key_der())
        assert found["spiffe_id"] == forge.WEB
        stranger = write_private_key(forge.key("stranger", kind))
        verdict = await judge.ask("svid", chain=made.chain, key=stranger)
        assert verdict["ok"] is not library.pairs_keys
        if not library.writes_pem:
            return
        again = X509SVID.from_pem(found["certificates_pem"].encode(), found["key_pem"].encode())
        assert again == made.svid
        assert verify_x509(again.chain_der(), BundleSet([made.bundle]), now=NOW).id == WEB

    judging(main)


def test_a_library_reads_our_authorities(judging: Judging, library: Library) -> None:
    roots = [_issued(kind, 0).root for kind in KINDS]

    async def main(judge: Judge) -> None:
        document = b"".join(each.der for each in roots)
        found = await judge.accept("anchors", trust_domain="a.test", document=document)
        assert data_of(found["x509"]) == {each.der for each in roots}
        if library.writes_pem:
            assert set(pem.read_certificates(found["certificates_pem"].encode())) == data_of(found["x509"])

    judging(main)
