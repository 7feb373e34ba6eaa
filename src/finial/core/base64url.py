"""Base64url without padding, as JWKs and tokens have it. One text for each sequence of bytes, no other."""

from __future__ import annotations

import base64
import re

_TEXT = re.compile(r"[A-Za-z0-9_-]*")


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
    if len(text) % 4 == 1 or not _TEXT.fullmatch(text):
        raise ValueError("it is not base64url without padding")
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if len(text) % 4 and encode(data[-(len(data) % 3) :]) != text[-(len(text) % 4) :]:
        # Decoders drop the spare bits of the last character, so that several texts would be one.
        raise ValueError("it has bits behind its last byte")
    return data


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
