from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from finial.core import base64url, jwk
from finial.core.errors import KeyRefusedError
from finial.core.keys import PrivateKey
from support import forge

KINDS = ["ec-p256", "ec-p384", "ec-p521", "rsa-2048"]
EC = jwk.write_public(forge.key("jwk").public_key())
RSA = jwk.write_public(forge.key("jwk", "rsa-2048").public_key())


def secret(kind: str) -> dict[str, object]:
    key = forge.key("jwk", kind)
    assert not isinstance(key, ed25519.Ed25519PrivateKey)
    return jwk.write_private(key)


def reason(members: dict[str, object]) -> str:
    with pytest.raises(KeyRefusedError) as caught:
        jwk.read_public(members)
    return caught.value.reason.id


@pytest.mark.parametrize("kind", [*KINDS, "ed25519"])
def test_public_keys_both_ways(kind: str) -> None:
    key = forge.key("jwk", kind).public_key()
    members = jwk.write_public(key)
    assert jwk.read_public({**members, "use": "jwt-svid", "kid": "x", "further": None}) == key
    assert not jwk.PRIVATE_MEMBERS & members.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_private_keys_both_ways(kind: str) -> None:
    key: PrivateKey = forge.key("jwk", kind)
    read = jwk.read_private(secret(kind))
    assert read.public_key() == key.public_key()
    assert jwk.PRIVATE_MEMBERS & secret(kind).keys()


def test_the_widths_of_coordinates() -> None:
    public = jwk.write_public(forge.key("jwk", "ec-p521").public_key())
    assert [len(str(public[axis])) for axis in ("x", "y")] == [88, 88]
    # RFC 7517, A.1: the exponent without leading zeros
    assert RSA["e"] == "AQAB"


@pytest.mark.parametrize(
    ("members", "wanted"),
    [
        ({}, "key-malformed"),
        ({"kty": 1}, "key-malformed"),
        ({"kty": "oct", "k": "AA"}, "key-type"),
        ({"kty": "ec"}, "key-type"),
        ({**EC, "crv": "secp256k1"}, "key-type"),
        ({**EC, "crv": None}, "key-malformed"),
        ({**EC, "crv": "P-384"}, "key-malformed"),
        ({**EC, "x": EC["y"], "y": EC["x"]}, "key-malformed"),
        ({**EC, "x": f"{EC['x']}="}, "key-malformed"),
        ({**EC, "x": ""}, "key-malformed"),
        ({**RSA, "n": ""}, "key-malformed"),
        ({**RSA, "n": "AQAB"}, "key-malformed"),
        ({**RSA, "e": "Aw"}, "key-weak"),
        ({**RSA, "e": 65537}, "key-malformed"),
        ({"kty": "OKP", "crv": "X25519", "x": "AA"}, "key-type"),
        ({"kty": "OKP", "crv": "Ed25519", "x": "AA"}, "key-malformed"),
    ],
)
def test_what_is_no_public_key(members: dict[str, object], wanted: str) -> None:
    assert reason(members) == wanted


def test_a_key_has_one_spelling() -> None:
    field = 2**256 - 2**224 + 2**192 + 2**96 - 1
    y = 0x66485C780E2F83D72433BD5D84A06BB6541C2AF31DAE871728BF856A174F93F4
    members = {"kty": "EC", "crv": "P-256", "y": base64url.encode_number(y, 32)}
    key = jwk.read_public({**members, "x": base64url.encode_number(0, 32)})
    assert jwk.write_public(key)["y"] == members["y"]
    assert reason({**members, "x": base64url.encode_number(field, 32)}) == "key-malformed"


@pytest.mark.parametrize(
    "members",
    [
        {**secret("ec-p256"), "d": "AA"},
        {**secret("ec-p256"), "d": secret("rsa-2048")["d"]},
        {name: value for name, value in secret("ec-p256").items() if name != "d"},
        {**secret("ec-p256"), "d": jwk.write_private(ec.generate_private_key(ec.SECP256R1()))["d"]},
        {**secret("rsa-2048"), "oth": []},
        {**secret("rsa-2048"), "p": secret("rsa-2048")["q"]},
        {name: value for name, value in secret("rsa-2048").items() if name != "qi"},
        {**jwk.write_public(forge.key("jwk", "ed25519").public_key()), "d": "AA"},
    ],
)
def test_what_is_no_private_key_is_not_quoted(members: dict[str, object]) -> None:
    with pytest.raises(KeyRefusedError) as caught:
        jwk.read_private(members)
    assert caught.value.reason.id == "key-malformed"
    assert str(members.get("d")) not in str(caught.value)


def test_rsa_numbers_of_two_primes() -> None:
    key = jwk.read_private(secret("rsa-2048"))
    assert isinstance(key, rsa.RSAPrivateKey)
    original = forge.key("jwk", "rsa-2048")
    assert isinstance(original, rsa.RSAPrivateKey)
    assert key.private_numbers() == original.private_numbers()
