"""The authorities in a bundle's message: certificates, and the keys for tokens of both kinds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

from finial.core.bundle import Bundle
from finial.core.bundle_entries import TokenAuthorities
from finial.core.claims import LAST_SECOND
from finial.core.errors import BundleError, Finding, Kind, Reason, RefusedError
from finial.core.keys import public_key_der, read_public_key
from finial.core.rules.bundle import JWT_USE, WIT_USE
from finial.core.rules.engine import Stage
from finial.core.rules.x509 import AUTHORITY
from finial.core.token_authority import TokenAuthority
from finial.core.x509cert import Certificate, parse_concatenated
from finial.wire.gen import spire_api_types as types
from finial.wire.registry import placed

_KEY_HINT = "Give an RSA key, or one on the curves P-256, P-384 and P-521, in PKIX form with a key id."
X509_AUTHORITY: Final = Reason(
    "bundle-x509-authority",
    Kind.INVALID,
    hint="Give the DER of signing certificates, one or several after each other.",
    meaning="An X.509 authority of a bundle cannot be read, or is not a signing certificate.",
)
JWT_AUTHORITY: Final = Reason(
    "bundle-jwt-authority",
    Kind.INVALID,
    hint=_KEY_HINT,
    meaning="A JWT authority of a bundle lacks a key id, has that of another key, or cannot sign tokens.",
)
WIT_AUTHORITY: Final = Reason(
    "bundle-wit-authority",
    Kind.INVALID,
    hint=_KEY_HINT,
    meaning="A WIT authority of a bundle lacks a key id, has that of another key, or cannot sign tokens.",
)


class X509(NamedTuple):
    """A certificate that could be read.

    Args:
        where: The field that it stands in, with others perhaps.
        certificate: Itself.
        tainted: What the field says of it.
    """

    where: str
    certificate: Certificate
    tainted: bool


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys for tokens in a message.

    Args:
        jwt: Those for JWT-SVIDs that could be read.
        wit: Those for WIT-SVIDs that could be read.
        findings: What is wrong with the others.
        unread_jwt: The others, as they came.
        unread_wit: The others, as they came.
    """

    jwt: tuple[TokenAuthority, ...]
    wit: tuple[TokenAuthority, ...]
    findings: tuple[Finding, ...]
    unread_jwt: tuple[types.JWTKey, ...]
    unread_wit: tuple[types.WITKey, ...]


def x509_messages(bundle: Bundle) -> list[types.X509Certificate]:
    """The X.509 authorities of a bundle, each alone in its field."""
    return [
        types.X509Certificate(asn1=authority.der, tainted=authority in bundle.tainted)
        for authority in bundle.x509_authorities
    ]


def jwt_messages(authorities: Iterable[TokenAuthority]) -> list[types.JWTKey]:
    """Some JWT authorities."""
    return [
        types.JWTKey(
            public_key=public_key_der(each.key),
            key_id=each.key_id,
            expires_at=_seconds(each.expires_at),
            tainted=each.tainted,
        )
        for each in authorities
    ]


def wit_messages(authorities: Iterable[TokenAuthority]) -> list[types.WITKey]:
    """Some WIT authorities."""
    return [
        types.WITKey(
            public_key=public_key_der(each.key),
            key_id=each.key_id,
            expires_at=_seconds(each.expires_at),
            tainted=each.tainted,
        )
        for each in authorities
    ]


def read_x509(messages: Iterable[types.X509Certificate]) -> tuple[list[X509], list[Finding]]:
    """What can be read of the X.509 authorities, and what is wrong with the rest."""
    read: list[X509] = []
    findings: list[Finding] = []
    for number, message in enumerate(messages):
        where = f"x509_authorities[{number}]"
        if not message.asn1:
            findings.append(Finding(X509_AUTHORITY, "there is no certificate", where))
        try:
            found = parse_concatenated(message.asn1)
        except RefusedError as error:
            findings.extend(Finding(X509_AUTHORITY, str(each), where) for each in error.findings)
        else:
            read.extend(X509(where, each, message.tainted) for each in found)
    return read, findings


def not_authorities(read: Iterable[X509]) -> Iterator[Finding]:
    """What makes certificates no signing certificates."""
    for each in read:
        for finding in AUTHORITY.findings(each.certificate, Stage.PARSE):
            message = f"the certificate is no authority: {finding.message}"
            yield Finding(X509_AUTHORITY, message, each.where)


def read_keys(jwt: Sequence[types.JWTKey], wit: Sequence[types.WITKey]) -> Keys:
    """The keys for tokens in a bundle's message, where no two have one key id. Clauses: JWT-35, WIT-46."""
    held = TokenAuthorities()
    faults = [_take(held, JWT_USE, each) for each in jwt]
    more = [_take(held, WIT_USE, each) for each in wit]
    return Keys(
        jwt=held.of(JWT_USE),
        wit=held.of(WIT_USE),
        findings=(
            *_findings(JWT_AUTHORITY, "jwt_authorities", faults),
            *_findings(WIT_AUTHORITY, "wit_authorities", more),
        ),
        unread_jwt=tuple(each for each, found in zip(jwt, faults, strict=True) if found),
        unread_wit=tuple(each for each, found in zip(wit, more, strict=True) if found),
    )


def _take(held: TokenAuthorities, use: str, message: types.JWTKey | types.WITKey) -> list[str]:
    """Add a key to the others; what is wrong with it, if anything is."""
    faults = [] if message.key_id else ["missing key ID"]
    if not 0 <= message.expires_at <= LAST_SECOND:
        faults.append(f"expires_at: {message.expires_at} is not a time between 1970 and the year 9999")
    try:
        key = read_public_key(message.public_key)
    except RefusedError as error:
        return [*faults, *(str(each) for each in placed(error, "public_key"))]
    if faults:
        return faults
    ends = datetime.fromtimestamp(message.expires_at, UTC) if message.expires_at else None
    try:
        authority = TokenAuthority(key_id=message.key_id, key=key, expires_at=ends, tainted=message.tainted)
    except BundleError as error:
        return [each.message for each in error.findings]
    taken = held.add(use, authority)
    return [taken] if taken else []


def _findings(reason: Reason, field: str, faults: Iterable[Iterable[str]]) -> Iterator[Finding]:
    for number, found in enumerate(faults):
        yield from (Finding(reason, fault, f"{field}[{number}]") for fault in found)


def _seconds(instant: datetime | None) -> int:
    return 0 if instant is None else int(instant.timestamp())
