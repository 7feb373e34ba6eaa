"""Failures and kills at chosen moments: each fake announces its moments, one of them strikes."""

from __future__ import annotations

from collections.abc import Callable

from finial.core.errors import FinialError, Kind, Reason

FAILURE = Reason("test-failure", Kind.UNAVAILABLE, hint="Let the test pass.")


class Killed(BaseException):
    """The process is gone; nothing in it may catch this."""


def killed(moment: str) -> BaseException:
    return Killed(moment)


def failed(moment: str) -> BaseException:
    return FinialError(FAILURE, f"struck {moment}")


class Strikes:
    """Counts moments and raises at the chosen one; without a choice it only counts."""

    def __init__(self, at: int | None = None, *, what: Callable[[str], BaseException] = killed) -> None:
        self.at = at
        self.moments: list[str] = []
        self._what = what

    def __call__(self, moment: str) -> None:
        self.moments.append(moment)
        if len(self.moments) - 1 == self.at:
            raise self._what(moment)
