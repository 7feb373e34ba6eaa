"""Validating an X.509-SVID: from its leaf to an authority of the trust domain that the leaf names.

Paths are built here, over the signature checks of `cryptography`, not by `cryptography.x509.verification`.
That module follows the profile of the web: it refuses every chain in which a URI name constraint stands, and
Ed25519 keys, and it names one fault where operators need all of them. Its merits are kept: authorities are
judged like other certificates, and the number of signature checks is limited.

The cost is bounded whatever a peer sends: by the number and size of certificates (refused before they are
parsed), by the number of signature checks, by the number of steps of the search and by the number of
finished paths that are judged. Anchors and intermediates whose key identifier fits are tried first, so an
honest chain needs exactly one signature check per certificate.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from finial.core.bundle import Bundle, BundleSource
from finial.core.errors import Finding, RefusedError, X509ParseError, X509VerifyError
from finial.core.ids import SpiffeID
from finial.core.match import ANY_ID, Matcher
from finial.core.reasons import x509 as reasons
from finial.core.rules.engine import Stage
from finial.core.rules.x509 import AUTHORITY, INTERMEDIATE, LEAF, PATH, Step
from finial.core.x509cert import Certificate, check_count

MAX_SIGNATURE_CHECKS = 64
MAX_STEPS = 512
MAX_PATHS = 16


@dataclass(frozen=True, slots=True)
class VerifiedX509:
    """A SPIFFE ID that has been proven.

    Args:
        id: The ID.
        path: From the leaf to the authority of the bundle, both included.
        expires_at: The earliest end among them: the proof holds no longer.
    """

    id: SpiffeID
    path: tuple[Certificate, ...]
    expires_at: datetime

    @property
    def leaf(self) -> Certificate:
        """The certificate of the peer."""
        return self.path[0]

    @property
    def authority(self) -> Certificate:
        """The authority of the bundle that the proof rests on."""
        return self.path[-1]


def verify_x509(
    chain: Sequence[bytes], bundles: BundleSource, *, now: datetime, accept: Matcher = ANY_ID
) -> VerifiedX509:
    """The SPIFFE ID that a presented chain proves at an instant. Clauses: X509-34..X509-41.

    Args:
        chain: DER, the leaf first; the others in any order, with some too many; at most 16, of 32 KiB each.
        bundles: Asked for the bundle of the trust domain that the leaf names, and for no other.
        now: Aware, UTC.
        accept: Asked about the ID once it is proven.

    Raises:
        X509VerifyError: The chain proves nothing; `findings` lists every rule that is broken.
        MatchError: The ID is proven, but is not one that `accept` wants.
    """
    try:
        check_count(chain)
        names = ["leaf", *(f"certificate {number}" for number in range(2, len(chain) + 1))]
        certificates = [Certificate.parse(der, where) for der, where in zip(chain, names, strict=False)]
    except X509ParseError as refused:
        raise X509VerifyError(refused.findings) from refused
    return verify_certificates(certificates, bundles, now=now, accept=accept)


def verify_certificates(
    chain: Sequence[Certificate], bundles: BundleSource, *, now: datetime, accept: Matcher = ANY_ID
) -> VerifiedX509:
    """As `verify_x509`, for certificates that are parsed already.

    Args:
        chain: The leaf first, at most 16 in all.
        bundles: Where the bundle of the leaf's trust domain comes from.
        now: Aware, UTC.
        accept: Asked about the ID once it is proven.

    Raises:
        X509VerifyError: The chain proves nothing.
        MatchError: The ID is proven, but is not wanted.
    """
    if not chain:
        raise X509VerifyError.because(reasons.X509_NO_CERTIFICATE, "no certificate was presented")
    _check_count(chain)
    leaf = chain[0]
    spiffe_id = leaf.spiffe_id
    leaf_findings = [
        *LEAF.findings(leaf, Stage.VERIFY, "leaf"),
        *PATH.findings(Step(leaf, (), now), Stage.VERIFY, "leaf"),
    ]
    if spiffe_id is None:
        raise X509VerifyError(leaf_findings)  # without an ID no bundle can be named
    bundle, missing = _find_bundle(bundles, spiffe_id)
    if bundle is None:
        raise X509VerifyError([*missing, *leaf_findings], subject=spiffe_id.text)
    path, path_findings = _Search(chain, tuple(dict.fromkeys(chain)), bundle, now).run()
    if leaf_findings or path_findings:
        # The search may meet a fault of the leaf that its own rules have named already.
        named = {(found.reason, found.where): found for found in reversed([*leaf_findings, *path_findings])}
        raise X509VerifyError([*reversed(named.values())], subject=spiffe_id.text)
    accept.check(spiffe_id)
    return VerifiedX509(spiffe_id, path, min(certificate.not_after for certificate in path))


def _check_count(chain: Sequence[Certificate]) -> None:
    try:
        check_count(chain)
    except RefusedError as refused:
        raise X509VerifyError(refused.findings) from refused


def _find_bundle(bundles: BundleSource, spiffe_id: SpiffeID) -> tuple[Bundle | None, list[Finding]]:
    domain = spiffe_id.trust_domain
    bundle = bundles.bundle_for(domain)
    if bundle is None:
        message = f"there is no federation with trust domain {domain}: no bundle of that name is held here"
        return None, [Finding(reasons.X509_NO_BUNDLE, message, "leaf")]
    # A source that answers with another domain's bundle would make its keys good for this one.
    if bundle.trust_domain != domain:
        message = f"the bundle held for trust domain {domain} is that of {bundle.trust_domain}"
        return None, [Finding(reasons.X509_NO_BUNDLE, message, "leaf")]
    if not bundle.x509_authorities:
        message = f"the bundle of trust domain {domain} holds no X.509 authority"
        return None, [Finding(reasons.X509_EMPTY_BUNDLE, message, "leaf")]
    return bundle, []


class _Limit(Exception):  # noqa: N818 - leaves the search, is no error
    pass


@dataclass(slots=True)
class _Search:
    """One search for a path; everything in it belongs to the call that made it."""

    presented: Sequence[Certificate]
    chain: tuple[Certificate, ...]  # the same without repetitions
    bundle: Bundle
    now: datetime
    checks: int = 0
    steps: int = 0
    paths: int = 0  # that reach an authority
    longest: tuple[Certificate, ...] = ()
    unproven: dict[Certificate, Finding] = field(default_factory=dict)  # the first failure of each
    known: dict[tuple[Certificate, Certificate], bool] = field(default_factory=dict)

    def run(self) -> tuple[tuple[Certificate, ...], list[Finding]]:
        """A path without faults, or the best one with its faults, or none with the reason."""
        best: tuple[tuple[Certificate, ...], list[Finding]] | None = None
        try:
            for path in self._extend(self.chain[:1]):
                self._count_path()
                findings = self._judge(path, anchored=True)
                if best is None or len(findings) < len(best[1]):
                    best = path, findings
                if not findings:
                    return best
        except _Limit:
            message = (
                f"gave up after {self.paths} paths, {self.checks} signature checks and {self.steps} steps"
            )
            found = [Finding(reasons.X509_SEARCH_LIMIT, message)]
            return (best[0], [*best[1], *found]) if best is not None else (self.longest, found)
        return best if best is not None else (self.longest, self._dead_end())

    def _count_path(self) -> None:
        if self.paths == MAX_PATHS:
            raise _Limit
        self.paths += 1

    def _extend(self, path: tuple[Certificate, ...]) -> Iterator[tuple[Certificate, ...]]:
        child = path[-1]
        if len(path) > len(self.longest):
            self.longest = path
        for authority in _by_fit(child, self.bundle.named(child.issuer)):
            if self._signed(child, authority):
                yield (*path, authority)
        others = [other for other in self.chain[1:] if other.subject == child.issuer and other not in path]
        for other in _by_fit(child, others):
            if self._signed(child, other):
                yield from self._extend((*path, other))

    def _signed(self, child: Certificate, issuer: Certificate) -> bool:
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise _Limit
        pair = child, issuer
        if pair in self.known:
            return self.known[pair]
        if issuer.key is not None and child.signature_sound:
            if self.checks >= MAX_SIGNATURE_CHECKS:
                raise _Limit
            self.checks += 1
            good = child.signed_by(issuer.key)
        else:
            good = False
        if not good:
            self.unproven.setdefault(child, self._unproven(child, issuer))
        self.known[pair] = good
        return good

    def _unproven(self, child: Certificate, issuer: Certificate) -> Finding:
        where = self._where(child)
        if not child.signature_sound:
            message = f"its signature algorithm {child.signature_algorithm} is not accepted"
            return Finding(reasons.X509_SIGNATURE_ALGORITHM, message, where)
        if issuer.key_finding is not None:
            message = f"its signature cannot be checked, of its issuer {issuer.key_finding.message}"
            return Finding(issuer.key_finding.reason, message, where)
        message = "its signature does not verify with the key of any issuer of that name"
        return Finding(reasons.X509_SIGNATURE, message, where)

    def _judge(self, path: tuple[Certificate, ...], *, anchored: bool) -> list[Finding]:
        findings: list[Finding] = []
        for at, certificate in enumerate(path[1:], 1):
            authority = anchored and at == len(path) - 1
            where = "authority" if authority else self._where(certificate)
            table = AUTHORITY if authority else INTERMEDIATE
            findings += table.findings(certificate, Stage.VERIFY, where)
            step = Step(certificate, path[at - 1 :: -1], self.now)
            findings += PATH.findings(step, Stage.VERIFY, where)
        return findings

    def _dead_end(self) -> list[Finding]:
        last = self.longest[-1]
        found = self.unproven.get(last)
        if found is None:
            domain = self.bundle.trust_domain
            message = f"no authority of trust domain {domain} is its issuer, and no intermediate leads to one"
            found = Finding(reasons.X509_UNKNOWN_AUTHORITY, message, self._where(last))
        return [found, *self._judge(self.longest, anchored=False)]

    def _where(self, certificate: Certificate) -> str:
        at = self.presented.index(certificate)
        return f"certificate {at + 1}" if at else "leaf"


def _by_fit(child: Certificate, issuers: Sequence[Certificate]) -> Sequence[Certificate]:
    wanted = child.authority_key_id
    if wanted is None or len(issuers) < 2:
        return issuers
    # Identifiers are hints: an issuer without one, or with another, is tried too, but later.
    return sorted(issuers, key=lambda issuer: issuer.subject_key_id != wanted)
