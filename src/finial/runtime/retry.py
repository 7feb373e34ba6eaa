"""How long to wait before the next try: exponential, with full jitter, so that a fleet spreads out."""

from __future__ import annotations

from datetime import timedelta

from finial.runtime.chance import Chance


class Backoff:
    """The delays of one series of tries.

    Args:
        base: The first delay lies between nothing and this.
        most: No delay is longer.
        chance: Draws where between nothing and the bound each delay lies.
        least: No delay is shorter; keeps a fast failure from becoming a busy loop.
    """

    def __init__(
        self, base: timedelta, most: timedelta, *, chance: Chance, least: timedelta = timedelta(0)
    ) -> None:
        self._base = base
        self._most = most
        self._least = least
        self._chance = chance
        self._tries = 0

    def next(self) -> timedelta:
        """The delay before the next try."""
        # The exponent is bounded before it is used: thousands of failures would overflow a timedelta.
        bound = min(self._base * (1 << min(self._tries, 30)), self._most)
        self._tries += 1
        return max(bound * self._chance.fraction(), self._least)

    def reset(self) -> None:
        """Something good has happened: begin anew."""
        self._tries = 0
