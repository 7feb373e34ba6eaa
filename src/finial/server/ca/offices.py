"""What authorities of each kind take turns in: who makes the next one, and who signs by the present one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from cryptography import x509

from finial.core.ids import TrustDomain
from finial.core.keys import KeyType, PrivateKey
from finial.core.token_authority import TokenAuthority
from finial.core.x509_profile import CARequest, Order, issue_root
from finial.core.x509cert import Certificate
from finial.runtime.chance import Chance, serial_number
from finial.server.ca.issue import Authority
from finial.server.ca.kinds import X509, A, Kind
from finial.server.ca.tokens import TokenSigner


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorityPlan:
    """What authorities are made.

    Args:
        ttl: How long one lives.
        key_type: What key it has.
        subject: The name in its certificate, in place of the usual one.
    """

    ttl: timedelta
    key_type: KeyType
    subject: x509.Name | None = None


class Office(Protocol[A]):
    """What a rotation keeps an authority in."""

    @property
    def kind(self) -> Kind[A]:
        """Of the authorities."""

    @property
    def trust_domain(self) -> TrustDomain:
        """Whose they are."""

    @property
    def key_type(self) -> KeyType:
        """What key the next one gets."""

    @property
    def authority(self) -> A | None:
        """The one that signs; None before the first."""

    def make(self, name: str, key: PrivateKey, now: datetime) -> A:
        """A new authority that is valid from now on; nobody knows of it yet.

        Args:
            name: Has never been used before.
            key: New as well.
            now: Aware, UTC.
        """

    def use(self, authority: A, key: PrivateKey, *, first: bool) -> None:
        """Have another authority sign.

        Args:
            authority: It is published already.
            key: Its key.
            first: Nothing has been signed by it yet.
        """

    def last_end(self, authority: A) -> datetime | None:
        """When the last SVID ends that an authority may have signed; None when nobody can say."""


class RootOffice:
    """Roots that X.509-SVIDs are signed by.

    Args:
        plan: What roots to make.
        authority: The one that signs.
        chance: Gives serial numbers.
        on_activated: Called with the signing certificate each time another one begins to sign;
            does not raise.
    """

    def __init__(
        self,
        plan: AuthorityPlan,
        authority: Authority,
        *,
        chance: Chance,
        on_activated: Callable[[Certificate], None],
    ) -> None:
        self._plan = plan
        self._authority = authority
        self._chance = chance
        self._on_activated = on_activated
        self.kind: Kind[Certificate] = X509
        self.trust_domain = authority.trust_domain
        self.key_type = plan.key_type

    @property
    def authority(self) -> Certificate | None:
        """The root that signs."""
        return self._authority.certificate

    def make(self, _name: str, key: PrivateKey, now: datetime) -> Certificate:
        """A new root."""
        order = Order(now=now, serial=serial_number(self._chance), ttl=self._plan.ttl)
        request = CARequest(
            trust_domain=self.trust_domain, public_key=key.public_key(), subject=self._plan.subject
        )
        return issue_root(request, order, key=key)

    def use(self, authority: Certificate, key: PrivateKey, *, first: bool) -> None:
        """Have another root sign."""
        self._authority.use(authority, key, first=first)
        self._on_activated(authority)

    def last_end(self, authority: Certificate) -> datetime:
        """When the last SVID ends that a root may have signed."""
        return self._authority.last_end(authority)


class KeyOffice:
    """Keys that tokens of one kind are signed by.

    Args:
        kind: Of the tokens.
        plan: What keys to make.
        signer: The one who signs.
    """

    def __init__(self, kind: Kind[TokenAuthority], plan: AuthorityPlan, signer: TokenSigner) -> None:
        self._plan = plan
        self._signer = signer
        self.kind = kind
        self.trust_domain = signer.trust_domain
        self.key_type = plan.key_type

    @property
    def authority(self) -> TokenAuthority | None:
        """The key that signs."""
        return self._signer.authority

    def make(self, name: str, key: PrivateKey, now: datetime) -> TokenAuthority:
        """A new key, which tokens call by this name."""
        end = now.replace(microsecond=0) + self._plan.ttl
        return TokenAuthority(key_id=name, key=key.public_key(), expires_at=end)

    def use(self, authority: TokenAuthority, key: PrivateKey, *, first: bool) -> None:
        """Have another key sign."""
        self._signer.use(authority, key, first=first)

    def last_end(self, authority: TokenAuthority) -> datetime | None:
        """When the last token ends that a key may have signed."""
        return self._signer.last_end(authority.key_id) or authority.expires_at
