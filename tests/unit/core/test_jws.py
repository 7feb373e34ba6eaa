from __future__ import annotations

import json

import pytest

from finial.core import base64url, jws
from finial.core.algorithms import Algorithm, verifies
from finial.core.errors import TokenParseError
from finial.core.rules.jwt import HEADER
from support import forge, tokens

GOOD = tokens.jwt()
KEY = tokens.authority()[1]


def refusal(token: str) -> TokenParseError:
    with pytest.raises(TokenParseError) as caught:
        jws.read(token, HEADER)
    return caught.value


def with_part(number: int, part: str) -> str:
    parts = GOOD.split(".")
    parts[number] = part
    return ".".join(parts)


def test_a_token_taken_apart() -> None:
    compact = jws.read(GOOD, HEADER)
    assert compact.header == {"alg": "ES256", "kid": "k1", "typ": "JWT"}
    assert compact.payload["sub"] == forge.WEB
    assert verifies(KEY.public_key(), Algorithm.ES256, jws.signed_part(GOOD), compact.signature)
    assert GOOD.split(".")[2] not in repr(compact)


@pytest.mark.parametrize(
    ("token", "wanted"),
    [
        ("", "token-form"),
        ("..", "token-json"),
        ("a.b", "token-form"),
        (f"{GOOD}.", "token-form"),
        (f".{GOOD}", "token-form"),
        (f"{GOOD}..", "token-form"),
        (f" {GOOD}", "token-form"),
        (f"{GOOD}\n", "token-form"),
        (f"{GOOD}=", "token-form"),
        (GOOD.replace(".", ".\n", 1), "token-form"),
        (GOOD.rpartition(".")[0] + ".", "token-form"),
        (GOOD + "A" * (jws.MAX_TOKEN_BYTES - len(GOOD) + 1), "token-large"),
        (json.dumps({"payload": "", "signatures": []}), "token-form"),
        (with_part(0, ""), "token-json"),
        (with_part(0, tokens.text(b"{}")), "jwt-algorithm"),
        (with_part(0, tokens.text(b"[]")), "token-json"),
        (with_part(0, tokens.text(b'{"alg":"ES256","alg":"ES256"}')), "token-duplicate-member"),
        (with_part(0, tokens.text(b'{"alg":"none"}')), "jwt-algorithm"),
        (with_part(1, ""), "token-json"),
        (with_part(1, tokens.text(b'{"sub":1e999}')), "token-json"),
        (with_part(1, tokens.text(b'{"sub":"\xff"}')), "token-json"),
        (with_part(1, tokens.text(b'{"a":' * 17 + b"1" + b"}" * 17)), "token-json"),
        (with_part(1, tokens.text(b'{"sub":"a","sub":"b"}')), "token-duplicate-member"),
        (with_part(1, "é"), "token-form"),
        (with_part(2, "AB"), "token-form"),
    ],
)
def test_what_is_no_token(token: str, wanted: str) -> None:
    found = refusal(token)
    assert found.reason.id == wanted
    assert len(str(found)) < 200


def test_the_payload_is_not_decoded_before_the_header_has_passed() -> None:
    header = tokens.text({"alg": "HS256"})
    assert refusal(f"{header}.!.!").reason.id == "jwt-algorithm"


def test_written_as_it_is_read() -> None:
    header = jws.write_header(Algorithm.ES256, "JWT", "k1")
    assert json.loads(base64url.decode(header)) == {"alg": "ES256", "kid": "k1", "typ": "JWT"}
    assert json.loads(base64url.decode(jws.write_header(Algorithm.ES256, "x"))) == {
        "alg": "ES256",
        "typ": "x",
    }
    text = jws.write(header, {"a": "ä", "b": 1}, key=KEY, algorithm=Algorithm.ES256)
    compact = jws.read(text, HEADER)
    assert compact.payload == {"a": "ä", "b": 1}
    assert verifies(KEY.public_key(), Algorithm.ES256, jws.signed_part(text), compact.signature)
    with pytest.raises(ValueError, match="JSON"):
        jws.write(header, {"a": float("nan")}, key=KEY, algorithm=Algorithm.ES256)
