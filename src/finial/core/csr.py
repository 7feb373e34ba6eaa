"""Certificate signing requests, of which nothing is taken but the key."""

from __future__ import annotations

from cryptography import x509

from finial.core.errors import CSRError, KeyRefusedError, translated
from finial.core.keys import PublicKey, narrow
from finial.core.reasons import keys as reasons
from finial.core.x509cert import MAX_CERTIFICATE_BYTES


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
    if len(der) > MAX_CERTIFICATE_BYTES:
        raise _malformed(f"{len(der)} bytes, at most {MAX_CERTIFICATE_BYTES} are read")
    request = translated(lambda: x509.load_der_x509_csr(der), _malformed)
    key = narrow(translated(request.public_key, _unusable))
    if not translated(lambda: request.is_signature_valid, _malformed):
        message = "the signature of the request does not verify with the key in it"
        raise CSRError.because(reasons.CSR_SIGNATURE, message)
    return key


def _malformed(why: str) -> CSRError:
    return CSRError.because(reasons.CSR_MALFORMED, f"the request cannot be read: {why}")


def _unusable(why: str) -> KeyRefusedError:
    return KeyRefusedError.because(reasons.KEY_TYPE, f"the key of the request cannot be used: {why}")
