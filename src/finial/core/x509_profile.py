"""What the certificates look like that an authority issues, and the proof that they do.

A certificate is built from a request that the server has decided on, never from what a client sent beyond
its key. It is then read back and held to the same tables that peers are held to, with the rules for issuers
on top; only what passes leaves this module. Serial numbers and signing keys come in as arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from finial.core import dns
from finial.core.errors import Finding, FinialError, IssueError, translated
from finial.core.ids import SpiffeID, TrustDomain
from finial.core.keys import PrivateKey, PublicKey, narrow, public_key_der, signature_hash
from finial.core.reasons import issue as reasons
from finial.core.reasons import x509 as x509_reasons
from finial.core.rules.engine import Stage
from finial.core.rules.x509 import AUTHORITY, INTERMEDIATE, LEAF, PATH, Step
from finial.core.x509cert import Certificate

BACKDATE = timedelta(seconds=10)  # clocks of peers may be that far behind
DEFAULT_SVID_TTL = timedelta(hours=1)
DEFAULT_CA_TTL = timedelta(hours=24)
MAX_SERIAL = (1 << 128) - 1
_SECOND = timedelta(seconds=1)
_MAX_COMMON_NAME = 64  # RFC 5280, ub-common-name; a longer name stands among the alternative names alone

_SVID_SUBJECT = ((NameOID.COUNTRY_NAME, "US"), (NameOID.ORGANIZATION_NAME, "SPIRE"))
_CA_SUBJECT = ((NameOID.COUNTRY_NAME, "US"), (NameOID.ORGANIZATION_NAME, "SPIFFE"))
_PURPOSES = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


@dataclass(frozen=True, slots=True)
class Issuer:
    """A signing certificate, together with the one trust domain that it may speak for.

    Args:
        trust_domain: The domain; subjects of any other are refused. spec: ID-46
        certificate: The signing certificate.
        chain_length: How many certificates lie between it and the published root, itself included.

    Raises:
        IssueError: The subject of the certificate cannot be read.
    """

    trust_domain: TrustDomain
    certificate: Certificate
    chain_length: int = 1
    name: x509.Name = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Decoded once per authority instead of once per signature.
        name = translated(lambda: x509.load_der_x509_certificate(self.certificate.der).subject, _unreadable)
        object.__setattr__(self, "name", name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """The circumstances of one signature.

    Args:
        now: Aware, UTC.
        serial: Random, 1 to 2^128-1.
        ttl: Wished lifetime from `now` on, a second or more; the issuer's end cuts it short.
    """

    now: datetime
    serial: int
    ttl: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class SVIDRequest:
    """What an X.509-SVID is to say.

    Args:
        spiffe_id: Whom it names; has a path.
        public_key: Its key.
        dns_names: Further names, the first of which is the common name too.
        subject: In place of the usual subject, for instance from a credential composer.
    """

    spiffe_id: SpiffeID
    public_key: PublicKey
    dns_names: tuple[str, ...] = ()
    subject: x509.Name | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CARequest:
    """What a signing certificate is to say.

    Args:
        trust_domain: Whose authority it is.
        public_key: Its key.
        subject: In place of the usual subject; a serial number attribute is added to it.
        path_length: How many levels of signing certificates may follow; None for any number.
        constrained: Whether it may only certify IDs of its own trust domain, by a critical URI constraint.
    """

    trust_domain: TrustDomain
    public_key: PublicKey
    subject: x509.Name | None = None
    path_length: int | None = None
    constrained: bool = False


def issue_svid(request: SVIDRequest, issuer: Issuer, order: Order, *, key: PrivateKey) -> Certificate:
    """A new leaf. Clauses: X509-01, X509-04, X509-06, X509-08, X509-19..X509-32, ID-45, ID-46.

    Args:
        request: What it says.
        issuer: Under which signing certificate.
        order: When, for how long, with which serial number.
        key: The issuer's.

    Raises:
        IssueError: It must not be issued; nothing has been signed, or what was is thrown away.
        KeyRefusedError: The subject's key is not one that is accepted.
    """
    findings = [
        *_subject_findings(issuer, request.spiffe_id.trust_domain),
        *(Finding(reasons.ISSUE_DNS_NAME, message, "dns_names") for message in dns.faults(request.dns_names)),
    ]
    if not request.spiffe_id.path:
        message = f"{request.spiffe_id} is the ID of a trust domain"
        findings.append(Finding(x509_reasons.X509_ROOT_ID, message, "spiffe_id"))
    _refuse([*findings, *_order_findings(order, issuer.certificate)])
    subject = request.subject if request.subject is not None else _svid_subject(request.dns_names)
    names = [*map(x509.DNSName, request.dns_names), x509.UniformResourceIdentifier(request.spiffe_id.text)]
    builder = (
        _builder(order, issuer.certificate, request.public_key).subject_name(subject).issuer_name(issuer.name)
    )
    builder = (
        builder.add_extension(
            _key_usage("digital_signature", "key_encipherment", "key_agreement"), critical=True
        )
        .add_extension(x509.ExtendedKeyUsage(_PURPOSES), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    builder = _with_key_ids(builder, request.public_key, issuer.certificate)
    # Names are critical when there is no subject to go by. spec: X509-08
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=not subject.rdns)
    certificate = _sign(builder, key)
    check_svid(certificate, request, issuer)
    return certificate


def issue_root(request: CARequest, order: Order, *, key: PrivateKey) -> Certificate:
    """A new self-signed authority. Clauses: ID-33..ID-36, X509-09..X509-12, X509-18, X509-23..X509-26.

    Args:
        request: What it says.
        order: When, for how long, with which serial number.
        key: The one of `request`, which signs itself.

    Raises:
        IssueError: It must not be issued.
    """
    _refuse(_order_findings(order, None))
    subject = ca_subject(request.subject, order.serial)
    builder = _ca_builder(request, order, None).subject_name(subject).issuer_name(subject)
    certificate = _sign(builder, key)
    findings = [*AUTHORITY.findings(certificate, Stage.ISSUE), *_ca_findings(certificate, request)]
    _refuse([*findings, *_signature_findings(certificate, request.public_key, certificate)])
    return certificate


def issue_downstream(request: CARequest, issuer: Issuer, order: Order, *, key: PrivateKey) -> Certificate:
    """A signing certificate below another one of the same trust domain. Clauses: X509-14, X509-16.

    Its subject is the issuer's with the unit `DOWNSTREAM-<n>`, unless the request brings its own.

    Args:
        request: What it says.
        issuer: Under which signing certificate.
        order: When, for how long, with which serial number.
        key: The issuer's.

    Raises:
        IssueError: It must not be issued; also when the issuer's path length is used up.
        KeyRefusedError: The key is not one that is accepted.
    """
    findings = _subject_findings(issuer, request.trust_domain)
    constraints = issuer.certificate.basic_constraints
    if constraints is not None and constraints.path_length == 0:
        findings.append(Finding(reasons.ISSUE_PATH_LENGTH, "the signing certificate has the path length 0"))
    _refuse([*findings, *_order_findings(order, issuer.certificate)])
    subject = _downstream_subject(issuer) if request.subject is None else request.subject
    builder = _ca_builder(request, order, issuer.certificate).subject_name(subject).issuer_name(issuer.name)
    certificate = _sign(builder, key)
    check_downstream(certificate, request, issuer)
    return certificate


def check_svid(certificate: Certificate, request: SVIDRequest, issuer: Issuer) -> None:
    """Return when an issued leaf says what was ordered and keeps every rule.

    Raises:
        IssueError: It does not; `findings` says where.
    """
    findings = LEAF.findings(certificate, Stage.ISSUE, "leaf")
    if certificate.names.uris != (request.spiffe_id.text,) or certificate.names.dns != request.dns_names:
        findings.append(_mismatch("the names are not the ones ordered"))
    if len(certificate.names.every) != len(request.dns_names) + 1:
        findings.append(_mismatch("there are names that were not ordered"))
    _refuse([*findings, *_signature_findings(certificate, request.public_key, issuer.certificate)])


def check_downstream(certificate: Certificate, request: CARequest, issuer: Issuer) -> None:
    """Return when an issued signing certificate says what was ordered and keeps every rule.

    Raises:
        IssueError: It does not.
    """
    findings = [*INTERMEDIATE.findings(certificate, Stage.ISSUE), *_ca_findings(certificate, request)]
    _refuse([*findings, *_signature_findings(certificate, request.public_key, issuer.certificate)])


def ca_subject(subject: x509.Name | None, serial: int) -> x509.Name:
    """The name of an authority: the configured one or the usual one, and its serial number in decimal."""
    base = (
        [x509.NameAttribute(oid, value) for oid, value in _CA_SUBJECT] if subject is None else list(subject)
    )
    return x509.Name([*base, x509.NameAttribute(NameOID.SERIAL_NUMBER, str(serial))])


def ca_csr_builder(request: CARequest, serial: int) -> x509.CertificateSigningRequestBuilder:
    """The request for an upstream authority: subject and name; the rest is the signer's to decide."""
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(request.trust_domain.id.text)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(ca_subject(request.subject, serial))
    return builder.add_extension(names, critical=False)


