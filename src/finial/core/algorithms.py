"""The nine signature algorithms of tokens, each with its own kind of key and its own hash.

Clauses: JWT-05, JWT-07, WIT-07, WIT-14.
"""

from __future__ import annotations

from enum import StrEnum

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from finial.core.errors import KeyRefusedError
from finial.core.keys import PrivateKey, PublicKey, SigningHash
from finial.core.reasons import keys as reasons


class Algorithm(StrEnum):
    """How a token is signed; the values are those of its header parameter `alg`."""

    RS256 = "RS256"
    RS384 = "RS384"
    RS512 = "RS512"
    ES256 = "ES256"
    ES384 = "ES384"
    ES512 = "ES512"
    PS256 = "PS256"
    PS384 = "PS384"
    PS512 = "PS512"


_HASHES: dict[str, SigningHash] = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
_HASH = {algorithm: _HASHES[algorithm[2:]] for algorithm in Algorithm}
_OF_CURVE = {"secp256r1": Algorithm.ES256, "secp384r1": Algorithm.ES384, "secp521r1": Algorithm.ES512}
_ECDSA = {algorithm: ec.ECDSA(_HASH[algorithm]) for algorithm in _OF_CURVE.values()}
_CURVE_OF = {algorithm: curve for curve, algorithm in _OF_CURVE.items()}


def algorithm_of(key: PublicKey | PrivateKey) -> Algorithm:
    """The algorithm that a token is signed with by a key.

    Args:
        key: RSA keys sign by RS256 unless something else is asked for.

    Raises:
        KeyRefusedError: No algorithm of tokens goes with keys of this type.
    """
    match key:
        case ec.EllipticCurvePublicKey() | ec.EllipticCurvePrivateKey() if key.curve.name in _OF_CURVE:
            return _OF_CURVE[key.curve.name]
        case rsa.RSAPublicKey() | rsa.RSAPrivateKey():
            return Algorithm.RS256
    message = "tokens are signed with RSA keys, or with keys on the curves P-256, P-384 and P-521"
    raise KeyRefusedError.because(reasons.KEY_TYPE, message)


def fits(algorithm: Algorithm, key: PublicKey | PrivateKey) -> bool:
    """Whether an algorithm goes with a key."""
    match key:
        case ec.EllipticCurvePublicKey() | ec.EllipticCurvePrivateKey():
            return _CURVE_OF.get(algorithm) == key.curve.name
        case rsa.RSAPublicKey() | rsa.RSAPrivateKey():
            return algorithm not in _CURVE_OF
    return False


def sign(key: PrivateKey, algorithm: Algorithm, data: bytes) -> bytes:
    """A signature in the form that tokens have it: for elliptic curves r and s, each as long as the curve.

    Args:
        key: One that the algorithm goes with.
        algorithm: How.
        data: What.

    Raises:
        KeyRefusedError: The algorithm does not go with the key.
    """
    curve = _CURVE_OF.get(algorithm)
    if curve is not None:
        if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name == curve:
            length = _coordinate(key)
            r, s = decode_dss_signature(key.sign(data, _ECDSA[algorithm]))
            return r.to_bytes(length, "big") + s.to_bytes(length, "big")
    elif isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, _padding(algorithm), _HASH[algorithm])
    raise KeyRefusedError.because(reasons.KEY_TYPE, f"the key cannot sign by {algorithm}")


def verifies(key: PublicKey, algorithm: Algorithm, data: bytes, signature: bytes) -> bool:
    """Whether the owner of a key has signed something.

    A boolean, because of several keys without a name each is tried; whoever asks raises.

    Args:
        key: Of any kind; one that the algorithm does not go with verifies nothing.
        algorithm: How it was signed.
        data: What was signed.
        signature: As `sign` makes it.
    """
    curve = _CURVE_OF.get(algorithm)  # as `fits` looks, which would find out twice what kind of key it is
    try:
        if curve is not None:
            if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != curve:
                return False
            length = _coordinate(key)
            if len(signature) != 2 * length:
                return False
            r, s = (int.from_bytes(half, "big") for half in (signature[:length], signature[length:]))
            key.verify(encode_dss_signature(r, s), data, _ECDSA[algorithm])
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, data, _padding(algorithm), _HASH[algorithm])
        else:
            return False
    except InvalidSignature:
        return False
    return True


def _coordinate(key: ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey) -> int:
    return (key.curve.key_size + 7) // 8


def _padding(algorithm: Algorithm) -> padding.PKCS1v15 | padding.PSS:
    if algorithm.startswith("PS"):
        # spec: RFC 7518 3.5, the salt is as long as the hash.
        return padding.PSS(padding.MGF1(_HASH[algorithm]), _HASH[algorithm].digest_size)
    return padding.PKCS1v15()
