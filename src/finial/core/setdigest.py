"""A digest of a set that does not depend on order, and that one addition keeps up to date."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

MARK_BYTES: Final = 16
_MODULUS: Final = 1 << (8 * MARK_BYTES)


def mark_of(data: bytes) -> int:
    """The mark of one member, from its whole content; `to_bytes` writes it down.

    Args:
        data: The member, encoded.
    """
    return int.from_bytes(hashlib.blake2b(data, digest_size=MARK_BYTES).digest(), "big")


def to_bytes(mark: int) -> bytes:
    """A mark, or a sum of marks, as it travels: 16 bytes, big-endian."""
    return mark.to_bytes(MARK_BYTES, "big")


@dataclass(frozen=True, slots=True)
class SetDigest:
    """How many members a set has, and the sum of their marks; equal for equal sets.

    Args:
        count: Of the members.
        total: Sum of their marks modulo 2^128.
    """

    count: int = 0
    total: int = 0

    def plus(self, mark: int) -> SetDigest:
        """With one member more."""
        return SetDigest(self.count + 1, (self.total + mark) % _MODULUS)

    def minus(self, mark: int) -> SetDigest:
        """With one member less, which was in the set."""
        return SetDigest(self.count - 1, (self.total - mark) % _MODULUS)

    def joined(self, other: SetDigest) -> SetDigest:
        """Of the union with a set that shares no member."""
        return SetDigest(self.count + other.count, (self.total + other.total) % _MODULUS)

    @property
    def digest(self) -> bytes:
        """The sum as it travels, 16 bytes."""
        return to_bytes(self.total)
