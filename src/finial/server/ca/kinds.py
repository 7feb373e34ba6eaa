"""The kinds of authorities, and what is different about each: how it lies in a bundle and in a row. Pure.

Whatever else happens to an authority happens to all kinds alike, and is written down once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol, TypeVar

from finial.core.bundle import Bundle
from finial.core.errors import shown
from finial.core.ids import TrustDomain
from finial.core.keys import public_key_der, read_public_key
from finial.core.token_authority import TokenAuthority
from finial.core.x509cert import Certificate

AnyAuthority = Certificate | TokenAuthority
"""What verifiers are given of an authority: a signing certificate, or a key with its id."""

A = TypeVar("A", bound=AnyAuthority)


class KindName(StrEnum):
    """What an authority signs; the word stands in journals, in the names of keys and on command lines."""

    X509 = "x509"
    JWT = "jwt"
    WIT = "wit"


def authority_id_of(authority: AnyAuthority) -> str:
    """How operators name an authority.

    Of a certificate the subject key id in lower-case hex, empty when it has none; of a key for tokens its id.
    """
    if isinstance(authority, TokenAuthority):
        return authority.key_id
    return (authority.subject_key_id or b"").hex()


def end_of(authority: AnyAuthority) -> datetime | None:
    """When an authority ends; None when nobody says."""
    return authority.expires_at if isinstance(authority, TokenAuthority) else authority.not_after


@dataclass(frozen=True, slots=True)
class Kept:
    """An authority as a row of the journal has it.

    Args:
        name: The random part of its key's id in the key manager.
        data: DER of the certificate, or of the public key.
        end: Of a key for tokens; None where the certificate says it.
    """

    name: str
    data: bytes
    end: datetime | None = None


class Kind(Protocol[A]):
    """Authorities of one kind. No taints are in what is handed out, so that equal is what is the same."""

    @property
    def name(self) -> KindName:
        """Which kind."""

    @property
    def title(self) -> str:
        """For people."""

    @property
    def counted(self) -> bool:
        """Whether agents report how many SVIDs rest on one; tokens are with workloads, who report nothing."""

    def published(self, bundle: Bundle) -> Sequence[A]:
        """Those in a bundle, in its order."""

    def tainted(self, bundle: Bundle) -> Collection[A]:
        """Those of them from which to rotate away."""

    def put(self, bundle: Bundle, authorities: Sequence[A], tainted: Collection[A]) -> Bundle:
        """A bundle with exactly these in place of those that it has.

        Raises:
            BundleError: Two keys for tokens, of one kind or of both, have one key id. Clauses: WIT-46.
        """

    def to_kept(self, authority: A) -> Kept:
        """An authority as it is written down, without the name of its key."""

    def from_kept(self, kept: Kept) -> A:
        """The authority that was written down.

        Raises:
            RefusedError: It is none.
        """

    def stranger(self, authority: A, trust_domain: TrustDomain) -> str:
        """Whose it is, for people; empty when it is the trust domain's or does not say."""


class X509Kind:
    """Signing certificates of X.509-SVIDs."""

    name: Final = KindName.X509
    title: Final = "X.509"
    counted: Final = True

    def published(self, bundle: Bundle) -> Sequence[Certificate]:
        """Those in a bundle, in its order."""
        return bundle.x509_authorities

    def tainted(self, bundle: Bundle) -> Collection[Certificate]:
        """Those of them from which to rotate away."""
        return bundle.tainted

    def put(
        self, bundle: Bundle, authorities: Sequence[Certificate], tainted: Collection[Certificate]
    ) -> Bundle:
        """A bundle with exactly these in place of those that it has."""
        return replace(bundle, x509_authorities=tuple(authorities), tainted=frozenset(tainted))

    def to_kept(self, authority: Certificate) -> Kept:
        """An authority as it is written down."""
        return Kept("", authority.der)

    def from_kept(self, kept: Kept) -> Certificate:
        """The authority that was written down."""
        return Certificate.parse(kept.data)

    def stranger(self, authority: Certificate, trust_domain: TrustDomain) -> str:
        """Whose it is, for people; empty when it is the trust domain's."""
        names = authority.names.uris
        if names == (trust_domain.id.text,):
            return ""
        return ", ".join(map(shown, names)) or "no trust domain"


