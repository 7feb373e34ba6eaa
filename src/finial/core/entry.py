"""A registration entry: whatever has all these selectors, under this parent, is this SPIFFE ID."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import datetime, timedelta

from finial.core import dns
from finial.core.errors import EntryError, Finding, Reason, shown
from finial.core.ids import SpiffeID, TrustDomain
from finial.core.reasons import registry as reasons
from finial.core.selectors import Selector, canonical

MAX_ENTRY_ID_CHARACTERS = 255
MAX_HINT_CHARACTERS = 1024
_ENTRY_ID = re.compile(rf"[A-Za-z0-9._-]{{1,{MAX_ENTRY_ID_CHARACTERS}}}")
_NO_TIME = timedelta(0)
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationEntry:
    """One entry, checked as a whole: it names every rule it breaks.

    Selectors, domains and DNS names are sets: repetitions go. The first two take their canonical order here;
    DNS names keep the order given, since the first becomes the common name.

    Args:
        id: 1 to 255 of `A-Z a-z 0-9 . _ -`.
        spiffe_id: Whom it registers; has a path that is not under `/spire`.
        parent_id: An agent, an alias or another entry, in the same trust domain; has a path.
        selectors: At least one; a workload needs all of them.
        x509_svid_ttl: Lifetime of X.509-SVIDs in whole seconds; zero for the server's default.
        jwt_svid_ttl: Lifetime of JWT-SVIDs in whole seconds; zero for the server's default.
        federates_with: Foreign trust domains whose bundles go to the workload.
        dns_names: DNS names for the certificate.
        hint: What the operator calls the SVID, at most 1024 characters.
        admin: Whether the holder of the SVID may administer the server.
        downstream: Whether the holder of the SVID may have signing certificates made.
        store_svid: Whether the SVID goes to a store instead of a workload.
        disable_x509_svid_prefetch: Whether agents sign for it only on demand.
        jwt_svid_include_jti: Whether its JWT-SVIDs carry a unique identifier, and so are never cached.
        expires_at: When the entry ends, aware; None for never. An instant in the past is allowed.
        created_at: When the server made it, aware; None before that.
        revision: Rises with each update, from 0.

    Raises:
        EntryError: A rule is broken; `where` of each finding names the field as the API does.
    """

    id: str
    spiffe_id: SpiffeID
    parent_id: SpiffeID
    selectors: tuple[Selector, ...]
    x509_svid_ttl: timedelta = _NO_TIME
    jwt_svid_ttl: timedelta = _NO_TIME
    federates_with: tuple[TrustDomain, ...] = ()
    dns_names: tuple[str, ...] = ()
    hint: str = ""
    admin: bool = False
    downstream: bool = False
    store_svid: bool = False
    disable_x509_svid_prefetch: bool = False
    jwt_svid_include_jti: bool = False
    expires_at: datetime | None = None
    created_at: datetime | None = None
    revision: int = 0

    def __post_init__(self) -> None:
        findings = [Finding(reason, message, where) for reason, where, message in self._faults()]
        if findings:
            raise EntryError(findings, subject=shown(self.id))
        object.__setattr__(self, "selectors", canonical(self.selectors))
        object.__setattr__(self, "federates_with", tuple(sorted(set(self.federates_with))))
        object.__setattr__(self, "dns_names", tuple(dict.fromkeys(self.dns_names)))

    def made(self, at: datetime) -> RegistrationEntry:
        """The entry as a server begins to keep it, at an instant (aware): in its first revision.

        No rule can be broken by that, so none is asked again.
        """
        copy = object.__new__(RegistrationEntry)
        for name in _FIELDS:
            object.__setattr__(copy, name, getattr(self, name))
        object.__setattr__(copy, "created_at", at)
        object.__setattr__(copy, "revision", 0)
        return copy

    @property
    def trust_domain(self) -> TrustDomain:
        """The domain that the entry belongs to."""
        return self.spiffe_id.trust_domain

    def expired(self, now: datetime) -> bool:
        """Whether the entry has ended at an instant (aware)."""
        return self.expires_at is not None and now >= self.expires_at

    def similar(self, other: RegistrationEntry) -> bool:
        """Whether two entries say the same of the same, so that one of them is superfluous."""
        mine = self.spiffe_id, self.parent_id, self.selectors
        return mine == (other.spiffe_id, other.parent_id, other.selectors)

    def check_domain(self, trust_domain: TrustDomain) -> None:
        """Return when the entry is for this trust domain, the server's own.

        Raises:
            EntryError: It is for another.
        """
        if self.trust_domain != trust_domain:
            message = f"{self.spiffe_id} is not in trust domain {trust_domain}"
            raise EntryError.because(reasons.ENTRY_FOREIGN, message, where="spiffe_id")

    def _faults(self) -> Iterator[tuple[Reason, str, str]]:
        if not _ENTRY_ID.fullmatch(self.id):
            yield reasons.ENTRY_ID, "id", f"{shown(self.id)} is no entry id"
        yield from self._id_faults()
        yield from self._selector_faults()
        for name, ttl in (("x509_svid_ttl", self.x509_svid_ttl), ("jwt_svid_ttl", self.jwt_svid_ttl)):
            if ttl < _NO_TIME or ttl % _SECOND:
                yield reasons.ENTRY_TTL, name, f"{ttl} is not a whole number of seconds, zero or more"
        if self.trust_domain in self.federates_with:
            yield (
                reasons.ENTRY_FEDERATES,
                "federates_with",
                f"{self.trust_domain} is the entry's own trust domain",
            )
        for message in dns.faults(self.dns_names):
            yield reasons.ENTRY_DNS_NAME, "dns_names", message
        if len(self.hint) > MAX_HINT_CHARACTERS:
            yield reasons.ENTRY_HINT, "hint", f"{len(self.hint)} characters"
        if self.revision < 0:
            yield reasons.ENTRY_NUMBER, "revision_number", f"{self.revision} is negative"

    def _id_faults(self) -> Iterator[tuple[Reason, str, str]]:
        for where, spiffe_id in (("spiffe_id", self.spiffe_id), ("parent_id", self.parent_id)):
            if not spiffe_id.path:
                yield reasons.ENTRY_PATH, where, f"{spiffe_id} has no path"
        if self.spiffe_id.reserved:
            yield reasons.ENTRY_RESERVED, "spiffe_id", f"{self.spiffe_id} is in the reserved namespace"
        if not self.parent_id.member_of(self.trust_domain):
            yield reasons.ENTRY_FOREIGN, "parent_id", f"{self.parent_id} is not in {self.trust_domain}"

    def _selector_faults(self) -> Iterator[tuple[Reason, str, str]]:
        if not self.selectors:
            yield reasons.ENTRY_NO_SELECTORS, "selectors", "selector list is empty"
        if not self.store_svid:
            return
        types = sorted({selector.type for selector in self.selectors})
        if len(types) > 1:
            message = (
                f"selectors of the types {', '.join(map(shown, types))} in an entry whose SVID is stored"
            )
            yield reasons.ENTRY_STORE_TYPES, "selectors", message
        if self.disable_x509_svid_prefetch:
            yield reasons.ENTRY_STORE_PREFETCH, "store_svid", "not together with disable_x509_svid_prefetch"


_FIELDS = tuple(field.name for field in fields(RegistrationEntry))
