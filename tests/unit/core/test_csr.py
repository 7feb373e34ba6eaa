from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from finial.core.csr import read_csr
from finial.core.errors import CSRError, KeyRefusedError, RefusedError
from finial.core.keys import PrivateKey, public_key_der
from support import forge


def request(key: PrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    builder = x509.CertificateSigningRequestBuilder().subject_name(forge.name("x"))
    return builder.sign(key, digest).public_bytes(Encoding.DER)


@pytest.mark.parametrize("kind", ["ec-p256", "ec-p384", "rsa-2048", "ed25519"])
def test_the_key_comes_back(kind: str) -> None:
    key = forge.key("csr", kind)
    assert public_key_der(read_csr(request(key))) == public_key_der(key.public_key())


def reason(der: bytes, error: type[RefusedError] = CSRError) -> str:
    with pytest.raises(error) as caught:
        read_csr(der)
    return caught.value.reason.id


def test_what_is_refused() -> None:
    good = request(forge.key("csr"))
    assert reason(b"") == "csr-malformed"
    assert reason(b"x" * 40000) == "csr-malformed"
    assert reason(good + b"\0") == "csr-malformed"
    assert reason(forge.flipped(good, len(good) - 1)) == "csr-signature"
    assert reason(request(rsa.generate_private_key(65537, 1024)), KeyRefusedError) == "key-weak"
    assert reason(request(ec.generate_private_key(ec.SECP256K1())), KeyRefusedError) == "key-type"
    unknown = good.replace(forge.oid("1.2.840.10045.2.1"), forge.oid("1.2.840.10045.2.9"))
    assert reason(unknown, KeyRefusedError) == "key-type"
