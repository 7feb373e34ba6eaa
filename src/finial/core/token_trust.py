"""Which key of which bundle a token was signed with, for tokens of both kinds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from finial.core.algorithms import Algorithm, fits, verifies
from finial.core.bundle import Bundle, BundleSource
from finial.core.errors import Finding, TokenVerifyError, shown
from finial.core.ids import SpiffeID
from finial.core.reasons import token as reasons
from finial.core.token_authority import TokenAuthority

MAX_KEYS_TRIED = 8  # a check takes up to half a millisecond
MAX_LEEWAY = timedelta(minutes=2)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Signed:
    """A token, as far as finding its key goes.

    Args:
        id: Whom it names; decides the bundle.
        key_id: The key that it names; empty when it names none.
        algorithm: How it was signed.
        data: What was signed.
        signature: Over that.
    """

    id: SpiffeID
    key_id: str
    algorithm: Algorithm
    data: bytes
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyUse:
    """Which keys of a bundle count for tokens of one kind; those of the other use never do.

    Args:
        name: As bundle documents write it.
        every: All of them.
        named: The one with a key id.
    """

    name: str
    every: Callable[[Bundle], tuple[TokenAuthority, ...]]
    named: Callable[[Bundle, str], TokenAuthority | None]


JWT_USE = KeyUse(name="jwt-svid", every=lambda bundle: bundle.jwt_authorities, named=Bundle.jwt_authority)
WIT_USE = KeyUse(name="wit-svid", every=lambda bundle: bundle.wit_authorities, named=Bundle.wit_authority)


def find_signer(signed: Signed, bundles: BundleSource, use: KeyUse) -> TokenAuthority | Finding:
    """The authority that a token was signed with, or why there is none. Clauses: JWT-28, JWT-36, WIT-47.

    Args:
        signed: The token; its algorithm is one that is supported.
        bundles: Asked for the bundle of the trust domain that the token names, and for no other.
        use: Of the keys that count.
    """
    domain = signed.id.trust_domain
    bundle = bundles.bundle_for(domain)
    # A source that answers with another domain's bundle would make its keys good for this one.
    if bundle is None or bundle.trust_domain != domain:
        message = f"there is no federation with trust domain {domain}: no bundle of that name is held here"
        return Finding(reasons.TOKEN_NO_BUNDLE, message)
    if not use.every(bundle):
        message = f"the bundle of trust domain {domain} holds no key of the use {use.name}"
        return Finding(reasons.TOKEN_NO_KEYS, message)
    return _named(signed, bundle, use) if signed.key_id else _tried(signed, bundle, use)


def check_leeway(leeway: timedelta) -> None:
    """Return when a leeway is one that clocks need. Clauses: JWT-41, WIT-21.

    Raises:
        TokenVerifyError: It is negative, or longer than two minutes.
    """
    if not timedelta(0) <= leeway <= MAX_LEEWAY:
        message = f"a leeway of {leeway} is not between zero and {MAX_LEEWAY}"
        raise TokenVerifyError.because(reasons.TOKEN_LEEWAY, message)


def _named(signed: Signed, bundle: Bundle, use: KeyUse) -> TokenAuthority | Finding:
    authority = use.named(bundle, signed.key_id)
    if authority is None:
        message = (
            f"trust domain {bundle.trust_domain} has no key {shown(signed.key_id)} of the use {use.name}"
        )
        return Finding(reasons.TOKEN_UNKNOWN_KEY, message)
    if verifies(authority.key, signed.algorithm, signed.data, signed.signature):
        return authority
    if not fits(signed.algorithm, authority.key):  # then nothing was computed
        message = f"the algorithm {signed.algorithm} does not go with the key {shown(signed.key_id)}"
        return Finding(reasons.TOKEN_KEY_KIND, message)
    message = f"the signature does not verify with the key {shown(signed.key_id)}"
    return Finding(reasons.TOKEN_SIGNATURE, message)


def _tried(signed: Signed, bundle: Bundle, use: KeyUse) -> TokenAuthority | Finding:
    fitting = [each for each in use.every(bundle) if fits(signed.algorithm, each.key)]
    if not fitting:
        message = (
            f"trust domain {bundle.trust_domain} has no key for {signed.algorithm} of the use {use.name}"
        )
        return Finding(reasons.TOKEN_UNKNOWN_KEY, message)
    if len(fitting) > MAX_KEYS_TRIED:
        message = f"the token names no key, and {len(fitting)} go with {signed.algorithm}"
        return Finding(reasons.TOKEN_KEYS_MANY, message)
    for authority in fitting:
        if verifies(authority.key, signed.algorithm, signed.data, signed.signature):
            return authority
    message = f"the signature verifies with none of {len(fitting)} keys"
    return Finding(reasons.TOKEN_SIGNATURE, message)
