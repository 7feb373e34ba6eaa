"""Keys as JSON objects (JWK, RFC 7517): their parameters, and no other member."""

from __future__ import annotations

from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from finial.core import base64url
from finial.core.errors import KeyRefusedError, shown, translated
from finial.core.keys import PrivateKey, PublicKey, narrow
from finial.core.reasons import keys as reasons

PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
"""What a published key must not have. Clauses: JWT-33, WIT-13."""

_CURVES: Mapping[str, ec.EllipticCurve] = {
    "P-256": ec.SECP256R1(),
    "P-384": ec.SECP384R1(),
    "P-521": ec.SECP521R1(),
}
_NAMES = {curve.name: name for name, curve in _CURVES.items()}
_RSA_PRIVATE = ("d", "p", "q", "dp", "dq", "qi")


def write_public(key: PublicKey) -> dict[str, object]:
    """The members of a public key."""
    match key:
        case ec.EllipticCurvePublicKey():
            point, size = key.public_numbers(), _size(key.curve)
            x, y = (base64url.encode_number(each, size) for each in (point.x, point.y))
            return {"kty": "EC", "crv": _NAMES[key.curve.name], "x": x, "y": y}
        case rsa.RSAPublicKey():
            public = key.public_numbers()
            return {"kty": "RSA", "n": _number(public.n), "e": _number(public.e)}
    return {"kty": "OKP", "crv": "Ed25519", "x": base64url.encode(key.public_bytes_raw())}


def read_public(members: Mapping[str, object]) -> PublicKey:
    """The public key that an object describes; members that say nothing of it are not looked at.

    Args:
        members: Of the object.

    Raises:
        KeyRefusedError: They describe none, or one that is not accepted.
    """
    return narrow(translated(lambda: _read(members), _refuse))


def write_private(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> dict[str, object]:
    """The members of a key with its private half; whoever calls this holds a secret in memory."""
    public = write_public(key.public_key())
    if isinstance(key, ec.EllipticCurvePrivateKey):
        secret = key.private_numbers().private_value
        return {**public, "d": base64url.encode_number(secret, _size(key.curve))}
    numbers = key.private_numbers()
    values = (numbers.d, numbers.p, numbers.q, numbers.dmp1, numbers.dmq1, numbers.iqmp)
    return {**public, **dict(zip(_RSA_PRIVATE, map(_number, values), strict=True))}


def read_private(members: Mapping[str, object]) -> PrivateKey:
    """The private key that an object describes.

    Args:
        members: Of the object.

    Raises:
        KeyRefusedError: They describe none, or one that is not accepted. The message never quotes them.
    """

    def refuse(_why: str) -> KeyRefusedError:
        message = "the object is no private key on P-256, P-384 or P-521, and no private RSA key"
        return KeyRefusedError.because(reasons.KEY_MALFORMED, message)

    public = read_public(members)
    return translated(lambda: _read_private(public, members), refuse)


def _read(members: Mapping[str, object]) -> object:
    kty = _text(members, "kty")
    if kty == "EC":
        name = _text(members, "crv")
        if name not in _CURVES:
            raise KeyRefusedError.because(reasons.KEY_TYPE, f"curve {shown(name)} is not supported")
        x, y = (_coordinate(members, axis, _CURVES[name]) for axis in ("x", "y"))
        point = ec.EllipticCurvePublicNumbers(x, y, _CURVES[name])
        key = point.public_key()
        if key.public_numbers() != point:  # reduced on the way: one key would have several spellings
            raise ValueError("a coordinate is not one of the curve's field")
        return key
    if kty == "RSA":
        n, e = (base64url.decode_number(_text(members, each)) for each in ("n", "e"))
        return rsa.RSAPublicNumbers(e, n).public_key()
    if kty == "OKP" and members.get("crv") == "Ed25519":
        return ed25519.Ed25519PublicKey.from_public_bytes(base64url.decode(_text(members, "x")))
    raise KeyRefusedError.because(reasons.KEY_TYPE, f"keys of type {shown(kty)} are not supported")


def _read_private(public: PublicKey, members: Mapping[str, object]) -> PrivateKey:
    if isinstance(public, ec.EllipticCurvePublicKey):
        secret = _coordinate(members, "d", public.curve)
        return ec.EllipticCurvePrivateNumbers(secret, public.public_numbers()).private_key()
    if not isinstance(public, rsa.RSAPublicKey) or "oth" in members:
        raise ValueError
    d, p, q, dmp1, dmq1, iqmp = (base64url.decode_number(_text(members, each)) for each in _RSA_PRIVATE)
    return rsa.RSAPrivateNumbers(p, q, d, dmp1, dmq1, iqmp, public.public_numbers()).private_key()


def _text(members: Mapping[str, object], name: str) -> str:
    value = members.get(name)
    if not isinstance(value, str):
        raise KeyRefusedError.because(reasons.KEY_MALFORMED, f"the member {name} is missing or is not a text")
    return value


def _coordinate(members: Mapping[str, object], name: str, curve: ec.EllipticCurve) -> int:
    data = base64url.decode(_text(members, name))
    # spec: RFC 7518 6.2.1.2, as long as the curve, leading zeros included.
    if len(data) != _size(curve):
        raise ValueError(f"the member {name} is not as long as the curve")
    return int.from_bytes(data, "big")


def _size(curve: ec.EllipticCurve) -> int:
    return (curve.key_size + 7) // 8


def _number(value: int) -> str:
    return base64url.encode_number(value, (value.bit_length() + 7) // 8)


def _refuse(why: str) -> KeyRefusedError:
    return KeyRefusedError.because(reasons.KEY_MALFORMED, f"the key cannot be read: {why}")
