"""Bundles of the server's API: messages, values of ours, and the form that is kept.

A value holds the X.509 authorities, the refresh hint and the sequence number. Authorities for JWT-SVIDs are
nothing that it could hold, and still must not be lost: what is kept is therefore the encoded message, and the
value is read from it. Authorities for WIT-SVIDs are dropped when somebody sets a bundle, as SPIRE does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, NamedTuple

from finial.core.bundle import Bundle
from finial.core.errors import BundleError, Finding, Kind, Reason, RefusedError
from finial.core.ids import TrustDomain
from finial.core.keys import read_public_key
from finial.core.reasons import bundle as reasons
from finial.core.rules.bundle import MAX_HINT_SECONDS
from finial.core.rules.engine import Stage
from finial.core.rules.x509 import AUTHORITY
from finial.core.x509cert import Certificate, parse_concatenated
from finial.wire import masks
from finial.wire.gen import spire_api_types as types
from finial.wire.methods import decoder
from finial.wire.registry import placed, read_domain

X509_AUTHORITY: Final = Reason(
    "bundle-x509-authority",
    Kind.INVALID,
    hint="Give the DER of signing certificates, one or several after each other.",
    meaning="An X.509 authority of a bundle cannot be read, or is not a signing certificate.",
)
JWT_AUTHORITY: Final = Reason(
    "bundle-jwt-authority",
    Kind.INVALID,
    hint="Give the key in PKIX form, with a key id.",
    meaning="A JWT authority of a bundle has no key id, or its key cannot be read.",
)
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
        x509_authorities=[
            types.X509Certificate(asn1=authority.der, tainted=authority in bundle.tainted)
            for authority in bundle.x509_authorities
        ],
        refresh_hint=0 if hint is None else _whole_seconds(hint),
        sequence_number=bundle.sequence,
    )


def read_bundle(message: types.Bundle) -> Bundle:
    """The bundle that a server sends: taints count, and authorities for tokens are passed over.

    Raises:
        BundleError: A certificate cannot be read, or a number is out of range.
        SpiffeIDError: Its trust domain is none.
    """
    domain = read_domain(message.trust_domain)
    return _bundle(message, domain, _authorities(message.x509_authorities))


def accept(message: types.Bundle) -> KeptBundle:
    """The bundle that somebody sets: it is judged, and nobody but its own server taints an authority.

    Each authority is kept once, alone in its field. Authorities for JWT-SVIDs are kept in the encoded form.

    Raises:
        BundleError: An authority is none, or a number is out of range.
        SpiffeIDError: Its trust domain is none.
    """
    domain = read_domain(message.trust_domain)
    read, findings = _authorities(message.x509_authorities)
    for each in read:
        findings += _not_authority(each)
    findings += _jwt_findings(message.jwt_authorities)
    untainted = [each._replace(tainted=False) for each in read]
    bundle = _bundle(message, domain, _Read(untainted, findings))
    kept = bundle_message(bundle)
    kept.jwt_authorities.extend(_untainted(message.jwt_authorities))
    return KeptBundle(bundle, kept.SerializeToString())


def extended(
    data: bytes, x509: Iterable[types.X509Certificate], jwt: Iterable[types.JWTKey]
) -> KeptBundle | None:
    """A kept bundle with more authorities and the next sequence number; None when it has them all already.

    Args:
        data: The kept form.
        x509: X.509 authorities; taints are not looked at.
        jwt: JWT authorities, told apart by their key ids.

    Raises:
        BundleError: One of them is none.
    """
    kept = _read(data)
    more = accept(types.Bundle(trust_domain=kept.trust_domain, x509_authorities=x509, jwt_authorities=jwt))
    there = {each.asn1 for each in kept.x509_authorities}
    key_ids = {each.key_id for each in kept.jwt_authorities}
    message = _read(more.data)
    new_x509 = [each for each in message.x509_authorities if each.asn1 not in there]
    new_jwt = [each for each in message.jwt_authorities if each.key_id not in key_ids]
    if not new_x509 and not new_jwt:
        return None
    kept.x509_authorities.extend(new_x509)
    kept.jwt_authorities.extend(new_jwt)
    kept.sequence_number += 1
    return KeptBundle(read_bundle(kept), kept.SerializeToString())


def encode(bundle: Bundle) -> bytes:
    """The kept form of a bundle that has nothing but what the value holds."""
    return bundle_message(bundle).SerializeToString()


def decode(data: bytes) -> Bundle:
    """The bundle in its kept form.

    Raises:
        BundleError: The bytes are no bundle, or one that breaks a rule.
        SpiffeIDError: Its trust domain is none.
    """
    return read_bundle(_read(data))


def revised(data: bytes, bundle: Bundle) -> bytes:
    """The kept form after a change: what the value holds is replaced, the rest stays.

    Args:
        data: The kept form before.
        bundle: The value after.

    Raises:
        BundleError: The bytes are no bundle.
    """
    kept = _read(data)
    for name in ("x509_authorities", "refresh_hint", "sequence_number", "trust_domain"):
        kept.ClearField(name)
    kept.MergeFrom(bundle_message(bundle))
    return kept.SerializeToString()


def replaced(data: bytes, new: KeptBundle, mask: types.BundleMask | None) -> KeptBundle:
    """A kept bundle with the selected parts of another one of its trust domain.

    Args:
        data: The kept form of the first.
        new: The second.
        mask: What is taken from the second; None takes everything.

    Raises:
        BundleError: The bytes are no bundle.
    """
    message = masks.merged(_read(data), _read(new.data), mask)
    return KeptBundle(read_bundle(message), message.SerializeToString())


def message_of(data: bytes) -> types.Bundle:
    """The kept form as a message.

    Raises:
        BundleError: The bytes are no bundle.
    """
    return _read(data)


def _read(data: bytes) -> types.Bundle:
    try:
        return _decode(data)
    except ValueError as error:
        raise BundleError.because(UNREADABLE, str(error)) from error


def _whole_seconds(hint: timedelta) -> int:
    seconds, rest = divmod(hint, timedelta(seconds=1))
    return min(seconds + bool(rest), MAX_HINT_SECONDS)


class _Authority(NamedTuple):
    where: str
    certificate: Certificate
    tainted: bool


class _Read(NamedTuple):
    authorities: list[_Authority]
    findings: list[Finding]


def _authorities(messages: Iterable[types.X509Certificate]) -> _Read:
    """What can be read of the X.509 authorities, and what is wrong with the rest."""
    read = _Read([], [])
    for number, message in enumerate(messages):
        where = f"x509_authorities[{number}]"
        if not message.asn1:
            read.findings.append(Finding(X509_AUTHORITY, "there is no certificate", where))
        try:
            found = parse_concatenated(message.asn1)
        except RefusedError as error:
            read.findings.extend(Finding(X509_AUTHORITY, str(each), where) for each in error.findings)
        else:
            read.authorities.extend(_Authority(where, each, message.tainted) for each in found)
    return read


def _bundle(message: types.Bundle, domain: TrustDomain, read: _Read) -> Bundle:
    """The bundle in a message.

    Raises:
        BundleError: Something is wrong with it, now or before.
    """
    seconds = message.refresh_hint
    if not 0 <= seconds <= MAX_HINT_SECONDS:
        text = f"{seconds} is not a number of seconds, zero or more, or is absurdly large"
        read.findings.append(Finding(reasons.BUNDLE_REFRESH_HINT, text, "refresh_hint"))
    if read.findings:
        raise BundleError(read.findings, subject=domain.name)
    return Bundle(
        trust_domain=domain,
        x509_authorities=tuple(each.certificate for each in read.authorities),
        tainted=frozenset(each.certificate for each in read.authorities if each.tainted),
        sequence=message.sequence_number,
        refresh_hint=timedelta(seconds=seconds) if seconds else None,
    )


def _not_authority(authority: _Authority) -> Iterator[Finding]:
    for finding in AUTHORITY.findings(authority.certificate, Stage.PARSE):
        message = f"the certificate is no authority: {finding.message}"
        yield Finding(X509_AUTHORITY, message, authority.where)


def _jwt_findings(keys: Iterable[types.JWTKey]) -> Iterator[Finding]:
    for number, key in enumerate(keys):
        where = f"jwt_authorities[{number}]"
        if not key.key_id:
            yield Finding(JWT_AUTHORITY, "missing key ID", where)
        try:
            read_public_key(key.public_key)
        except RefusedError as error:
            yield from (Finding(JWT_AUTHORITY, str(each), where) for each in placed(error, "public_key"))


def _untainted(keys: Iterable[types.JWTKey]) -> Iterator[types.JWTKey]:
    """The keys without their taints, each key id once."""
    by_id: dict[str, types.JWTKey] = {}
    for key in keys:
        by_id.setdefault(
            key.key_id,
            types.JWTKey(public_key=key.public_key, key_id=key.key_id, expires_at=key.expires_at),
        )
    yield from by_id.values()
