"""Certificates of a simulation: a few roots, and SVIDs for agents."""

from __future__ import annotations

from datetime import timedelta
from functools import cache

from cryptography.hazmat.primitives.asymmetric import ec

from finial.agent.identity import Key, NodeIdentity
from finial.core.bundle import Bundle
from finial.core.ids import SpiffeID, TrustDomain
from finial.core.x509_profile import CARequest, Issuer, Order, SVIDRequest, issue_root, issue_svid
from finial.core.x509cert import Certificate
from finial.core.x509path import VerifiedX509
from finial.core.x509svid import X509SVID
from finial.runtime.clock import Clock
from support.clock import START
from support.sim_truth import DOMAIN

AGENT_TTL = timedelta(hours=1)


@cache
def key(name: str) -> Key:
    """The key of this name."""
    return ec.generate_private_key(ec.SECP256R1())


@cache
def root(number: int, domain: TrustDomain = DOMAIN) -> Certificate:
    """An authority of a trust domain; that with number 0 signs agents."""
    own = key(f"{domain} {number}")
    request = CARequest(trust_domain=domain, public_key=own.public_key())
    order = Order(now=START - timedelta(days=300), serial=number + 1, ttl=timedelta(days=3_000))
    return issue_root(request, order, key=own)


@cache
def bundle(name: str, authorities: frozenset[int], tainted: frozenset[int], sequence: int) -> Bundle:
    """A bundle with these authorities."""
    domain = TrustDomain(name)
    return Bundle(
        trust_domain=domain,
        x509_authorities=tuple(root(number, domain) for number in sorted(authorities)),
        tainted=frozenset(root(number, domain) for number in tainted),
        sequence=sequence,
    )


@cache
def _issuer() -> Issuer:
    return Issuer(DOMAIN, root(0, DOMAIN))


def identity(agent_id: str, serial: int, clock: Clock) -> NodeIdentity:
    """An agent's SVID with this serial number, valid from now on."""
    request = SVIDRequest(spiffe_id=SpiffeID(agent_id), public_key=key("agent").public_key())
    order = Order(now=clock.now(), serial=serial, ttl=AGENT_TTL)
    leaf = issue_svid(request, _issuer(), order, key=key(f"{DOMAIN} 0"))
    return NodeIdentity(X509SVID((leaf,), key("agent")), reattestable=False)


def proof(shown: NodeIdentity) -> VerifiedX509:
    """What a server finds when an agent shows its SVID."""
    leaf = shown.svid.leaf
    return VerifiedX509(shown.id, (leaf, root(0, DOMAIN)), shown.svid.expires_at)
