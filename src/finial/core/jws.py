"""Signed tokens in compact form (RFC 7515): three parts with dots between them, and nothing that is proven.

The parts are read in the order in which they may be trusted to mean anything: the payload is not decoded
before the header has passed its rules, the algorithm first among them. No message quotes a token.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from finial.core import base64url
from finial.core.algorithms import Algorithm, sign
from finial.core.errors import TokenParseError
from finial.core.keys import PrivateKey
from finial.core.reasons import token as reasons
from finial.core.rules.engine import Stage, Table
from finial.core.strictjson import Object, ObjectReader, finite, frozen

MAX_TOKEN_BYTES = 32 << 10
MAX_DEPTH = 16
_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
_SHORT = 512  # characters of a header that is worth to be remembered


@dataclass(frozen=True, slots=True, repr=False)
class Compact:
    """A token taken apart.

    Args:
        header: Its members, which nobody can change; they have passed their rules.
        payload: Its members; nobody has judged them.
        signature: Over the first two parts, as they were written.
    """

    header: Mapping[str, object]
    payload: Object
    signature: bytes


def _reader(what: str) -> ObjectReader:
    return ObjectReader(
        what=what,
        most_bytes=MAX_TOKEN_BYTES,
        most_depth=MAX_DEPTH,
        error=TokenParseError,
        large=reasons.TOKEN_LARGE,
        malformed=reasons.TOKEN_JSON,
        duplicate=reasons.TOKEN_DUPLICATE,
        fractions=finite,
    )


_HEADER, _PAYLOAD = _reader("the header"), _reader("the payload")


def read(token: str, rules: Table[Mapping[str, object]]) -> Compact:
    """The parts of a token. Clauses: JWT-01, JWT-02, JWT-04, JWT-25, WIT-01.

    Args:
        token: At most 32 KiB.
        rules: Of the header; the first that is broken ends the reading.

    Raises:
        TokenParseError: It is not in compact form, a part cannot be read, or the header breaks a rule.
    """
    if len(token) > MAX_TOKEN_BYTES:
        message = f"the token has {len(token)} characters, at most {MAX_TOKEN_BYTES} are read"
        raise TokenParseError.because(reasons.TOKEN_LARGE, message)
    parts = token.split(".")
    if len(parts) != 3:
        message = f"the token has {len(parts)} parts, not three"
        raise TokenParseError.because(reasons.TOKEN_FORM, message)
    header = (_known_header if len(parts[0]) <= _SHORT else _read_header)(parts[0], rules)
    signature = _decode(parts[2], "signature")
    if not signature:
        raise TokenParseError.because(reasons.TOKEN_FORM, "the token is not signed", where="signature")
    return Compact(header, _PAYLOAD.read(_decode(parts[1], "payload")), signature)


def _read_header(part: str, rules: Table[Mapping[str, object]]) -> Mapping[str, object]:
    header = _HEADER.read(_decode(part, "header"))
    finding = rules.first(header, Stage.PARSE, "header")
    if finding is not None:
        raise TokenParseError([finding])
    return frozen(header)


# An authority writes the same header for each of its tokens: a validator reads the same few again and again.
_known_header = lru_cache(maxsize=128)(_read_header)


def signed_part(token: str) -> bytes:
    """What the signature of a token was made over.

    Args:
        token: In compact form.
    """
    return token[: token.rindex(".")].encode("ascii")


def write(header: str, payload: Mapping[str, object], *, key: PrivateKey, algorithm: Algorithm) -> str:
    """A signed token.

    Args:
        header: As `write_header` makes it.
        payload: What the token says.
        key: Whose signature it gets.
        algorithm: How; goes with the key and stands in the header.

    Raises:
        ValueError: The payload holds what JSON cannot say; TypeError when it is of no type of JSON.
        KeyRefusedError: The algorithm does not go with the key.
    """
    head = f"{header}.{base64url.encode(_ENCODER.encode(payload).encode('ascii'))}"
    return f"{head}.{base64url.encode(sign(key, algorithm, head.encode('ascii')))}"


@lru_cache(maxsize=64)
def write_header(algorithm: Algorithm, kind: str, key_id: str = "") -> str:
    """The first part of a token; an authority writes the same for each.

    Args:
        algorithm: How it is signed.
        kind: What it is.
        key_id: By which key, if the token is to say it.
    """
    named = {"kid": key_id} if key_id else {}
    members = {"alg": algorithm.value, **named, "typ": kind}
    return base64url.encode(_ENCODER.encode(members).encode("ascii"))


def _decode(part: str, where: str) -> bytes:
    try:
        return base64url.decode(part)
    except ValueError as caught:
        raise TokenParseError.because(reasons.TOKEN_FORM, f"{caught}", where=where) from None
