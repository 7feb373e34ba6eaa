"""Base64url without padding, as JWKs and tokens have it. One text for each sequence of bytes, no other."""

from __future__ import annotations

from binascii import Error, a2b_base64, b2a_base64
from typing import Final

_URL: Final = bytes.maketrans(b"+/", b"-_")
_FOREIGN: Final = b"*"  # stands in no base64
# Each character as standard base64 has it, padding and what else base64url has not as one that nobody has.
_STANDARD: Final = bytes(
    {b"-": b"+", b"_": b"/"}.get(each, each if each.isalnum() else _FOREIGN)[0]
    for each in map(bytes, zip(range(256), strict=True))
)
_MALFORMED: Final = "it is not base64url without padding"
_PADDING: Final = (b"", b"", b"==", b"=")
# Decoders drop the spare bits of the last character, so that several texts would be one: they are to be zero.
_LAST: Final = (b"", b"", frozenset(b"AQgw"), frozenset(b"AEIMQUYcgkosw048"))


def encode(data: bytes) -> str:
    """Bytes as text."""
    return b2a_base64(data, newline=False).translate(_URL, b"=").decode("ascii")


def decode(text: str) -> bytes:
    """The bytes of a text.

    Args:
        text: Without padding, white space, or bits behind the last byte.

    Raises:
        ValueError: It is not what `encode` makes of any bytes.
    """
    data, rest = text.encode("ascii", "replace"), len(text) % 4
    if rest == 1:
        raise ValueError(_MALFORMED)
    try:
        found = a2b_base64(data.translate(_STANDARD) + _PADDING[rest], strict_mode=True)
    except Error:
        raise ValueError(_MALFORMED) from None
    if rest and data[-1] not in _LAST[rest]:
        raise ValueError("it has bits behind its last byte")
    return found


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
