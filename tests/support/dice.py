"""Chance with a seed, so that what a run drew can be drawn again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from typing import TypeVar

Value = TypeVar("Value")


class Dice:
    """A `Chance` whose draws follow from its seed.

    Args:
        seed: Any text.
    """

    def __init__(self, seed: str) -> None:
        self.seed = seed
        self._drawn = 0

    def token(self, size: int) -> bytes:
        """So many bytes."""
        self._drawn += 1
        return hashlib.shake_256(f"{self.seed} {self._drawn}".encode()).digest(size)

    def fraction(self) -> float:
        """A number from 0 up to, and without, 1."""
        return int.from_bytes(self.token(6), "big") / (1 << 48)

    def one_of(self, values: Sequence[Value]) -> Value:
        """One of these."""
        return values[int(self.fraction() * len(values))]

    def moment(self, most: timedelta) -> timedelta:
        """Some time below this."""
        return most * self.fraction()

    def child(self, name: str) -> Dice:
        """Dice of their own, for a task whose turns do not depend on others'."""
        return Dice(f"{self.seed}/{name}")