def _svid_subject(dns_names: Sequence[str]) -> x509.Name:
    attributes = [x509.NameAttribute(oid, value) for oid, value in _SVID_SUBJECT]
    if dns_names and len(dns_names[0]) <= _MAX_COMMON_NAME:
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, dns_names[0]))
    return x509.Name(attributes)


def _downstream_subject(issuer: Issuer) -> x509.Name:
    unit = x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, f"DOWNSTREAM-{issuer.chain_length}")
    serials = issuer.name.get_attributes_for_oid(NameOID.SERIAL_NUMBER)
    others = [attribute for attribute in issuer.name if attribute.oid != NameOID.SERIAL_NUMBER]
    return x509.Name([*others, unit, *serials])


def _builder(order: Order, issuer: Certificate | None, key: PublicKey) -> x509.CertificateBuilder:
    begin, end = order.now - BACKDATE, order.now + order.ttl
    if issuer is not None:
        begin, end = max(begin, issuer.not_before), min(end, issuer.not_after)
    return (
        x509.CertificateBuilder()
        .serial_number(order.serial)
        .public_key(narrow(key))
        .not_valid_before(begin.replace(microsecond=0))
        .not_valid_after(end.replace(microsecond=0))
    )


def _ca_builder(request: CARequest, order: Order, issuer: Certificate | None) -> x509.CertificateBuilder:
    builder = _builder(order, issuer, request.public_key)
    builder = builder.add_extension(_key_usage("key_cert_sign", "crl_sign"), critical=True)
    constraints = x509.BasicConstraints(ca=True, path_length=request.path_length)
    builder = builder.add_extension(constraints, critical=True)
    if request.constrained:
        domain = x509.UniformResourceIdentifier(request.trust_domain.name)
        permitted = x509.NameConstraints(permitted_subtrees=[domain], excluded_subtrees=None)
        builder = builder.add_extension(permitted, critical=True)
    builder = _with_key_ids(builder, request.public_key, issuer)
    name = x509.UniformResourceIdentifier(request.trust_domain.id.text)
    return builder.add_extension(x509.SubjectAlternativeName([name]), critical=False)


