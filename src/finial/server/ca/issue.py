"""Signing: whatever a server signs, it signs here, by the authority that is active at that moment."""

from __future__ import annotations

from datetime import datetime, timedelta

from finial.core.ids import TrustDomain
from finial.core.keys import PrivateKey
from finial.core.x509_profile import Issuer, Order, SVIDRequest, issue_svid
from finial.core.x509cert import Certificate
from finial.runtime.chance import Chance, serial_number
from finial.runtime.clock import Clock
from finial.server.ca.orders import INITIALIZING, OrderError


class Authority:
    """The authority of a trust domain, whichever slot it is in.

    Args:
        trust_domain: The only one whose SVIDs it signs.
        clock: Says from when they are valid.
        chance: Gives their serial numbers.
    """

    def __init__(self, trust_domain: TrustDomain, *, clock: Clock, chance: Chance) -> None:
        self._trust_domain = trust_domain
        self._clock = clock
        self._chance = chance
        self._signer: tuple[Issuer, PrivateKey] | None = None  # written by the rotation alone
        # When the last SVID ends, by the authorities that nobody but this object has ever signed by.
        self._ends: dict[Certificate, datetime] = {}

    def __repr__(self) -> str:
        return f"Authority({self._trust_domain}, {self.certificate})"

    @property
    def trust_domain(self) -> TrustDomain:
        """The one whose SVIDs it signs."""
        return self._trust_domain

    @property
    def certificate(self) -> Certificate | None:
        """What it signs by; None before the first activation."""
        return None if self._signer is None else self._signer[0].certificate

    def use(self, certificate: Certificate, key: PrivateKey, *, first: bool = False) -> None:
        """Sign by this from now on; it is published already.

        Args:
            certificate: The signing certificate.
            key: Its key.
            first: Nothing has been signed by it yet.

        Raises:
            IssueError: The certificate's subject cannot be read.
        """
        self._signer = (Issuer(self._trust_domain, certificate), key)
        now = self._clock.now()
        self._ends = {each: end for each, end in self._ends.items() if now < each.not_after}
        if first:
            self._ends[certificate] = now

    def last_end(self, certificate: Certificate) -> datetime:
        """When the last SVID that an authority may have signed ends.

        Args:
            certificate: The authority's; what was signed by it before this process began is not known, and
                then it is the end of the authority itself.
        """
        return self._ends.get(certificate, certificate.not_after)

    def sign_svid(self, request: SVIDRequest, ttl: timedelta) -> tuple[Certificate, ...]:
        """A new X.509-SVID for a workload, a node or the server itself: its leaf, then what lies between
        it and the root, without the root.

        Args:
            request: What it says, decided on by the server.
            ttl: Wished lifetime; it never lives longer than the authority.

        Raises:
            OrderError: There is no authority yet; of kind UNAVAILABLE.
            IssueError: It must not be issued, or the authority is not valid now.
            KeyRefusedError: The subject's key is not one that is accepted.
        """
        if self._signer is None:
            raise OrderError(INITIALIZING, "server is initializing")
        issuer, key = self._signer
        order = Order(now=self._clock.now(), serial=serial_number(self._chance), ttl=ttl)
        leaf = issue_svid(request, issuer, order, key=key)
        end = self._ends.get(issuer.certificate)
        if end is not None and end < leaf.not_after:
            self._ends[issuer.certificate] = leaf.not_after
        return (leaf,)
