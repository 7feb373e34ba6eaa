"""What the server has refused of late, so that it is not asked for the same again and again. Pure."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from finial.core.errors import FinialError

MOST: Final = 1_000
_FIRST: Final = timedelta(milliseconds=500)
_LAST: Final = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class _Refusal:
    error: FinialError
    tries: int
    until: float


class Refusals:
    """The last ones; with each for the same thing it is longer until the next try."""

    def __init__(self) -> None:
        self._known: dict[Hashable, _Refusal] = {}  # the oldest first

    def __len__(self) -> int:
        return len(self._known)

    def of(self, wanted: Hashable, now: float) -> FinialError | None:
        """The error that something was refused with, while it is not to be asked for again.

        Args:
            wanted: What is wanted.
            now: On the monotonic scale.
        """
        refusal = self._known.get(wanted)
        return refusal.error if refusal is not None and now < refusal.until else None

    def add(self, wanted: Hashable, error: FinialError, now: float, spread: float) -> timedelta:
        """Something was refused; until when it is not to be asked for again.

        Args:
            wanted: What was wanted.
            error: Why not.
            now: On the monotonic scale.
            spread: A random fraction.
        """
        last = self._known.pop(wanted, None)
        tries = 0 if last is None else last.tries + 1
        pause = min(_FIRST * (1 << min(tries, 10)), _LAST) * (0.5 + spread / 2)
        # Without what it came by: that would keep the whole call.
        kept = FinialError(error.reason, error.message, subject=error.subject)
        self._known[wanted] = _Refusal(kept, tries, now + pause.total_seconds())
        if len(self._known) > MOST:
            del self._known[next(iter(self._known))]
        return pause

    def forget(self, wanted: Hashable) -> None:
        """Something was not refused."""
        self._known.pop(wanted, None)
