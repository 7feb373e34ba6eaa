"""Trust bundles: the authorities of one trust domain, always together with its name.

There is no way to pour two bundles together. A set of bundles is asked for the one of a trust domain, and
whoever verifies asks for the domain that the leaf names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import MappingProxyType
from typing import Protocol

from finial.core.errors import BundleError, Finding, shown
from finial.core.ids import TrustDomain
from finial.core.keys import public_key_der
from finial.core.reasons import bundle as reasons
from finial.core.rules.bundle import MAX_SEQUENCE, whole
from finial.core.token_authority import TokenAuthority
from finial.core.x509cert import Certificate


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """What proves the SVIDs of one trust domain.

    Equal authorities collapse into one; their order is kept otherwise. A bundle without any is valid and
    means that every SVID of that kind is untrusted (BUNDLE-23). Equality and hash are by content.

    Args:
        trust_domain: Whose authorities these are. spec: BUNDLE-05
        x509_authorities: Certificates that X.509-SVIDs may chain to; they need not be self-signed.
        tainted: Those of them from which to rotate away; still trusted. Others are left out.
        jwt_authorities: Keys that JWT-SVIDs are signed with, by key id.
        wit_authorities: Keys that WIT-SVIDs are signed with; none has a key id of the others. spec: WIT-46
        sequence: Rises with each change that others see; 0 to 2^64-1, 0 when the publisher gives none.
        refresh_hint: How often to look for a newer one; None when the publisher gives none.

    Raises:
        BundleError: The sequence or the hint is out of range, or two keys for tokens have one key id.
    """

    trust_domain: TrustDomain
    x509_authorities: tuple[Certificate, ...] = ()
    tainted: frozenset[Certificate] = frozenset()
    jwt_authorities: tuple[TokenAuthority, ...] = ()
    wit_authorities: tuple[TokenAuthority, ...] = ()
    sequence: int = 0
    refresh_hint: timedelta | None = None
    _by_subject: Mapping[bytes, tuple[Certificate, ...]] = field(init=False, repr=False, compare=False)
    _jwt: Mapping[str, TokenAuthority] = field(init=False, repr=False, compare=False)
    _wit: Mapping[str, TokenAuthority] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        findings = []
        if not whole(self.sequence, MAX_SEQUENCE):
            message = "the sequence number is not between 0 and 2^64-1"
            findings.append(Finding(reasons.BUNDLE_SEQUENCE, message))
        if self.refresh_hint is not None and self.refresh_hint <= timedelta(0):
            findings.append(Finding(reasons.BUNDLE_REFRESH_HINT, "the refresh hint is not positive"))
        key_ids: set[str] = set()
        for each in (*self.jwt_authorities, *self.wit_authorities):
            if each.key_id in key_ids:
                message = f"two keys have the key id {shown(each.key_id)}"
                findings.append(Finding(reasons.ENTRY_KEY_ID, message))
            key_ids.add(each.key_id)
        if findings:
            raise BundleError(findings, subject=self.trust_domain.name)
        authorities = tuple(dict.fromkeys(self.x509_authorities))
        by_subject: dict[bytes, tuple[Certificate, ...]] = {}
        for authority in authorities:
            by_subject[authority.subject] = (*by_subject.get(authority.subject, ()), authority)
        object.__setattr__(self, "x509_authorities", authorities)
        object.__setattr__(self, "tainted", self.tainted.intersection(authorities))
        object.__setattr__(self, "_by_subject", MappingProxyType(by_subject))
        jwt = {each.key_id: each for each in self.jwt_authorities}
        wit = {each.key_id: each for each in self.wit_authorities}
        object.__setattr__(self, "_jwt", MappingProxyType(jwt))
        object.__setattr__(self, "_wit", MappingProxyType(wit))

    def named(self, subject: bytes) -> Sequence[Certificate]:
        """The authorities with this name.

        Args:
            subject: DER of the name.
        """
        return self._by_subject.get(subject, ())

    def jwt_authority(self, key_id: str) -> TokenAuthority | None:
        """The key for JWT-SVIDs with this key id. Clauses: JWT-36."""
        return self._jwt.get(key_id)

    def wit_authority(self, key_id: str) -> TokenAuthority | None:
        """The key for WIT-SVIDs with this key id. Clauses: WIT-47."""
        return self._wit.get(key_id)

    def untainted(self) -> Bundle:
        """The same without any taint: what others than agents are told."""
        tokens = (*self.jwt_authorities, *self.wit_authorities)
        if not self.tainted and not any(each.tainted for each in tokens):
            return self
        return replace(
            self,
            tainted=frozenset(),
            jwt_authorities=tuple(replace(each, tainted=False) for each in self.jwt_authorities),
            wit_authorities=tuple(replace(each, tainted=False) for each in self.wit_authorities),
        )

    def same_content(self, other: Bundle) -> bool:
        """Whether two bundles differ in nothing that has to raise the sequence number. Clauses: BUNDLE-14."""
        return self._content() == other._content()

    def _content(self) -> tuple[object, ...]:
        return (
            self.trust_domain,
            frozenset(self.x509_authorities),
            self.tainted,
            frozenset(self.jwt_authorities),
            frozenset(self.wit_authorities),
            self.refresh_hint,
        )


class BundleSource(Protocol):
    """Where a verifier gets its bundles."""

    def bundle_for(self, trust_domain: TrustDomain) -> Bundle | None:
        """The bundle of exactly this trust domain, or None when there is no federation with it."""


@dataclass(frozen=True, slots=True, init=False)
class BundleSet(Mapping[TrustDomain, Bundle]):
    """The bundles of several trust domains, each under its name; an immutable mapping.

    Args:
        bundles: At most one of each trust domain.

    Raises:
        BundleError: Two of one trust domain.
    """

    _bundles: Mapping[TrustDomain, Bundle]

    def __init__(self, bundles: Iterable[Bundle] = ()) -> None:
        held: dict[TrustDomain, Bundle] = {}
        for bundle in bundles:
            if held.setdefault(bundle.trust_domain, bundle) is not bundle:
                message = f"two bundles of trust domain {bundle.trust_domain}"
                raise BundleError.because(reasons.BUNDLE_DUPLICATE_DOMAIN, message)
        object.__setattr__(self, "_bundles", MappingProxyType(held))

    def bundle_for(self, trust_domain: TrustDomain) -> Bundle | None:
        """The bundle of exactly this trust domain, or None."""
        return self._bundles.get(trust_domain)

    def with_bundle(self, bundle: Bundle) -> BundleSet:
        """A set in which this bundle stands in place of the one of its trust domain."""
        return BundleSet({**self._bundles, bundle.trust_domain: bundle}.values())

    def without(self, trust_domain: TrustDomain) -> BundleSet:
        """A set that knows nothing of this trust domain."""
        return BundleSet(bundle for domain, bundle in self._bundles.items() if domain != trust_domain)

    def shared_authorities(self) -> tuple[Finding, ...]:
        """One finding for each authority key that two trust domains publish. Clauses: BUNDLE-02."""
        owner: dict[object, TrustDomain] = {}
        found: list[Finding] = []
        for domain, bundle in sorted(self._bundles.items()):
            for key in dict.fromkeys(_keys_of(bundle)):
                first = owner.setdefault(key, domain)
                if first != domain:
                    message = f"trust domains {first} and {domain} publish an authority with one key"
                    found.append(Finding(reasons.BUNDLE_FOREIGN_AUTHORITY, message, where=domain.name))
        return tuple(found)

    def __getitem__(self, trust_domain: TrustDomain) -> Bundle:
        return self._bundles[trust_domain]

    def __iter__(self) -> Iterator[TrustDomain]:
        return iter(self._bundles)

    def __len__(self) -> int:
        return len(self._bundles)

    def __hash__(self) -> int:
        return hash(frozenset(self._bundles.values()))


def _keys_of(bundle: Bundle) -> Iterator[bytes]:
    for authority in bundle.x509_authorities:
        # Without a key that is understood, only the very same certificate counts as shared.
        yield authority.der if authority.key is None else public_key_der(authority.key)
    for each in (*bundle.jwt_authorities, *bundle.wit_authorities):
        yield public_key_der(each.key)
