"""One X.509 certificate, parsed once into the facts that the rules ask about.

`cryptography` does the parsing. Everything is read eagerly, so that whatever is broken in a certificate
shows here, as one kind of error, and never later in the middle of a handshake.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import ExtensionOID, SignatureAlgorithmOID

from finial.core import der as der_
from finial.core.errors import Finding, KeyRefusedError, SpiffeIDError, X509ParseError, shown, translated
from finial.core.ids import SpiffeID
from finial.core.keys import PublicKey, Signed, narrow, strong, verifies
from finial.core.reasons import keys as key_reasons
from finial.core.reasons import x509 as reasons

MAX_CERTIFICATE_BYTES = 32 << 10
MAX_CHAIN = 16

# Extensions that are honoured, so that their being critical is no obstacle. Certificate policies are among
# them because no policy is ever demanded: without that demand they restrict nothing (RFC 5280, 6.1.3 d).
_KNOWN = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.NAME_CONSTRAINTS,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
        ExtensionOID.CERTIFICATE_POLICIES,
    }
)


@dataclass(frozen=True, slots=True)
class KeyUsage:
    """The key usage extension.

    Args:
        critical: Whether it is marked so.
        bits: Which usages are set, by the standard's names.
    """

    critical: bool
    bits: frozenset[str]


@dataclass(frozen=True, slots=True)
class BasicConstraints:
    """The basic constraints extension.

    Args:
        critical: Whether it is marked so.
        ca: Whether the certificate may sign certificates.
        path_length: How many intermediates may follow; None for any number.
    """

    critical: bool
    ca: bool
    path_length: int | None


@dataclass(frozen=True, slots=True)
class Names:
    """The subject alternative names.

    Args:
        critical: Whether the extension is marked so.
        uris: URIs, as they stand.
        dns: DNS names, as they stand.
        every: All of them, the two kinds above included.
    """

    critical: bool = False
    uris: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    every: tuple[x509.GeneralName, ...] = ()


@dataclass(frozen=True, slots=True)
class NameConstraints:
    """The name constraints extension.

    Args:
        permitted: Subtrees that names have to lie in, per kind of name.
        excluded: Subtrees that names must not lie in.
        plain: Whether no subtree carries a minimum or maximum, which nobody evaluates.
    """

    permitted: tuple[x509.GeneralName, ...]
    excluded: tuple[x509.GeneralName, ...]
    plain: bool


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Certificate:
    """A parsed certificate. Two are equal when their bytes are.

    Made by `Certificate.parse` alone: nothing else would hold the facts and the bytes together.
    """

    der: bytes
    serial: int
    subject: bytes  # DER of the name, compared byte for byte
    issuer: bytes
    not_before: datetime
    not_after: datetime
    key: PublicKey | None  # None: not one that is accepted; `key_finding` says why
    key_finding: Finding | None
    names: Names
    spiffe_id: SpiffeID | None  # what the one URI spells
    spiffe_id_fault: str  # why it spells none; empty when there is not exactly one URI
    basic_constraints: BasicConstraints | None
    key_usage: KeyUsage | None
    extended_key_usage: frozenset[str] | None  # dotted object identifiers
    name_constraints: NameConstraints | None
    subject_key_id: bytes | None
    authority_key_id: bytes | None
    unknown_critical: tuple[str, ...]  # dotted object identifiers
    signature_algorithm: str  # dotted object identifier
    signature_sound: bool  # the algorithm is accepted, and named alike inside and outside of what is signed
    _signed: Signed

    @classmethod
    def parse(cls, der: bytes, where: str = "certificate") -> Certificate:
        """The certificate in some bytes, nothing before or after it.

        Args:
            der: DER, at most 32 KiB.
            where: What to call it in findings.

        Raises:
            X509ParseError: Larger than that, or not a certificate that can be read whole.
        """
        if len(der) > MAX_CERTIFICATE_BYTES:
            message = f"{len(der)} bytes, at most {MAX_CERTIFICATE_BYTES} are read"
            raise X509ParseError.because(reasons.X509_LARGE, message, where=where)

        def refuse(why: str) -> X509ParseError:
            return X509ParseError.because(reasons.X509_MALFORMED, f"cannot be read: {why}", where=where)

        raw = _cut(der, where)
        return translated(lambda: _read(der, raw, where), refuse)

    @property
    def self_issued(self) -> bool:
        """Whether subject and issuer are one name."""
        return self.subject == self.issuer

    def signed_by(self, key: PublicKey) -> bool:
        """Whether this key made the certificate's signature."""
        return verifies(key, self._signed)

    def __eq__(self, other: object) -> bool:
        return self.der == other.der if type(other) is Certificate else NotImplemented

    def __hash__(self) -> int:
        return hash(self.der)

    def __repr__(self) -> str:
        uri = shown(self.names.uris[0]) if self.names.uris else "no URI"
        return f"Certificate({uri}, serial {self.serial:x}, not after {self.not_after:%Y-%m-%dT%H:%M:%SZ})"


