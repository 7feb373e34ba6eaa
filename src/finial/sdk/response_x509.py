"""What messages of the X.509 profile say: FetchX509SVID and FetchX509Bundles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from finial.core import der
from finial.core.bundle import Bundle, BundleSet
from finial.core.errors import Finding, Kind, Reason, RefusedError, X509ParseError, shown
from finial.core.ids import TrustDomain
from finial.core.rules.engine import Stage
from finial.core.rules.x509 import AUTHORITY
from finial.core.x509cert import Certificate
from finial.core.x509svid import X509SVID
from finial.sdk.response import AGENT_HINT, EMPTY, Answer, Hints, ResponseError, by_hint, domain_of, filled
from finial.wire.gen import workload as pb

SVID = Reason("workload-response-svid", Kind.INVALID, ("WAPI-27", "WAPI-28", "WAPI-29"), AGENT_HINT)
BUNDLE = Reason("workload-response-bundle", Kind.INVALID, ("WAPI-30",), AGENT_HINT)


@dataclass(frozen=True, slots=True)
class X509Context:
    """All that one message says: a snapshot, whose parts belong together.

    It is also a fixed source for the helpers of `finial.sdk.tls`.

    Args:
        svids: With their keys and hints; at least one, the default identity first.
        bundles: Of the SVIDs' trust domains, and of those that they are federated with.
        crls: Revocation lists in DER.
    """

    svids: tuple[X509SVID, ...]
    bundles: BundleSet
    crls: tuple[bytes, ...] = ()

    @property
    def svid(self) -> X509SVID:
        """The default identity. Clauses: WAPI-67."""
        return self.svids[0]

    def by_hint(self, hint: str) -> X509SVID:
        """The SVID with this hint. Clauses: WAPI-69, WAPI-71.

        Raises:
            HintError: None has it.
        """
        return by_hint(hint)(self.svids)

    def bundle_for(self, trust_domain: TrustDomain) -> Bundle | None:
        """The bundle of exactly this trust domain, or None when there is no federation with it."""
        return self.bundles.bundle_for(trust_domain)


@dataclass(frozen=True, slots=True)
class X509Bundles:
    """The bundles that a process without an SVID of its own verifies others with.

    Args:
        bundles: At least that of the agent's own trust domain.
        crls: Revocation lists in DER.
    """

    bundles: BundleSet
    crls: tuple[bytes, ...] = ()

    def bundle_for(self, trust_domain: TrustDomain) -> Bundle | None:
        """The bundle of exactly this trust domain, or None when there is no federation with it."""
        return self.bundles.bundle_for(trust_domain)


def read_svids(message: pb.X509SVIDResponse) -> Answer[X509Context]:
    """What FetchX509SVID sent. Clauses: WAPI-15..WAPI-17, WAPI-19, WAPI-27..WAPI-32.

    Raises:
        ResponseError: It breaks rules; `findings` lists them.
    """
    if not message.svids:
        raise ResponseError.because(EMPTY, "the message holds no SVID", where="svids")
    refused: list[Finding] = []
    passed: list[Finding] = []
    svids: list[X509SVID] = []
    own: dict[TrustDomain, Bundle] = {}
    hints = Hints(passed)
    for number, each in enumerate(message.svids):
        where = f"svids[{number}]"
        svid = _read_svid(each, where, refused)
        if svid is None:
            continue
        bundle = _read_bundle(svid.id.trust_domain, each.bundle, f"{where}.bundle", passed)
        held = own.setdefault(bundle.trust_domain, bundle)
        if not bundle.x509_authorities:
            refused.append(Finding(BUNDLE, "no authority in the bundle can be used", where))
        elif not held.same_content(bundle):
            refused.append(Finding(BUNDLE, f"a second, other bundle of {bundle.trust_domain}", where))
        if hints.fresh(svid.hint, where):
            svids.append(svid)
    if refused:
        raise ResponseError([*refused, *passed])
    bundles = BundleSet([*own.values(), *_read_map(message.federated_bundles, own, passed)])
    return Answer(X509Context(tuple(svids), bundles, tuple(message.crl)), tuple(passed))


def read_bundles(message: pb.X509BundlesResponse) -> Answer[X509Bundles]:
    """What FetchX509Bundles sent. Clauses: WAPI-15..WAPI-17, WAPI-19, WAPI-30.

    Raises:
        ResponseError: It breaks rules; `findings` lists them.
    """
    if not message.bundles:
        raise ResponseError.because(EMPTY, "the message holds no bundle", where="bundles")
    passed: list[Finding] = []
    bundles = BundleSet(_read_map(message.bundles, {}, passed))
    if not bundles:
        raise ResponseError(passed)
    return Answer(X509Bundles(bundles, tuple(message.crl)), tuple(passed))


def _read_svid(message: pb.X509SVID, where: str, refused: list[Finding]) -> X509SVID | None:
    mandatory = {
        "spiffe_id": message.spiffe_id,
        "x509_svid": message.x509_svid,
        "x509_svid_key": message.x509_svid_key,
        "bundle": message.bundle,
    }
    if not filled(mandatory, where, refused):
        return None
    try:
        svid = X509SVID.from_der(message.x509_svid, message.x509_svid_key, hint=message.hint)
    except RefusedError as error:
        refused.extend(Finding(SVID, str(found), where) for found in error.findings)
        return None
    if svid.id.text != message.spiffe_id:
        said = f"the SVID is of {svid.id}, and the message says {shown(message.spiffe_id)}"
        refused.append(Finding(SVID, said, where))
        return None
    return svid


def _read_map(
    message: Mapping[str, bytes], own: Mapping[TrustDomain, Bundle], passed: list[Finding]
) -> list[Bundle]:
    found: list[Bundle] = []
    for key, data in sorted(message.items()):
        where = f"bundle of {shown(key)}"
        trust_domain = domain_of(key, BUNDLE, passed)
        if trust_domain is None:
            continue
        if trust_domain in own:
            passed.append(Finding(BUNDLE, "a federated bundle of the SVIDs' own trust domain", where))
            continue
        bundle = _read_bundle(trust_domain, data, where, passed)
        # A domain without X.509 authorities is known, and nobody of it is trusted; garbage is not known.
        if bundle.x509_authorities or not data:
            found.append(bundle)
    return found


def _read_bundle(trust_domain: TrustDomain, data: bytes, where: str, passed: list[Finding]) -> Bundle:
    def refuse(why: str) -> X509ParseError:
        return X509ParseError.because(BUNDLE, why)

    authorities: list[Certificate] = []
    try:
        for number, each in enumerate(der.split(data, refuse), 1):
            authorities += _read_authority(each, f"{where}, certificate {number}", passed)
    except X509ParseError as error:
        # Where one certificate ends and the next begins is not known: nothing of it can be relied on.
        passed.append(Finding(BUNDLE, f"not certificates in DER: {error.message}", where))
        authorities = []
    return Bundle(trust_domain=trust_domain, x509_authorities=tuple(authorities))


def _read_authority(data: bytes, where: str, passed: list[Finding]) -> list[Certificate]:
    try:
        certificate = Certificate.parse(data)
    except X509ParseError as error:
        passed.append(Finding(BUNDLE, error.findings[0].message, where))
        return []
    faults = AUTHORITY.findings(certificate, Stage.PARSE)
    passed.extend(Finding(BUNDLE, fault.message, where) for fault in faults)
    return [] if faults else [certificate]
