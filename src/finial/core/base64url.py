"""Base64url without padding, as JWKs and tokens have it. One text for each sequence of bytes, no other."""

from __future__ import annotations

import base64
import re
from binascii import a2b_base64
from typing import Final

_TEXT = re.compile(rb"[A-Za-z0-9_-]*")
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")
_PADDING: Final = (b"", b"", b"==", b"=")
# Decoders drop the spare bits of the last character, so that several texts would be one: they are to be zero.
_LAST: Final = (b"", b"", frozenset(b"AQgw"), frozenset(b"AEIMQUYcgkosw048"))


def encode(data: bytes) -> str:
    """Bytes as text."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decode(text: str) -> bytes:
    """The bytes of a text.

    Args:
        text: Without padding, white space, or bits behind the last byte.

    Raises:
        ValueError: It is not what `encode` makes of any bytes.
    """
    data, rest = text.encode("ascii", "replace"), len(text) % 4
    if rest == 1 or not _TEXT.fullmatch(data):
        raise ValueError("it is not base64url without padding")
    if rest and data[-1] not in _LAST[rest]:
        raise ValueError("it has bits behind its last byte")
    return a2b_base64(data.translate(_STANDARD) + _PADDING[rest])


def encode_number(number: int, size: int) -> str:
    """A number as text, big-endian.

    Args:
        number: Not negative.
        size: Bytes; leading zeros fill them.
    """
    return encode(number.to_bytes(size, "big"))


def decode_number(text: str) -> int:
    """The number of a text, big-endian.

    Raises:
        ValueError: As `decode`; or it is empty.
    """
    data = decode(text)
    if not data:
        raise ValueError("it is empty")
    return int.from_bytes(data, "big")
