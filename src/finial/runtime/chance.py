"""The one source of randomness; everything else is given a Chance."""

from __future__ import annotations

import secrets
from typing import Protocol

_FRACTION_BITS = 53


class Chance(Protocol):
    """What a service draws."""

    def fraction(self) -> float:
        """A number from 0 up to, and without, 1."""

    def token(self, size: int) -> bytes:
        """So many unpredictable bytes."""


class SystemChance:
    """The kernel's randomness."""

    def fraction(self) -> float:
        """A number from 0 up to, and without, 1."""
        return secrets.randbits(_FRACTION_BITS) / (1 << _FRACTION_BITS)

    def token(self, size: int) -> bytes:
        """So many unpredictable bytes."""
        return secrets.token_bytes(size)


def serial_number(chance: Chance) -> int:
    """A certificate's serial number: random, 1 to 2^128-1."""
    return int.from_bytes(chance.token(16), "big") or 1