def _with_key_ids(
    builder: x509.CertificateBuilder, key: PublicKey, issuer: Certificate | None
) -> x509.CertificateBuilder:
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    if issuer is None or issuer.subject_key_id is None:
        return builder
    authority = x509.AuthorityKeyIdentifier(issuer.subject_key_id, None, None)
    return builder.add_extension(authority, critical=False)


def _key_usage(*usages: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{usage: usage in usages for usage in _USAGES})


def _sign(builder: x509.CertificateBuilder, key: PrivateKey) -> Certificate:
    signed = translated(lambda: builder.sign(key, signature_hash(key)), _unreadable)
    return Certificate.parse(signed.public_bytes(Encoding.DER))


def _subject_findings(issuer: Issuer, subject: TrustDomain) -> list[Finding]:
    if subject == issuer.trust_domain:
        return []
    message = f"the authority of trust domain {issuer.trust_domain} speaks not for {subject}"
    return [Finding(reasons.ISSUE_FOREIGN, message)]


def _order_findings(order: Order, issuer: Certificate | None) -> list[Finding]:
    found: list[Finding] = []
    if not 1 <= order.serial <= MAX_SERIAL:
        found.append(Finding(reasons.ISSUE_SERIAL, "the serial number is not between 1 and 2^128-1"))
    if order.ttl < _SECOND:
        found.append(Finding(reasons.ISSUE_TTL, f"a lifetime of {order.ttl} is below a second"))
    if issuer is not None and not issuer.not_before <= order.now < issuer.not_after:
        found.append(Finding(reasons.ISSUE_NOT_TIMELY, f"the signing certificate ends at {issuer.not_after}"))
    return found


def _ca_findings(certificate: Certificate, request: CARequest) -> list[Finding]:
    constraints = certificate.basic_constraints
    good = (
        certificate.names.uris == (request.trust_domain.id.text,)
        and len(certificate.names.every) == 1
        and constraints is not None
        and constraints.path_length == request.path_length
        and (certificate.name_constraints is not None) == request.constrained
    )
    return [] if good else [_mismatch("name, path length or name constraints are not the ones ordered")]


def _signature_findings(certificate: Certificate, key: PublicKey, issuer: Certificate) -> list[Finding]:
    found: list[Finding] = []
    if certificate.key is None or public_key_der(certificate.key) != public_key_der(key):
        found.append(_mismatch("the key is not the one ordered"))
    if certificate.issuer != issuer.subject or certificate.not_after > issuer.not_after:
        found.append(_mismatch("issuer or end do not follow from the signing certificate"))
    # Checked on what was made and not on the key beforehand: a key may live in a device, and devices err.
    if issuer.key is None or not certificate.signed_by(issuer.key):
        found.append(Finding(reasons.ISSUE_KEY, "the signature does not verify with the signing certificate"))
    below = Step(issuer, (certificate,), certificate.not_before)
    return found if issuer is certificate else [*found, *PATH.findings(below, Stage.ISSUE, "issuer")]


def _mismatch(message: str) -> Finding:
    return Finding(reasons.ISSUE_MISMATCH, message)


def _unreadable(why: str) -> FinialError:
    return IssueError.because(reasons.ISSUE_MISMATCH, f"the certificate cannot be built: {why}")


def _refuse(findings: Sequence[Finding]) -> None:
    if findings:
        raise IssueError(findings)
