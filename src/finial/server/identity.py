"""Who the server is on its TLS port, whom it believes, and the context that says both."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric import ec

from finial.core import pem
from finial.core.bundle import BundleSet
from finial.core.errors import FinialError
from finial.core.ids import SpiffeID, TrustDomain, server_id
from finial.core.keys import write_private_key
from finial.core.match import ExactID, MemberOf
from finial.core.rotation import Lifetime
from finial.core.x509_profile import SVIDRequest
from finial.core.x509cert import Certificate
from finial.core.x509path import VerifiedX509, verify_certificates, verify_x509
from finial.rpc.tls import ServerTLS
from finial.runtime.chance import Chance
from finial.runtime.clock import Clock
from finial.runtime.log import fields
from finial.runtime.tls import KeyPair, server_context
from finial.server.index.index import Index
from finial.server.store.records import Change, ChangeKind

_log = logging.getLogger("finial.server")

_CHECK = timedelta(seconds=5)  # a wall clock that jumps is noticed within this


class Signer(Protocol):
    """What signs."""

    def sign_svid(self, request: SVIDRequest, ttl: timedelta) -> tuple[Certificate, ...]:
        """The chain, leaf first, without the root."""


@dataclass(frozen=True, slots=True)
class _Clients:
    """Accepts every ID of the own trust domain, and of others those of administrators alone."""

    own: TrustDomain
    admins: frozenset[SpiffeID]

    def check(self, spiffe_id: SpiffeID) -> None:
        """Return when it may connect; MatchError otherwise."""
        if spiffe_id not in self.admins:
            MemberOf(self.own).check(spiffe_id)


class ServerIdentity:
    """The server's own SVID, and the TLS of its port. Owned by the event loop.

    Args:
        signer: Signs the SVID.
        index: Has the bundles.
        clock: Judges.
        chance: Spreads renewals.
        ttl: Lifetime of the SVID.
        admin_ids: Who may connect besides the members of the own trust domain.
    """

    def __init__(
        self,
        signer: Signer,
        index: Index,
        *,
        clock: Clock,
        chance: Chance,
        ttl: timedelta,
        admin_ids: Collection[SpiffeID] = (),
    ) -> None:
        self._signer = signer
        self._index = index
        self._clock = clock
        self._chance = chance
        self._ttl = ttl
        self._clients = _Clients(index.trust_domain, frozenset(admin_ids))
        self._domains = {index.trust_domain, *(admin.trust_domain for admin in admin_ids)}
        self._bundles = BundleSet()
        self._pair: KeyPair | None = None
        self._context: ssl.SSLContext | None = None
        self._chain: tuple[Certificate, ...] = ()
        self._due: tuple[datetime, datetime] | None = None  # it is to be renewed before, and from then on
        self._overdue = False  # it was to be renewed at once, and could not be
        self.tls = ServerTLS(context=self.context, verify=self.verify)

    def start(self) -> None:
        """Have a first SVID made, and follow the bundles.

        Raises:
            FinialError: The authority does not sign.
        """
        self._renew()
        self._take_bundles()
        self._index.subscribe(self._changed)

    async def run(self) -> None:
        """Renew the SVID at half of its life, or when the clock has been set back before it, for ever."""
        while True:
            await self._clock.sleep(_CHECK)
            assert self._due is not None
            begin, renewal = self._due
            if self._overdue or not begin <= self._clock.now() < renewal:
                self._try_renew()

    def authority_changed(self, _: Certificate) -> None:
        """Another authority has begun to sign: have the SVID made anew; nothing before `start`."""
        if self._pair is not None:
            self._try_renew()

    def context(self) -> ssl.SSLContext:
        """The context for the next connection; made anew only after a change, for it costs milliseconds."""
        if self._context is None:
            assert self._pair is not None
            bundles = self._bundles.values()
            roots = [authority.der for bundle in bundles for authority in bundle.x509_authorities]
            self._context = server_context(self._pair, roots)
        return self._context

    def verify(self, chain: tuple[bytes, ...]) -> VerifiedX509:
        """What a client's chain proves, against the bundle of the trust domain that its leaf names.

        Raises:
            FinialError: It proves nothing, or an ID that has no business here.
        """
        return verify_x509(chain, self._bundles, now=self._clock.now(), accept=self._clients)

    def _try_renew(self) -> None:
        try:
            self._renew()
        except FinialError as error:
            self._overdue = True
            _log.error(
                "the server's own SVID cannot be renewed and will be tried again",
                extra=fields(error=error, next_step=error.reason.hint),
            )

    def _renew(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        request = SVIDRequest(spiffe_id=server_id(self._index.trust_domain), public_key=key.public_key())
        chain = self._signer.sign_svid(request, self._ttl)
        self._pair = KeyPair(
            pem.write(pem.CERTIFICATE, [certificate.der for certificate in chain]),
            pem.write(pem.PRIVATE_KEY, [write_private_key(key)]),
        )
        self._context = None
        self._chain = chain
        self._overdue = False
        leaf = chain[0]
        lifetime = Lifetime(leaf.not_before, leaf.not_after)
        self._due = leaf.not_before, lifetime.renew_at(self._chance.fraction())
        _log.debug("server SVID issued", extra=fields(expires_at=leaf.not_after.isoformat()))

    def _take_bundles(self) -> None:
        self._bundles = self._index.bundle_set(self._domains)
        self._context = None

    def _changed(self, changes: Sequence[Change]) -> None:
        names = {domain.name for domain in self._domains}
        if any(change.kind is ChangeKind.BUNDLE and change.key in names for change in changes):
            self._take_bundles()
            if not self._trusted():
                self._try_renew()

    def _trusted(self) -> bool:
        """Whether what the own SVID rests on is trusted, and not to be rotated away from."""
        accept = ExactID(server_id(self._index.trust_domain))
        try:
            proof = verify_certificates(self._chain, self._bundles, now=self._clock.now(), accept=accept)
        except FinialError:
            return False
        own = self._bundles.bundle_for(self._index.trust_domain)
        return own is not None and proof.authority not in own.tainted
