"""What commands are given, read into values, with every mistake reported at once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

from finial.core.errors import Finding, Kind, Reason, RefusedError, shown
from finial.core.ids import SpiffeID, TrustDomain
from finial.runtime import files
from finial.runtime.config import read_duration

T = TypeVar("T")

INPUT = Reason("input-value", Kind.INVALID)
_MAX_TTL_SECONDS = (1 << 31) - 1  # what the API's messages have room for


class InputError(RefusedError):
    """What a command was given cannot be used; `findings` lists every mistake."""


class Inputs:
    """Reads one value after the other and collects what is wrong with them."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def take(self, where: str, read: Callable[[], T]) -> T | None:
        """What `read` returns; None, and a finding, when it raises ValueError or an error of ours.

        Args:
            where: The option, or the place in a file.
            read: Makes the value.
        """
        try:
            return read()
        except RefusedError as error:
            self.findings += [Finding(each.reason, str(each), where) for each in error.findings]
        except ValueError as error:
            self.findings.append(Finding(INPUT, str(error), where))
        return None

    def take_all(self, where: str, read: Callable[[str], T], given: Sequence[str]) -> list[T]:
        """What `read` makes of each text that is right."""
        taken = [self.take(where, partial(read, text)) for text in given]
        return [value for value in taken if value is not None]

    def wrong(self, where: str, message: str) -> None:
        """Note a mistake."""
        self.findings.append(Finding(INPUT, message, where))

    def check(self) -> None:
        """Return when nothing was wrong.

        Raises:
            InputError: Something was.
        """
        if self.findings:
            raise InputError(self.findings)


def only(where: str, read: Callable[[], T]) -> T:
    """The one value that a command is given.

    Args:
        where: The option.
        read: Makes the value.

    Raises:
        InputError: It cannot be used.
    """
    inputs = Inputs()
    value = inputs.take(where, read)
    inputs.check()
    assert value is not None
    return value


def spiffe_id_of(where: str, text: str) -> SpiffeID:
    """The SPIFFE ID that an option gives; raises InputError."""
    return only(where, lambda: SpiffeID(text))


def trust_domain_of(where: str, text: str) -> TrustDomain:
    """The trust domain that an option names, bare or by its ID; raises InputError."""
    return only(where, lambda: TrustDomain.from_name_or_id(text))


def seconds(text: str) -> int:
    """A lifetime in whole seconds: `1h`, `30s`, or the number.

    Raises:
        ValueError: It is not one, or longer than can be said.
    """
    found = read_duration(text)
    if found % timedelta(seconds=1):
        raise ValueError(f"{shown(text)} is not a whole number of seconds")
    if found > timedelta(seconds=_MAX_TTL_SECONDS):
        raise ValueError(f"{shown(text)} is longer than the 68 years that there is room for")
    return found // timedelta(seconds=1)


def unix_time(text: str) -> int:
    """An instant as Unix seconds: the number, or `2027-01-31T12:00:00Z`.

    Raises:
        ValueError: It is neither.
    """
    if text.isascii() and text.isdigit() and len(text) < 18:
        return int(text)
    wrong = ValueError(f"{shown(text)} is not Unix seconds or an instant such as 2027-01-31T12:00:00Z")
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise wrong from None
    if found.tzinfo is None:
        raise wrong
    return int(found.astimezone(UTC).timestamp())


def read_input(path: str) -> bytes:
    """What a file holds; `-` is standard input.

    Raises:
        FileError: It cannot be read, or is too large.
        InputError: Standard input is closed, or too large.
    """
    if path != "-":
        return files.read(Path(path))
    if sys.stdin is None:
        raise InputError.because(INPUT, "it is closed", where="standard input")
    data = sys.stdin.buffer.read(files.MAX_READ_BYTES + 1)
    if len(data) > files.MAX_READ_BYTES:
        message = f"it is larger than {files.MAX_READ_BYTES} bytes"
        raise InputError.because(INPUT, message, where="standard input")
    return data
