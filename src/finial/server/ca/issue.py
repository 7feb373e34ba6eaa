"""Signing: whatever a server signs, it signs here, by the authority that is active at that moment."""

from __future__ import annotations

from datetime import timedelta

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

    def use(self, certificate: Certificate, key: PrivateKey) -> None:
        """Sign by this from now on; it is published already.

        Args:
            certificate: The signing certificate.
            key: Its key.

        Raises:
            IssueError: The certificate's subject cannot be read.
        """
        self._signer = (Issuer(self._trust_domain, certificate), key)

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
        return (issue_svid(request, issuer, order, key=key),)
