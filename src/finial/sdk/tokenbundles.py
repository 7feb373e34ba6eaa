"""The keys that the tokens of others are validated with; for each kind of token a type of its own.

Neither type has a way to the other's tokens, or to certificates: what FetchJWTBundles sent validates
JWT-SVIDs and nothing else. Clauses: WAPI-47, WAPI-63.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from finial.core.bundle import Bundle, BundleSet
from finial.core.bundle_doc import write_jwks, write_wit_jwks
from finial.core.ids import TrustDomain
from finial.core.jwtsvid import VerifiedJWT, validate_jwt
from finial.core.seen_proofs import SeenProofs
from finial.core.token_authority import TokenAuthority
from finial.core.witsvid import VerifiedWIT, validate_wit
from finial.core.wpt import ProofScope


@dataclass(frozen=True, slots=True, init=False)
class _TokenBundles(ABC):
    """What both types have in common; neither is one of the other."""

    _held: BundleSet

    def __init__(self, bundles: Iterable[Bundle] = ()) -> None:
        object.__setattr__(self, "_held", BundleSet(map(self._kept, bundles)))

    def authorities(self, trust_domain: TrustDomain) -> tuple[TokenAuthority, ...]:
        """The keys of a trust domain; none when it is unknown, or has no such tokens."""
        bundle = self._held.bundle_for(trust_domain)
        return () if bundle is None else self._keys(bundle)

    def key_sets(self) -> dict[TrustDomain, bytes]:
        """The keys as plain JWK Sets, for validators that know nothing of SPIFFE. Clauses: WAPI-76.

        Such a validator has to be told the trust domain as well, and must take the keys for subjects of that
        trust domain alone.
        """
        return {each: self._key_set(self._held[each]) for each in self}

    def __iter__(self) -> Iterator[TrustDomain]:
        return iter(sorted(self._held))

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, trust_domain: object) -> bool:
        return trust_domain in self._held

    @staticmethod
    @abstractmethod
    def _kept(bundle: Bundle) -> Bundle:
        """The keys for these tokens, and nothing else of the bundle."""

    @staticmethod
    @abstractmethod
    def _keys(bundle: Bundle) -> tuple[TokenAuthority, ...]:
        """Those keys."""

    @staticmethod
    @abstractmethod
    def _key_set(bundle: Bundle) -> bytes:
        """Those keys as a JWK Set."""


class JWTBundles(_TokenBundles):
    """The keys for JWT-SVIDs of several trust domains, immutable; iterating gives the trust domains.

    Args:
        bundles: At most one of each trust domain; nothing but their JWT authorities is kept.

    Raises:
        BundleError: Two of one trust domain.
    """

    __slots__ = ()

    def validate(
        self, token: str, *audience: str, now: datetime, leeway: timedelta = timedelta(0)
    ) -> VerifiedJWT:
        """The SPIFFE ID that a token proves. Clauses: WAPI-75.

        `WorkloadClient.validate_jwt_svid` is the first choice; this asks nobody. Clauses: WAPI-74

        Args:
            token: As it was shown, without `Bearer`.
            audience: The names that this service goes by; the token has to be meant for one of them.
            now: Aware, UTC.
            leeway: By how much clocks may differ, at most two minutes.

        Raises:
            TokenParseError: It is no JWT-SVID.
            TokenVerifyError: It proves nothing here; `findings` lists every reason.
        """
        return validate_jwt(token, self._held, audience, now=now, leeway=leeway)

    @staticmethod
    def _kept(bundle: Bundle) -> Bundle:
        return Bundle(trust_domain=bundle.trust_domain, jwt_authorities=bundle.jwt_authorities)

    @staticmethod
    def _keys(bundle: Bundle) -> tuple[TokenAuthority, ...]:
        return bundle.jwt_authorities

    @staticmethod
    def _key_set(bundle: Bundle) -> bytes:
        return write_jwks(bundle)


class WITBundles(_TokenBundles):
    """The keys for WIT-SVIDs of several trust domains, immutable; iterating gives the trust domains.

    Args:
        bundles: At most one of each trust domain; nothing but their WIT authorities is kept.

    Raises:
        BundleError: Two of one trust domain.
    """

    __slots__ = ()

    def validate(
        self,
        token: str,
        proof: str,
        *,
        scope: ProofScope,
        now: datetime,
        leeway: timedelta = timedelta(0),
        longest: timedelta | None = None,
        seen: SeenProofs | None = None,
    ) -> VerifiedWIT:
        """The SPIFFE ID that a token and a proof prove for one request; without a proof there is none.

        Args:
            token: The WIT-SVID, as it was shown.
            proof: What was shown with it.
            scope: The request that both came with.
            now: Aware, UTC.
            leeway: By how much clocks may differ, at most two minutes.
            longest: How long a WIT-SVID may live at most; None for any time.
            seen: Accepts each proof once; without it a proof is good until it ends.

        Raises:
            TokenParseError: One of them breaks a rule before anything is proven.
            TokenVerifyError: They prove nothing here; `findings` lists every reason.
        """
        return validate_wit(
            token, proof, self._held, scope=scope, now=now, leeway=leeway, longest=longest, seen=seen
        )

    @staticmethod
    def _kept(bundle: Bundle) -> Bundle:
        return Bundle(trust_domain=bundle.trust_domain, wit_authorities=bundle.wit_authorities)

    @staticmethod
    def _keys(bundle: Bundle) -> tuple[TokenAuthority, ...]:
        return bundle.wit_authorities

    @staticmethod
    def _key_set(bundle: Bundle) -> bytes:
        return write_wit_jwks(bundle)