def parse_concatenated(data: bytes, where: str = "certificate") -> tuple[Certificate, ...]:
    """The certificates that follow each other in some bytes, at most 16; none for no bytes.

    Args:
        data: DER after DER.
        where: What to call them in findings.

    Raises:
        X509ParseError: Too many, or one cannot be read.
    """

    def refuse(why: str) -> X509ParseError:
        return X509ParseError.because(reasons.X509_MALFORMED, why, where=where)

    ders: list[bytes] = []
    for der in der_.split(data, refuse):
        ders.append(der)
        check_count(ders)
    return tuple(Certificate.parse(der, f"{where} {at}") for at, der in enumerate(ders, 1))


def check_count(chain: Sequence[object]) -> None:
    """Return when there are no more certificates than a chain may have.

    Raises:
        X509ParseError: There are more.
    """
    if len(chain) > MAX_CHAIN:
        message = f"{len(chain)} certificates, at most {MAX_CHAIN} are read"
        raise X509ParseError.because(reasons.X509_CHAIN_LONG, message)


@dataclass(frozen=True, slots=True)
class _Raw:
    serial: int
    subject: bytes
    issuer: bytes
    algorithms_agree: bool
    rest: bytes  # whatever follows the public key: the extensions


def _cut(der: bytes, where: str) -> _Raw:
    def refuse(why: str) -> X509ParseError:
        return X509ParseError.because(reasons.X509_MALFORMED, f"cannot be read: {why}", where=where)

    outer = der_.Cutter(der, refuse).enter(der_.SEQUENCE)
    tbs = outer.enter(der_.SEQUENCE)
    outer_algorithm = outer.take()
    if tbs.peek() == 0xA0:  # the version, which the first one leaves out
        tbs.skip()
    # Checked before cryptography sees it, because that answers to it with a warning instead of an error.
    serial = int.from_bytes(tbs.content(der_.INTEGER), "big", signed=True)
    if serial <= 0:
        raise X509ParseError.because(reasons.X509_SERIAL, "the serial number is not positive", where=where)
    inner_algorithm = tbs.take()
    issuer = tbs.take()
    tbs.skip()  # the validity
    subject = tbs.take()
    tbs.skip()  # the public key
    return _Raw(serial, subject, issuer, outer_algorithm == inner_algorithm, tbs.remainder())


_Extensions = dict[type[x509.ExtensionType], x509.Extension[x509.ExtensionType]]
_Value = TypeVar("_Value", bound=x509.ExtensionType)


