"""What gRPC writes into HTTP/2 headers: metadata, timeouts, the percent-encoded message."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable
from math import ceil
from urllib.parse import unquote_to_bytes

from finial.rpc.engine import Headers
from finial.rpc.status import RpcError, StatusCode

# Keys are lower-case text; values are text, or bytes where the key ends in `-bin`.
Metadata = tuple[tuple[str, str | bytes], ...]

_KEY = re.compile(r"[0-9a-z_.\-]+")
_TEXT = re.compile(r"[\x20-\x7e]*")
_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")
_SECONDS_OF_UNIT = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_UNITS_DOWN = (("n", 1e-9), ("u", 1e-6), ("m", 1e-3), ("S", 1.0), ("M", 60.0), ("H", 3600.0))
_LONGEST = 8_192  # bytes of metadata; many peers take no header list of more than twice that
_LARGEST_COUNT = 99_999_999

# Headers that belong to gRPC or HTTP/2 and are no metadata of the application.
_RESERVED = frozenset({b"content-type", b"te", b"user-agent"})


def encode_metadata(metadata: Iterable[tuple[str, str | bytes]]) -> list[tuple[bytes, bytes]]:
    """Metadata as headers.

    Raises:
        ValueError: A key or value cannot stand in a header, or its type does not fit the key's ending.
    """
    headers = []
    for key, value in metadata:
        if not _KEY.fullmatch(key) or key.startswith("grpc-"):
            raise ValueError(f"{key!r} is no metadata key: lower-case letters, digits, '_', '-', '.' only")
        if key.endswith("-bin"):
            if not isinstance(value, bytes):
                raise ValueError(f"metadata {key!r} takes bytes, since its key ends in -bin")
            headers.append((key.encode(), b64encode(value).rstrip(b"=")))
            continue
        if not isinstance(value, str) or not _TEXT.fullmatch(value):
            raise ValueError(f"metadata {key!r} takes printable ASCII text")
        headers.append((key.encode(), value.encode()))
    if sum(len(key) + len(value) + 32 for key, value in headers) > _LONGEST:
        raise ValueError(f"metadata is longer than {_LONGEST} bytes")
    return headers


def decode_metadata(headers: Headers) -> Metadata:
    """The application's metadata among headers.

    Raises:
        RpcError: INVALID_ARGUMENT, a `-bin` value is not base64.
    """
    found: list[tuple[str, str | bytes]] = []
    for name, value in headers:
        if name[:1] == b":" or name[:5] == b"grpc-" or name in _RESERVED:
            continue
        key = name.decode("latin-1")
        if key.endswith("-bin"):
            found.extend((key, decode_bin(part)) for part in value.split(b","))
        else:
            found.append((key, value.decode("latin-1")))
    return tuple(found)


def decode_bin(value: bytes) -> bytes:
    """The bytes of a `-bin` header, padded or not.

    Raises:
        RpcError: INVALID_ARGUMENT, it is not base64.
    """
    value = value.strip()
    try:
        return b64decode(value + b"=" * (-len(value) % 4), validate=True)
    except binascii.Error as error:
        raise RpcError(StatusCode.INVALID_ARGUMENT, "a -bin header is not base64") from error


def encode_timeout(seconds: float) -> bytes:
    """`grpc-timeout` for so many seconds, in the finest unit that holds it, and never shorter than asked."""
    for unit, size in _UNITS_DOWN:
        count = ceil(max(seconds, 0.0) / size)
        if count <= _LARGEST_COUNT:
            return f"{count}{unit}".encode()
    return f"{_LARGEST_COUNT}H".encode()


def decode_timeout(value: bytes) -> float:
    """Seconds that a `grpc-timeout` header grants.

    Raises:
        RpcError: INTERNAL as grpc-go answers, the header is malformed.
    """
    match = _TIMEOUT.fullmatch(value)
    if match is None:
        raise RpcError(StatusCode.INTERNAL, "malformed grpc-timeout")
    return int(match[1]) * _SECONDS_OF_UNIT[match[2]]


def encode_message(message: str) -> bytes:
    """`grpc-message`: UTF-8, with all but printable ASCII percent-encoded, and the percent sign too."""
    raw = message.encode("utf-8", "replace")
    if message.isascii() and message.isprintable() and "%" not in message:
        return raw
    return b"".join(
        bytes((byte,)) if 0x20 <= byte <= 0x7E and byte != 0x25 else b"%%%02X" % byte for byte in raw
    )


def decode_message(value: bytes) -> str:
    """The text of `grpc-message`; whatever is no UTF-8 is replaced, since it is for people's eyes only."""
    return unquote_to_bytes(value).decode("utf-8", "replace")
