"""How values of settings are written: durations, sizes, addresses, choices, lists. Pure.

A form reads what a file or an option gives and writes a value back for help texts. What cannot be read raises
ValueError, or the error of the type itself (a SpiffeIDError says which clause is broken).
"""

from __future__ import annotations

import difflib
import os
import re
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from enum import Enum
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from finial.core.errors import shown
from finial.core.ids import SpiffeID, TrustDomain

T = TypeVar("T")

_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_UNITS = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}
_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]+)?")

_SIZE = re.compile(r"(-?[0-9]{1,18}) ?(B|KiB|MiB|GiB|kB|MB|GB)?")
_SCALES = {
    "": 1,
    "B": 1,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
}

_PORT = re.compile(r"[0-9]{1,5}")
_MAX_PORT = 65535
_LONGEST_SOCKET_PATH = 107  # bytes; what the kernel takes, known before anything is made

_WORDS = {bool: "true or false", int: "a whole number", str: "text"}
_TRUTH = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}


@dataclass(frozen=True, slots=True)
class Form(Generic[T]):
    """How values of one type are written.

    Args:
        name: What help texts call a value (`DURATION`).
        read: Makes a value of what a file or an option gives; raises ValueError or a FinialError.
        write: Makes text of a value, which `read` understands.
        choices: The values that there are, when they can be listed.
        many: Whether a value is a list, so that its option may be repeated.
    """

    name: str
    read: Callable[[object], T]
    write: Callable[[T], str] = str
    choices: tuple[str, ...] = ()
    many: bool = False


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is most like one; None when none is."""
    return next(iter(difflib.get_close_matches(word, sorted(known), n=1)), None)


def did_you_mean(found: str | None) -> str:
    """The end of a message about an unknown word: names what was found, if anything."""
    return f"; did you mean {found}?" if found else ""


def read_duration(raw: object) -> timedelta:
    """A duration: `30s`, `5m`, `1h30m`, `500ms`, `7d`, or a number of seconds.

    Raises:
        ValueError: It is none of these, or longer than can be counted.
    """
    wrong = ValueError(f"{_quoted(raw)} is not a duration such as 30s, 5m, 24h or 1h30m")
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        raise wrong
    text = str(raw).strip()
    try:
        if _SECONDS.fullmatch(text):
            return timedelta(seconds=float(text))
        parts = _PART.findall(text)
        if not parts or "".join(number + unit for number, unit in parts) != text:
            raise wrong
        return sum((_UNITS[unit] * float(number) for number, unit in parts), timedelta(0))
    except OverflowError as error:
        raise ValueError(f"{_quoted(raw)} is longer than can be counted") from error


def write_duration(value: timedelta) -> str:
    """The shortest text for a duration that is zero or more, to the millisecond: `1h30m`."""
    parts, rest = [], value
    for unit in ("h", "m", "s", "ms"):
        count, rest = divmod(rest, _UNITS[unit])
        parts += [f"{count}{unit}"] if count else []
    return "".join(parts) or "0s"


def read_size(raw: object) -> int:
    """A number of bytes: `256MiB`, `4kB`, or the plain number.

    Raises:
        ValueError: It is none of these.
    """
    match = _SIZE.fullmatch(str(raw).strip()) if isinstance(raw, int | str) else None
    if match is None or isinstance(raw, bool):
        raise ValueError(f"{_quoted(raw)} is not a size such as 4MiB, 512KiB or a number of bytes")
    return int(match[1]) * _SCALES[match[2] or ""]


def write_size(value: int) -> str:
    """The shortest text for a number of bytes: `256MiB`."""
    for unit in ("GiB", "MiB", "KiB"):
        if value and not value % _SCALES[unit]:
            return f"{value // _SCALES[unit]}{unit}"
    return str(value)


def read_host_port(raw: object) -> tuple[str, int]:
    """Host and port of `host:port`; an IPv6 address stands in brackets.

    Raises:
        ValueError: It is not so written, or the port is beyond 65535.
    """
    host, colon, port = raw.rpartition(":") if isinstance(raw, str) else ("", "", "")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{_quoted(raw)}: write an IPv6 address in brackets, as in [::1]:8081")
    if not (colon and host and _PORT.fullmatch(port)) or any(c.isspace() for c in host):
        raise ValueError(f"{_quoted(raw)} is not an address host:port")
    if int(port) > _MAX_PORT:
        raise ValueError(f"{_quoted(raw)}: there is no port {port}")
    return host, int(port)


def read_truth(raw: object) -> bool:
    """True or false, as a boolean or as a word.

    Raises:
        ValueError: It is neither.
    """
    if isinstance(raw, bool):
        return raw
    found = _TRUTH.get(raw.lower()) if isinstance(raw, str) else None
    if found is None:
        raise ValueError(f"{_quoted(raw)} is not true or false")
    return found


DURATION = Form("DURATION", read_duration, write_duration)
SIZE = Form("SIZE", read_size, write_size)
TRUTH = Form("BOOL", read_truth, lambda value: "true" if value else "false")


def address(make: Callable[[str, int], T]) -> Form[T]:
    """The form of an address `host:port`, of which `make` makes the value."""
    return Form("HOST:PORT", lambda raw: make(*read_host_port(raw)))


def revision(implemented: str) -> Form[str]:
    """The form of what switches an incubating standard on: the date of the text that is meant.

    Args:
        implemented: The only one that there is code for.
    """

    def read(raw: object) -> str:
        # To TOML a date without quotes is a date.
        given = raw.isoformat() if isinstance(raw, date) else raw
        if given != implemented:
            raise ValueError(f"{_quoted(given)} is not the revision that is implemented: {implemented}")
        return implemented

    return Form("REVISION", read, choices=(implemented,))


def _quoted(raw: object) -> str:
    return shown(raw) if isinstance(raw, str) else str(raw)


def _text(raw: object) -> str:
    if not isinstance(raw, str):
        raise ValueError(f"{_quoted(raw)} is not text")  # noqa: TRY004 - the one class of wrong values
    if not raw:
        raise ValueError("the text is empty")
    return raw


def _path(raw: object) -> Path:
    text = _text(raw)
    if "\0" in text:
        raise ValueError(f"{_quoted(raw)} is no path")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{_quoted(raw)} names a user without a home folder") from error


def _socket(raw: object) -> Path:
    path = _path(raw)
    if len(os.fsencode(path)) > _LONGEST_SOCKET_PATH:
        raise ValueError(f"the path of a socket has at most {_LONGEST_SOCKET_PATH} bytes: {_quoted(raw)}")
    return path


SOCKET = Form("PATH", _socket)


def _plain(hint: Any, name: str) -> Form[Any]:  # noqa: ANN401 - type hints have no better type
    """The form of a type that msgspec converts, its message reworded."""

    def read(raw: object) -> object:
        try:
            # Options give text; a number in it is meant as one.
            return msgspec.convert(raw, hint, strict=not isinstance(raw, str))
        except msgspec.ValidationError as error:
            where = re.search(r"at `\$\.?(.*)`", str(error))
            place = f"{where[1]}: " if where and where[1] else ""
            wanted = _WORDS.get(hint, "a table of this shape")
            what = "the value" if isinstance(raw, Mapping | list) else _quoted(raw)
            raise ValueError(f"{place}{what} is not {wanted}") from error

    return Form(name, read)


def _choice(hint: Any, values: Iterable[object]) -> Form[Any]:  # noqa: ANN401 - as above
    words = tuple(str(value) for value in values)

    def read(raw: object) -> object:
        try:
            return msgspec.convert(raw, hint)
        except msgspec.ValidationError as error:
            near = did_you_mean(nearest(str(raw), words))
            raise ValueError(f"{_quoted(raw)} is none of {', '.join(words)}{near}") from error

    return Form("CHOICE", read, choices=words)


def _list(item: Form[Any]) -> Form[Any]:
    def read(raw: object) -> tuple[object, ...]:
        if not isinstance(raw, list | tuple):
            raise ValueError(f"{_quoted(raw)} is not a list")  # noqa: TRY004 - as above
        return tuple(dict.fromkeys(item.read(each) for each in raw))

    def write(values: Iterable[object]) -> str:
        return ", ".join(item.write(value) for value in values)

    return Form(item.name, read, write, item.choices, many=True)


def _frozen(value: object) -> object:
    """Tables as mappings that nobody can change."""
    if isinstance(value, dict):
        return types.MappingProxyType({key: _frozen(each) for key, each in value.items()})
    return value


_OWN: dict[object, Form[Any]] = {
    timedelta: DURATION,
    bool: TRUTH,
    str: Form("TEXT", _text),
    int: _plain(int, "NUMBER"),
    Path: Form("PATH", _path),
    TrustDomain: Form("TRUST_DOMAIN", lambda raw: TrustDomain.from_name_or_id(_text(raw))),
    SpiffeID: Form("SPIFFE_ID", lambda raw: SpiffeID(_text(raw))),
}


def form_of(hint: Any) -> Form[Any]:  # noqa: ANN401 - as above
    """The form that goes with a type hint.

    Raises:
        TypeError: No form goes with it; `setting` needs one of its own.
    """
    if hint in _OWN:
        return _OWN[hint]
    origin, inner = get_origin(hint), get_args(hint)
    if origin in {Union, types.UnionType} and type(None) in inner:
        (other,) = (each for each in inner if each is not type(None))
        return form_of(other)
    if origin is tuple and len(inner) == 2 and inner[1] is ...:
        return _list(form_of(inner[0]))
    if origin is Literal:
        return _choice(hint, inner)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _choice(hint, (each.value for each in hint))
    if origin is not None and issubclass(origin, Mapping):
        table = _plain(hint, "TABLE")
        return Form("TABLE", lambda raw: _frozen(table.read(raw)))
    raise TypeError(f"no form goes with {hint}")