_Keys = tuple[TokenAuthority, ...]


@dataclass(frozen=True, slots=True)
class TokenKind:
    """Keys of tokens. A key's id is the random part of its name in the key manager, so that the one leads to
    the other, and none is ever used again. Clauses: JWT-35, WIT-04, WIT-45.

    Args:
        name: Which kind of tokens.
        title: The same for people.
        read: Their keys in a bundle.
        write: The bundle with these keys for them.
        counted: Whether agents report how many tokens rest on one.
    """

    name: KindName
    title: str
    read: Callable[[Bundle], _Keys]
    write: Callable[[Bundle, _Keys], Bundle]
    counted: bool = False

    def published(self, bundle: Bundle) -> Sequence[TokenAuthority]:
        """Those in a bundle, in its order."""
        return tuple(_untainted(each) for each in self.read(bundle))

    def tainted(self, bundle: Bundle) -> Collection[TokenAuthority]:
        """Those of them from which to rotate away."""
        return frozenset(_untainted(each) for each in self.read(bundle) if each.tainted)

    def put(
        self, bundle: Bundle, authorities: Sequence[TokenAuthority], tainted: Collection[TokenAuthority]
    ) -> Bundle:
        """A bundle with exactly these in place of those that it has."""
        keys = (replace(each, tainted=each in tainted) for each in dict.fromkeys(authorities))
        return self.write(bundle, tuple(keys))

    def to_kept(self, authority: TokenAuthority) -> Kept:
        """An authority as it is written down."""
        return Kept(authority.key_id, public_key_der(authority.key), authority.expires_at)

    def from_kept(self, kept: Kept) -> TokenAuthority:
        """The authority that was written down."""
        return TokenAuthority(key_id=kept.name, key=read_public_key(kept.data), expires_at=kept.end)

    def stranger(self, _authority: TokenAuthority, _trust_domain: TrustDomain) -> str:
        """Nothing: keys do not say whose they are."""
        return ""


def _untainted(authority: TokenAuthority) -> TokenAuthority:
    return replace(authority, tainted=False) if authority.tainted else authority


X509: Final = X509Kind()
JWT: Final = TokenKind(
    KindName.JWT,
    "JWT",
    lambda bundle: bundle.jwt_authorities,
    lambda bundle, keys: replace(bundle, jwt_authorities=keys),
)
WIT: Final = TokenKind(
    KindName.WIT,
    "WIT",
    lambda bundle: bundle.wit_authorities,
    lambda bundle, keys: replace(bundle, wit_authorities=keys),
)


def named(kind: Kind[A], bundle: Bundle | None, authority_id: str) -> Sequence[A]:
    """The authorities of a kind in a bundle that have this ID."""
    authorities = () if bundle is None else kind.published(bundle)
    return [each for each in authorities if authority_id_of(each) == authority_id]


def with_authority(kind: Kind[A], bundle: Bundle, authority: A) -> Bundle:
    """A bundle in which an authority is trusted besides the others.

    Raises:
        BundleError: Another key for tokens has its key id.
    """
    return kind.put(bundle, [*kind.published(bundle), authority], kind.tainted(bundle))


def with_taint(kind: Kind[A], bundle: Bundle, authority_id: str) -> Bundle:
    """A bundle that says to rotate away from the authority with this ID."""
    tainted = {*kind.tainted(bundle), *named(kind, bundle, authority_id)}
    return kind.put(bundle, kind.published(bundle), tainted)


def without(kind: Kind[A], bundle: Bundle, authority_ids: Collection[str]) -> Bundle:
    """A bundle in which the authorities with these IDs are trusted no more."""
    kept = [each for each in kind.published(bundle) if authority_id_of(each) not in authority_ids]
    return kind.put(bundle, kept, kind.tainted(bundle))