def _read(der: bytes, raw: _Raw, where: str) -> Certificate:
    parsed = x509.load_der_x509_certificate(der)
    found = list(parsed.extensions)
    extensions = {type(extension.value): extension for extension in found}
    key, key_finding = _read_key(parsed, where)
    signed, sound = _read_signature(parsed)
    names = _read_names(extensions)
    spiffe_id, spiffe_id_fault = _read_spiffe_id(names)
    usage = _value(extensions, x509.ExtendedKeyUsage)
    subject_key = _value(extensions, x509.SubjectKeyIdentifier)
    authority_key = _value(extensions, x509.AuthorityKeyIdentifier)
    return Certificate(
        der=der,
        serial=raw.serial,
        subject=raw.subject,
        issuer=raw.issuer,
        not_before=parsed.not_valid_before_utc,
        not_after=parsed.not_valid_after_utc,
        key=key,
        key_finding=key_finding,
        names=names,
        spiffe_id=spiffe_id,
        spiffe_id_fault=spiffe_id_fault,
        basic_constraints=_read_basic_constraints(extensions),
        key_usage=_read_key_usage(extensions),
        extended_key_usage=None if usage is None else frozenset(oid.dotted_string for oid in usage),
        name_constraints=_read_name_constraints(extensions, raw),
        subject_key_id=None if subject_key is None else subject_key.digest,
        authority_key_id=None if authority_key is None else authority_key.key_identifier,
        unknown_critical=tuple(e.oid.dotted_string for e in found if e.critical and e.oid not in _KNOWN),
        signature_algorithm=parsed.signature_algorithm_oid.dotted_string,
        signature_sound=sound and raw.algorithms_agree,
        _signed=signed,
    )


def _value(extensions: _Extensions, kind: type[_Value]) -> _Value | None:
    extension = extensions.get(kind)
    return extension.value if extension is not None and isinstance(extension.value, kind) else None


def _read_key(parsed: x509.Certificate, where: str) -> tuple[PublicKey | None, Finding | None]:
    def refuse(why: str) -> KeyRefusedError:
        return KeyRefusedError.because(key_reasons.KEY_TYPE, f"the public key cannot be used: {why}")

    try:
        return narrow(translated(parsed.public_key, refuse)), None
    except KeyRefusedError as refused:
        return None, Finding(refused.reason, refused.message, where)


def _read_signature(parsed: x509.Certificate) -> tuple[Signed, bool]:
    try:
        parameters, digest = parsed.signature_algorithm_parameters, parsed.signature_hash_algorithm
    except (UnsupportedAlgorithm, ValueError):
        return (parsed.signature, parsed.tbs_certificate_bytes, None, None), False
    known = digest is not None or parsed.signature_algorithm_oid == SignatureAlgorithmOID.ED25519
    return (parsed.signature, parsed.tbs_certificate_bytes, parameters, digest), known and strong(digest)


def _read_names(extensions: _Extensions) -> Names:
    value = _value(extensions, x509.SubjectAlternativeName)
    if value is None:
        return Names()
    every = tuple(value)
    return Names(
        critical=extensions[x509.SubjectAlternativeName].critical,
        uris=tuple(name.value for name in every if isinstance(name, x509.UniformResourceIdentifier)),
        dns=tuple(name.value for name in every if isinstance(name, x509.DNSName)),
        every=every,
    )


def _read_spiffe_id(names: Names) -> tuple[SpiffeID | None, str]:
    if len(names.uris) != 1:
        return None, ""
    try:
        return SpiffeID(names.uris[0]), ""
    except SpiffeIDError as refused:
        return None, refused.message


def _read_basic_constraints(extensions: _Extensions) -> BasicConstraints | None:
    value = _value(extensions, x509.BasicConstraints)
    if value is None:
        return None
    return BasicConstraints(extensions[x509.BasicConstraints].critical, value.ca, value.path_length)


def _read_key_usage(extensions: _Extensions) -> KeyUsage | None:
    value = _value(extensions, x509.KeyUsage)
    if value is None:
        return None
    bits = {
        "digitalSignature": value.digital_signature,
        "contentCommitment": value.content_commitment,
        "keyEncipherment": value.key_encipherment,
        "dataEncipherment": value.data_encipherment,
        "keyAgreement": value.key_agreement,
        "keyCertSign": value.key_cert_sign,
        "cRLSign": value.crl_sign,
    }
    return KeyUsage(extensions[x509.KeyUsage].critical, frozenset(name for name, bit in bits.items() if bit))


def _read_name_constraints(extensions: _Extensions, raw: _Raw) -> NameConstraints | None:
    value = _value(extensions, x509.NameConstraints)
    if value is None:
        return None
    permitted, excluded = tuple(value.permitted_subtrees or ()), tuple(value.excluded_subtrees or ())
    # A minimum or maximum is dropped in parsing; only the comparison with the original shows it.
    return NameConstraints(permitted, excluded, plain=value.public_bytes() in raw.rest)
