"""Keys as JSON objects and as DER: a key that is written as it was read, or a refusal that quotes nothing."""

from __future__ import annotations

import json
import random  # noqa: TID251 - seeded
from functools import cache

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519

from finial.core import base64url, jwk, keys
from finial.core.errors import KeyRefusedError
from fuzz import stock
from fuzz.target import Target, refused_well

_KINDS = ("ec-p256", "ec-p384", "ec-p521", "rsa-2048")
_SELDOM = 64
_SECRET = ("d", "p", "q", "dp", "dq", "qi")
_NUMBERS = ("n", "e", *_SECRET)


def check(data: bytes) -> None:
    """Bytes that begin as an object does are a JWK, others DER."""
    if not data.startswith(b"{"):
        _der(data)
        return
    try:
        members = json.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(members, dict):
        _public(members)
        # Whether the numbers of an RSA key are primes takes as long as everything else for a thousand inputs.
        if members.get("kty") != "RSA" or len(data) % _SELDOM == 0:
            _private(members)


def _public(members: dict[str, object]) -> None:
    try:
        key = jwk.read_public(members)
    except KeyRefusedError as refused:
        refused_well(refused, *_secrets(members))
        return
    assert keys.narrow(key) is key
    assert jwk.read_public(jwk.write_public(key)) == key
    assert _canonical(members, jwk.write_public(key))


def _private(members: dict[str, object]) -> None:
    try:
        key = jwk.read_private(members)
    except KeyRefusedError as refused:
        refused_well(refused, *_secrets(members))
        return
    assert isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
    assert jwk.read_public(members) == key.public_key()
    written = jwk.write_private(key)
    assert jwk.read_private(written).public_key() == key.public_key()
    assert members["d"] == written["d"] or isinstance(key, rsa.RSAPrivateKey)


def _canonical(members: dict[str, object], written: dict[str, object]) -> bool:
    """Whether an object says what would be written; numbers of RSA keys may have zeros in front."""
    return all(
        base64url.decode_number(str(members[name])) == base64url.decode_number(str(value))
        if name in _NUMBERS
        else members[name] == value
        for name, value in written.items()
    )


def _secrets(members: dict[str, object]) -> list[str]:
    said = str([value for name, value in members.items() if name not in _SECRET])
    return [value for name in _SECRET if isinstance(value := members.get(name), str) and value not in said]


def _der(data: bytes) -> None:
    try:
        key = keys.read_public_key(data)
    except KeyRefusedError as refused:
        refused_well(refused)
    else:
        assert keys.narrow(key) is key
        assert keys.read_public_key(keys.public_key_der(key)) == key
        assert len(keys.fingerprint(key)) == 64
        assert len(keys.subject_key_id(key)) == 20
    try:
        private = keys.read_private_key(data)
    except KeyRefusedError as refused:
        refused_well(refused, data.hex())
    else:
        again = keys.read_private_key(keys.write_private_key(private))
        assert again.public_key() == private.public_key()


@cache
def _objects() -> list[dict[str, object]]:
    made = [stock.key("jwk", kind) for kind in _KINDS]
    private = [jwk.write_private(key) for key in made if not hasattr(key, "private_bytes_raw")]
    return [*private, jwk.write_public(stock.key("jwk", "ed25519").public_key())]


def corpus() -> list[bytes]:
    made = [stock.key("jwk", kind) for kind in (*_KINDS, "ed25519")]
    public = [jwk.write_public(key.public_key()) for key in made]
    der = [
        *(keys.public_key_der(key.public_key()) for key in made),
        *(keys.write_private_key(key) for key in made),
    ]
    der += _foreign()
    objects = [json.dumps(each).encode() for each in (*_objects(), *public)]
    return [*(each.ljust(-(-len(each) // _SELDOM) * _SELDOM) for each in objects), *objects, *der, b"{}", b""]


def _foreign() -> list[bytes]:
    """Keys that others may use: of another curve, of another sort, too short."""
    spki, pkcs8 = serialization.PublicFormat.SubjectPublicKeyInfo, serialization.PrivateFormat.PKCS8
    der, open_ = serialization.Encoding.DER, serialization.NoEncryption()
    koblitz = ec.derive_private_key(7, ec.SECP256K1())
    agreement = x25519.X25519PrivateKey.from_private_bytes(bytes(32))
    numbers = jwk.read_public(jwk.write_public(stock.key("jwk", "rsa-2048").public_key()))
    assert isinstance(numbers, rsa.RSAPublicKey)
    short = rsa.RSAPublicNumbers(65537, numbers.public_numbers().n >> 1025 | 1).public_key()
    small = rsa.RSAPublicNumbers(3, numbers.public_numbers().n).public_key()
    public = (koblitz.public_key(), agreement.public_key(), short, small)
    private = (koblitz, agreement)
    return [
        *(key.public_bytes(der, spki) for key in public),
        *(key.private_bytes(der, pkcs8, open_) for key in private),
    ]


_ODD: tuple[object, ...] = (
    "", "A", "AA", "AQAB", "Aw", "AAEAAQ", "!", "AB", "A" * 43, "A" * 86, "A" * 342, "_" * 2000,
    "A" * 170 + "BA", "P-256", "P-384", "P-521", "P-224", "Ed25519", "X25519", "EC", "RSA", "OKP", "oct", 7,
    None, True, [], {}, "\u00e9", "AA==",
)  # fmt: skip


def generate(source: random.Random) -> bytes:
    """A key in which some members are others, or have a character more, less or another."""
    members = dict(source.choice(_objects()))
    for _ in range(source.choice((0, 1, 1, 2))):
        name = source.choice([*members, "oth", "k"])
        value = members.get(name)
        if isinstance(value, str) and value and source.random() < 0.6:
            at = source.randrange(len(value))
            members[name] = (
                value[:at] + source.choice(("", "A", "_", "AA", "=")) + value[at + source.randint(0, 1) :]
            )
        else:
            members[name] = source.choice(_ODD)
    if source.random() < 0.1:
        del members[source.choice(list(members))]
    return json.dumps(members).encode()


_PARSER = ("finial.core.jwk", "finial.core.keys", "finial.core.base64url")
_OMITS = ("KeyType", "signature_hash", "strong", "verifies")
TARGET = Target("keys", corpus, check, generate, budget_s=0.5, modules=_PARSER, omits=_OMITS)
