from __future__ import annotations

import pytest

from finial.core import base64url, jwk
from finial.core.algorithms import Algorithm, algorithm_of, fits, sign, verifies
from finial.core.errors import KeyRefusedError
from support import forge

DATA = b"header.payload"
KIND = {"RS": "rsa-2048", "PS": "rsa-2048", "ES256": "ec-p256", "ES384": "ec-p384", "ES512": "ec-p521"}

# RFC 7515, A.2 and A.3: the same claims, signed by two keys.
PAYLOAD = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
EC_KEY = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
EC_SIGNATURE = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
RSA_KEY = {
    "kty": "RSA",
    "e": "AQAB",
    "n": (
        "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yR"
        "T-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXB"
        "dQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9ia"
        "GNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"
    ),
}
RSA_SIGNATURE = (
    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdb"
    "F9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383"
    "LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWy"
    "wlVmtVrBp0igcN_IoypGlUPQGe77Rw"
)


def kind_of(algorithm: Algorithm) -> str:
    return KIND.get(algorithm.value) or KIND[algorithm.value[:2]]


@pytest.mark.parametrize("algorithm", Algorithm)
def test_each_of_the_nine_signs_and_verifies_with_its_own_kind_of_key(algorithm: Algorithm) -> None:
    key = forge.key("algorithms", kind_of(algorithm))
    signature = sign(key, algorithm, DATA)
    assert verifies(key.public_key(), algorithm, DATA, signature)
    assert not verifies(key.public_key(), algorithm, DATA + b".", signature)
    assert not verifies(key.public_key(), algorithm, DATA, signature[:-1])
    assert not verifies(key.public_key(), algorithm, DATA, signature + b"\0")
    assert not verifies(key.public_key(), algorithm, DATA, b"")
    assert not verifies(key.public_key(), algorithm, DATA, b"\0" * len(signature))
    for other in Algorithm:
        if other is not algorithm:
            assert not verifies(key.public_key(), other, DATA, signature)


@pytest.mark.parametrize("kind", ["ec-p256", "ec-p384", "ec-p521", "rsa-2048", "ed25519"])
def test_an_algorithm_goes_with_its_own_kind_of_key_alone(kind: str) -> None:
    key = forge.key("algorithms", kind)
    for algorithm in Algorithm:
        good = kind_of(algorithm) == kind
        assert fits(algorithm, key) is good
        assert fits(algorithm, key.public_key()) is good
        if not good:
            with pytest.raises(KeyRefusedError) as caught:
                sign(key, algorithm, DATA)
            assert caught.value.reason.id == "key-type"


def test_the_usual_algorithm_of_a_key() -> None:
    usual = {"ec-p256": "ES256", "ec-p384": "ES384", "ec-p521": "ES512", "rsa-2048": "RS256"}
    for kind, name in usual.items():
        key = forge.key("algorithms", kind)
        assert algorithm_of(key) == algorithm_of(key.public_key()) == name
    with pytest.raises(KeyRefusedError) as caught:
        algorithm_of(forge.key("algorithms", "ed25519"))
    assert caught.value.reason.id == "key-type"


@pytest.mark.parametrize(
    ("header", "key", "signature", "algorithm"),
    [
        ("eyJhbGciOiJFUzI1NiJ9", EC_KEY, EC_SIGNATURE, Algorithm.ES256),
        ("eyJhbGciOiJSUzI1NiJ9", RSA_KEY, RSA_SIGNATURE, Algorithm.RS256),
    ],
)
def test_signatures_of_the_rfc(
    header: str, key: dict[str, object], signature: str, algorithm: Algorithm
) -> None:
    data = f"{header}.{PAYLOAD}".encode()
    assert verifies(jwk.read_public(key), algorithm, data, base64url.decode(signature))
    assert not verifies(jwk.read_public(key), algorithm, data.lower(), base64url.decode(signature))
