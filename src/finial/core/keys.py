"""Keys: which kinds there are, which are accepted, and checking a signature with one.

Nothing here makes a key, since that needs a source of randomness: key managers do.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from finial.core.errors import KeyRefusedError, translated
from finial.core.reasons import keys as reasons

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

SigningHash = hashes.SHA256 | hashes.SHA384 | hashes.SHA512

# A signature as a certificate carries it: its bytes, what they sign, the parameters, the hash.
Signed = tuple[bytes, bytes, ec.ECDSA | padding.PKCS1v15 | padding.PSS | None, hashes.HashAlgorithm | None]

# Below, factoring is within reach; above, one signature check costs a peer's packet milliseconds.
MIN_RSA_BITS, MAX_RSA_BITS = 2048, 8192
# Small exponents have a history of forgeries, and large ones multiply the cost of each check.
MIN_RSA_EXPONENT, MAX_RSA_EXPONENT = 65537, (1 << 32) - 1

_CURVES = frozenset({"secp256r1", "secp384r1", "secp521r1"})
_STRONG = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_EC_HASH: dict[str, SigningHash] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}


class KeyType(StrEnum):
    """The kinds of key that a server makes, by the names that its configuration uses."""

    RSA_2048 = "rsa-2048"
    RSA_4096 = "rsa-4096"
    EC_P256 = "ec-p256"
    EC_P384 = "ec-p384"

    @classmethod
    def of(cls, key: object) -> KeyType | None:
        """The kind of a public or private key; None for one that no configuration names."""
        match key:
            case ec.EllipticCurvePublicKey() | ec.EllipticCurvePrivateKey():
                return {"secp256r1": cls.EC_P256, "secp384r1": cls.EC_P384}.get(key.curve.name)
            case rsa.RSAPublicKey() | rsa.RSAPrivateKey():
                return {2048: cls.RSA_2048, 4096: cls.RSA_4096}.get(key.key_size)
        return None


def narrow(key: object) -> PublicKey:
    """The same key, when its algorithm, curve and size are ones that are accepted.

    Args:
        key: A public key of `cryptography`, of any sort.

    Raises:
        KeyRefusedError: The algorithm or curve is not supported, or the key is weak or oversized.
    """
    match key:
        case ec.EllipticCurvePublicKey():
            if key.curve.name in _CURVES:
                return key
            raise KeyRefusedError.because(reasons.KEY_TYPE, f"curve {key.curve.name} is not supported")
        case ed25519.Ed25519PublicKey():
            return key
        case rsa.RSAPublicKey():
            return _narrow_rsa(key)
    name = type(key).__name__.removesuffix("PublicKey")
    raise KeyRefusedError.because(reasons.KEY_TYPE, f"keys of type {name} are not supported")


def _narrow_rsa(key: rsa.RSAPublicKey) -> rsa.RSAPublicKey:
    bits, exponent = key.key_size, key.public_numbers().e
    if not MIN_RSA_BITS <= bits <= MAX_RSA_BITS:
        message = f"RSA key of {bits} bits, {MIN_RSA_BITS} to {MAX_RSA_BITS} are accepted"
        raise KeyRefusedError.because(reasons.KEY_WEAK, message)
    if not (MIN_RSA_EXPONENT <= exponent <= MAX_RSA_EXPONENT and exponent & 1):
        message = f"RSA key with a public exponent of {exponent.bit_length()} bits that is not accepted"
        raise KeyRefusedError.because(reasons.KEY_WEAK, message)
    return key


def read_public_key(der: bytes) -> PublicKey:
    """The public key in a SubjectPublicKeyInfo.

    Args:
        der: DER.

    Raises:
        KeyRefusedError: Unreadable, or a key that is not accepted.
    """

    def refuse(why: str) -> KeyRefusedError:
        return KeyRefusedError.because(reasons.KEY_MALFORMED, f"the public key cannot be read: {why}")

    return narrow(translated(lambda: serialization.load_der_public_key(der), refuse))


def read_private_key(der: bytes) -> PrivateKey:
    """The private key in an unencrypted PKCS#8.

    Args:
        der: DER.

    Raises:
        KeyRefusedError: Unreadable or encrypted, or a key that is not accepted. The message never quotes it.
    """

    def refuse(_why: str) -> KeyRefusedError:
        return KeyRefusedError.because(reasons.KEY_MALFORMED, "the private key is not an unencrypted PKCS#8")

    key = translated(lambda: serialization.load_der_private_key(der, None), refuse)
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey):
        message = f"keys of type {type(key).__name__.removesuffix('PrivateKey')} are not supported"
        raise KeyRefusedError.because(reasons.KEY_TYPE, message)
    narrow(key.public_key())
    return key


def write_private_key(key: PrivateKey) -> bytes:
    """The key as unencrypted PKCS#8 DER; whoever calls this holds a secret in memory."""
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.DER, form, serialization.NoEncryption())


def public_key_der(key: PublicKey) -> bytes:
    """The SubjectPublicKeyInfo of a key, in DER."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def fingerprint(key: PublicKey) -> str:
    """SHA-256 over the key's SubjectPublicKeyInfo, in lower-case hex: names a key in lists and logs."""
    return hashlib.sha256(public_key_der(key)).hexdigest()


def subject_key_id(key: PublicKey) -> bytes:
    """The key identifier that certificates carry: SHA-1 over the key's bits, 20 bytes.

    SHA-1 is no weakness here: the value only helps to find an issuer, whose signature is then checked.
    """
    return x509.SubjectKeyIdentifier.from_public_key(key).digest


def signature_hash(key: PublicKey | PrivateKey) -> SigningHash | None:
    """The hash that a certificate authority with this key signs with; None for Ed25519, which has its own."""
    match key:
        case ec.EllipticCurvePublicKey() | ec.EllipticCurvePrivateKey():
            return _EC_HASH[key.curve.name]
        case rsa.RSAPublicKey() | rsa.RSAPrivateKey():
            return hashes.SHA256()
    return None


def strong(digest: hashes.HashAlgorithm | None) -> bool:
    """Whether a hash is one that signatures are accepted with (None: the algorithm brings its own)."""
    return digest is None or isinstance(digest, _STRONG)


def verifies(key: PublicKey, signed: Signed) -> bool:
    """Whether a signature was made by the owner of the key.

    A boolean, because path building tries keys: a failure means to try the next one.

    Args:
        key: The key.
        signed: What was signed, and how.
    """
    signature, data, parameters, digest = signed
    try:
        match key, parameters:
            case ec.EllipticCurvePublicKey(), ec.ECDSA():
                key.verify(signature, data, parameters)
            case rsa.RSAPublicKey(), padding.PKCS1v15() | padding.PSS() if digest is not None:
                key.verify(signature, data, parameters, digest)
            case ed25519.Ed25519PublicKey(), None if digest is None:
                key.verify(signature, data)
            case _:
                return False  # made with a key of another kind
    except InvalidSignature:
        return False
    return True
