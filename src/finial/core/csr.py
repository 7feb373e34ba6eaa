"""Certificate signing requests: for agents nothing is taken of them but the key, for operators more."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from cryptography.x509.oid import NameOID

from finial.core.errors import CSRError, KeyRefusedError, shown, translated
from finial.core.ids import SpiffeID
from finial.core.keys import PublicKey, narrow
from finial.core.reasons import keys as reasons
from finial.core.x509cert import MAX_CERTIFICATE_BYTES

_MAX_COMMON_NAME = 64  # RFC 5280, ub-common-name


def read_csr(der: bytes) -> PublicKey:
    """The key that a request asks a certificate for; its owner has signed the request with it.

    Names, extensions and attributes of a request are not returned, so that no caller can be tempted: what a
    certificate says comes from the registration entry. spec: ID-45

    Args:
        der: PKCS#10 in DER, at most 32 KiB.

    Raises:
        CSRError: It cannot be read, or is not signed by its own key.
        KeyRefusedError: The key is not one that is accepted.
    """
    return _read(der)[1]


@dataclass(frozen=True, slots=True)
class MintRequest:
    """A request of an operator, who may name any workload.

    Args:
        public_key: The key.
        spiffe_id: Its one URI.
        dns_names: Its DNS names, in order, each once.
        subject: Its subject, the common name replaced by the first DNS name; None for an empty one.
    """

    public_key: PublicKey
    spiffe_id: SpiffeID
    dns_names: tuple[str, ...]
    subject: x509.Name | None


def read_mint_request(der: bytes) -> MintRequest:
    """What an operator's request asks for. Whoever calls this has made sure that it is one.

    Args:
        der: PKCS#10 in DER, at most 32 KiB.

    Raises:
        CSRError: It cannot be read, is not signed by its own key, or does not have exactly one URI.
        KeyRefusedError: The key is not one that is accepted.
        SpiffeIDError: The URI is no SPIFFE ID.
    """
    request, key = _read(der)
    names = translated(lambda: _alternative_names(request), _malformed)
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1:
        message = f"the request has {len(uris)} URIs among its names where one SPIFFE ID belongs"
        raise CSRError.because(reasons.CSR_NAMES, message)
    dns_names = tuple(dict.fromkeys(names.get_values_for_type(x509.DNSName)))
    for name in dns_names:
        wildcard = f"*.{name.partition('.')[2]}"
        if name != wildcard and wildcard in dns_names:
            message = f"the DNS name {shown(name)} is covered by {shown(wildcard)}"
            raise CSRError.because(reasons.CSR_NAMES, message)
    subject = translated(lambda: request.subject, _malformed)
    return MintRequest(key, SpiffeID(uris[0]), dns_names, _subject(subject, dns_names))


def _alternative_names(request: x509.CertificateSigningRequest) -> x509.SubjectAlternativeName:
    try:
        return request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return x509.SubjectAlternativeName([])


def _subject(subject: x509.Name, dns_names: tuple[str, ...]) -> x509.Name | None:
    if not subject.rdns:
        return None
    if not dns_names:
        return subject
    others = [attribute for attribute in subject if attribute.oid != NameOID.COMMON_NAME]
    # One that cannot be a common name stands among the alternative names alone, where issuing judges it.
    common = [
        x509.NameAttribute(NameOID.COMMON_NAME, name)
        for name in dns_names[:1]
        if 1 <= len(name) <= _MAX_COMMON_NAME
    ]
    return x509.Name([*others, *common])


def _read(der: bytes) -> tuple[x509.CertificateSigningRequest, PublicKey]:
    if len(der) > MAX_CERTIFICATE_BYTES:
        raise _malformed(f"{len(der)} bytes, at most {MAX_CERTIFICATE_BYTES} are read")
    request = translated(lambda: x509.load_der_x509_csr(der), _malformed)
    key = narrow(translated(request.public_key, _unusable))
    if not translated(lambda: request.is_signature_valid, _malformed):
        message = "the signature of the request does not verify with the key in it"
        raise CSRError.because(reasons.CSR_SIGNATURE, message)
    return request, key


def _malformed(why: str) -> CSRError:
    return CSRError.because(reasons.CSR_MALFORMED, f"the request cannot be read: {why}")


def _unusable(why: str) -> KeyRefusedError:
    return KeyRefusedError.because(reasons.KEY_TYPE, f"the key of the request cannot be used: {why}")
