from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, padding, rsa, x25519

from finial.core import keys
from finial.core.errors import KeyRefusedError
from finial.core.keys import KeyType
from support import forge

KINDS = ["ec-p256", "ec-p384", "ec-p521", "rsa-2048", "ed25519"]


def reason(call: object, value: object) -> str:
    with pytest.raises(KeyRefusedError) as caught:
        call(value)  # type: ignore[operator]
    return caught.value.reason.id


@pytest.mark.parametrize("kind", KINDS)
def test_accepted_keys_survive_the_round_trip(kind: str) -> None:
    key = forge.key("keys", kind)
    read = keys.read_private_key(keys.write_private_key(key))
    der = keys.public_key_der(read.public_key())
    assert der == keys.public_key_der(keys.read_public_key(der))
    assert keys.fingerprint(key.public_key()) == hashlib.sha256(der).hexdigest()
    assert len(keys.subject_key_id(key.public_key())) == 20


def test_the_names_of_configuration() -> None:
    assert KeyType.of(forge.key("keys", "ec-p256")) is KeyType.EC_P256
    assert KeyType.of(forge.key("keys", "ec-p384").public_key()) is KeyType.EC_P384
    assert KeyType.of(forge.key("keys", "rsa-2048")) is KeyType.RSA_2048
    assert KeyType.of(forge.key("keys", "ec-p521")) is None
    assert KeyType.of(forge.key("keys", "rsa-3072").public_key()) is None
    assert KeyType.of(forge.key("keys", "ed25519")) is None
    assert [str(kind) for kind in KeyType] == ["rsa-2048", "rsa-4096", "ec-p256", "ec-p384"]


def test_weak_and_strange_keys() -> None:
    numbers = forge.key("keys", "rsa-2048").public_key().public_numbers()  # type: ignore[union-attr]
    n = numbers.n  # type: ignore[union-attr]
    assert reason(keys.narrow, rsa.RSAPublicNumbers(65537, n >> 1024).public_key()) == "key-weak"
    assert reason(keys.narrow, rsa.RSAPublicNumbers(65537, (n << 7000) | 1).public_key()) == "key-weak"
    assert reason(keys.narrow, rsa.RSAPublicNumbers(3, n).public_key()) == "key-weak"
    assert reason(keys.narrow, rsa.RSAPublicNumbers((1 << 33) + 1, n).public_key()) == "key-weak"
    assert reason(keys.narrow, ec.generate_private_key(ec.SECP256K1()).public_key()) == "key-type"
    assert reason(keys.narrow, x25519.X25519PrivateKey.generate().public_key()) == "key-type"
    assert reason(keys.narrow, ed448.Ed448PrivateKey.generate().public_key()) == "key-type"


def pkcs8(key: dsa.DSAPrivateKey | x25519.X25519PrivateKey, password: bytes = b"") -> bytes:
    secrecy = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, secrecy)


def test_private_keys_that_cannot_be_used() -> None:
    other = x25519.X25519PrivateKey.generate()
    assert reason(keys.read_private_key, b"garbage") == "key-malformed"
    assert reason(keys.read_private_key, pkcs8(other, b"password")) == "key-malformed"
    assert reason(keys.read_private_key, pkcs8(other)) == "key-type"
    assert reason(keys.read_public_key, b"garbage") == "key-malformed"


@pytest.mark.parametrize("kind", KINDS)
def test_signatures(kind: str) -> None:
    key, data = forge.key("keys", kind), b"data"
    digest = keys.signature_hash(key)
    assert type(digest) is type(keys.signature_hash(key.public_key()))
    parameters: ec.ECDSA | padding.PKCS1v15 | None = None
    match key:
        case ec.EllipticCurvePrivateKey():
            assert digest is not None
            parameters = ec.ECDSA(digest)
            signature = key.sign(data, parameters)
        case rsa.RSAPrivateKey():
            assert digest is not None
            parameters = padding.PKCS1v15()
            signature = key.sign(data, parameters, digest)
        case _:
            signature = key.sign(data)
    assert keys.verifies(key.public_key(), (signature, data, parameters, digest))
    assert not keys.verifies(key.public_key(), (signature, b"other", parameters, digest))
    for other in {"ec-p256", "rsa-2048", "ed25519"} - {kind}:
        assert not keys.verifies(
            forge.key("another", other).public_key(), (signature, data, parameters, digest)
        )


def test_hashes() -> None:
    assert keys.strong(hashes.SHA256())
    assert keys.strong(None)
    assert not keys.strong(hashes.SHA1())
    assert not keys.strong(hashes.SHA224())
