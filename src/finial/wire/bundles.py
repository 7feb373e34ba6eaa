"""Bundles of the server's API: messages, values of ours, and the form that is kept.

A value holds the authorities for all kinds of SVID with their taints and ends, the refresh hint and the
sequence number, and code that changes a bundle changes the value. What is kept is the encoded message all the
same, so that nothing is lost that only a newer version knows: fields that we do not have, and keys of a kind
that we cannot hold. Authorities for WIT-SVIDs are dropped when somebody sets a bundle, as SPIRE does, unless
the caller has opted in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from finial.core.bundle import Bundle
from finial.core.bundle_change import merged
from finial.core.bundle_doc import ReadBundle
from finial.core.errors import BundleError, Finding, Kind, Reason
from finial.core.ids import TrustDomain
from finial.core.reasons import bundle as reasons
from finial.core.rules.bundle import MAX_HINT_SECONDS
from finial.wire import masks
from finial.wire.authorities import (
    X509,
    Keys,
    jwt_messages,
    not_authorities,
    read_keys,
    read_x509,
    wit_messages,
    x509_messages,
)
from finial.wire.gen import spire_api_types as types
from finial.wire.methods import decoder
from finial.wire.registry import read_domain

UNREADABLE: Final = Reason("bundle-unreadable", Kind.INVALID, meaning="Bytes are no encoded bundle.")

_decode = decoder(types.Bundle)


@dataclass(frozen=True, slots=True)
class KeptBundle:
    """A bundle in both forms.

    Args:
        bundle: What our own code works with.
        data: The encoded `types.Bundle`, with what the value cannot hold.
    """

    bundle: Bundle
    data: bytes


def bundle_message(bundle: Bundle) -> types.Bundle:
    """A bundle as a message; a refresh hint with a fraction of a second is rounded up."""
    hint = bundle.refresh_hint
    return types.Bundle(
        trust_domain=bundle.trust_domain.name,
        x509_authorities=x509_messages(bundle),
        jwt_authorities=jwt_messages(bundle.jwt_authorities),
        wit_authorities=wit_messages(bundle.wit_authorities),
        refresh_hint=0 if hint is None else _whole_seconds(hint),
        sequence_number=bundle.sequence,
    )


def read_bundle(message: types.Bundle) -> Bundle:
    """The bundle that a server sends, with its taints; a key for tokens that is broken is passed over.

    Raises:
        BundleError: A certificate cannot be read, or a number is out of range.
        SpiffeIDError: Its trust domain is none.
    """
    return examined(message).bundle


def examined(message: types.Bundle) -> ReadBundle:
    """The bundle that a server sends, with its taints, and what is wrong with the keys that are passed over.

    Raises:
        BundleError: A certificate cannot be read, or a number is out of range.
        SpiffeIDError: Its trust domain is none.
    """
    domain = read_domain(message.trust_domain)
    x509, findings = read_x509(message.x509_authorities)
    keys = read_keys(message.jwt_authorities, message.wit_authorities)
    return ReadBundle(_bundle(message, domain, _Parts(x509, keys, findings)), broken=keys.findings)


def accept(message: types.Bundle, *, wit: bool = False) -> KeptBundle:
    """The bundle that somebody sets: it is judged, and nobody but its own server taints an authority.

    Each authority is kept once, alone in its field.

    Args:
        message: What they set.
        wit: Whether authorities for WIT-SVIDs count; without, they are dropped unread.

    Raises:
        BundleError: An authority is none, two keys have one key id, or a number is out of range.
        SpiffeIDError: Its trust domain is none.
    """
    domain = read_domain(message.trust_domain)
    x509, findings = read_x509(message.x509_authorities)
    keys = read_keys(message.jwt_authorities, message.wit_authorities if wit else ())
    parts = _Parts(x509, keys, [*findings, *not_authorities(x509), *keys.findings])
    bundle = _bundle(message, domain, parts).untainted()
    return KeptBundle(bundle, encode(bundle))


def extended(
    data: bytes, x509: Iterable[types.X509Certificate], jwt: Iterable[types.JWTKey]
) -> KeptBundle | None:
    """A kept bundle with more authorities and the next sequence number; None when it has them all already.

    Args:
        data: The kept form.
        x509: X.509 authorities; taints are not looked at.
        jwt: JWT authorities, the same.

    Raises:
        BundleError: One of them is none, or has the key id of another key.
    """
    old = decode(data)
    more = accept(
        types.Bundle(trust_domain=old.trust_domain.name, x509_authorities=x509, jwt_authorities=jwt)
    )
    new = merged(old, more.bundle)
    if new.same_content(old):
        return None
    new = replace(new, sequence=old.sequence + 1)
    return KeptBundle(new, revised(data, new))


def encode(bundle: Bundle) -> bytes:
    """The kept form of a bundle that has nothing but what the value holds."""
    return bundle_message(bundle).SerializeToString()


def decode(data: bytes) -> Bundle:
    """The bundle in its kept form.

    Raises:
        BundleError: The bytes are no bundle, or one that breaks a rule.
        SpiffeIDError: Its trust domain is none.
    """
    return read_bundle(message_of(data))


def revised(data: bytes, bundle: Bundle) -> bytes:
    """The kept form after a change: what the value holds is replaced, the rest stays.

    Args:
        data: The kept form before.
        bundle: The value after.

    Raises:
        BundleError: The bytes are no bundle.
    """
    return _revised(message_of(data), bundle)


def replaced(data: bytes, new: KeptBundle, mask: types.BundleMask | None) -> KeptBundle:
    """A kept bundle with the selected parts of another one of its trust domain.

    Args:
        data: The kept form of the first.
        new: The second.
        mask: What is taken from the second; None takes everything.

    Raises:
        BundleError: The bytes are no bundle, or what comes together has one key id twice.
    """
    if mask is None:
        return new
    kept, old, other = message_of(data), decode(data), new.bundle
    bundle = replace(
        old,
        x509_authorities=(other if mask.x509_authorities else old).x509_authorities,
        tainted=(other if mask.x509_authorities else old).tainted,
        jwt_authorities=(other if mask.jwt_authorities else old).jwt_authorities,
        wit_authorities=(other if mask.wit_authorities else old).wit_authorities,
        refresh_hint=(other if mask.refresh_hint else old).refresh_hint,
        sequence=(other if mask.sequence_number else old).sequence,
    )
    return KeptBundle(bundle, _revised(masks.cut(kept, masks.inverse(mask)), bundle))


def message_of(data: bytes) -> types.Bundle:
    """The kept form as a message.

    Raises:
        BundleError: The bytes are no bundle.
    """
    try:
        return _decode(data)
    except ValueError as error:
        raise BundleError.because(UNREADABLE, str(error)) from error


@dataclass(frozen=True, slots=True)
class _Parts:
    """What was in a message, and what forbids to make a bundle of it."""

    x509: list[X509]
    keys: Keys
    findings: list[Finding]


def _bundle(message: types.Bundle, domain: TrustDomain, parts: _Parts) -> Bundle:
    """The bundle in a message.

    Raises:
        BundleError: Something is wrong with it, now or before.
    """
    seconds, findings = message.refresh_hint, parts.findings
    if not 0 <= seconds <= MAX_HINT_SECONDS:
        text = f"{seconds} is not a number of seconds, zero or more, or is absurdly large"
        findings = [*findings, Finding(reasons.BUNDLE_REFRESH_HINT, text, "refresh_hint")]
    if findings:
        raise BundleError(findings, subject=domain.name)
    return Bundle(
        trust_domain=domain,
        x509_authorities=tuple(each.certificate for each in parts.x509),
        tainted=frozenset(each.certificate for each in parts.x509 if each.tainted),
        jwt_authorities=parts.keys.jwt,
        wit_authorities=parts.keys.wit,
        sequence=message.sequence_number,
        refresh_hint=timedelta(seconds=seconds) if seconds else None,
    )


def _revised(kept: types.Bundle, bundle: Bundle) -> bytes:
    """The encoded form of a value, with what of a kept message no value can hold."""
    unread = read_keys(kept.jwt_authorities, kept.wit_authorities)
    masks.cut(kept, types.BundleMask()).MergeFrom(bundle_message(bundle))
    kept.jwt_authorities.extend(unread.unread_jwt)
    kept.wit_authorities.extend(unread.unread_wit)
    return kept.SerializeToString()


def _whole_seconds(hint: timedelta) -> int:
    seconds, rest = divmod(hint, timedelta(seconds=1))
    return min(seconds + bool(rest), MAX_HINT_SECONDS)
