"""JSON from strangers: one object, every key once, no deeper and no larger than it has to be.

What the parser of the standard library lets pass, two readers could understand differently: of a key that
stands twice it keeps the last value, it takes `NaN` for a number, and it recurses as deep as it is told to.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NoReturn

from finial.core.errors import Finding, Reason, RefusedError, shown, translated

Object = dict[str, object]

# A string, also one without its end, or one bracket. What a quote opens is consumed: the scan is linear.
_SHAPE = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)
_BLANK = re.compile(r"[ \t\n\r]*")
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class Fraction(str):
    """A JSON number that is not written as an integer; it equals no number, so it cannot pass for one."""

    __slots__ = ()


def finite(text: str) -> float:
    """A JSON number with a fraction or an exponent, as a float.

    Args:
        text: As it is written.

    Raises:
        ValueError: It is larger than any float.
    """
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is out of range")
    return number


def frozen(members: Mapping[str, object]) -> Mapping[str, object]:
    """The same object, which nobody can change: arrays become tuples, objects mappings to read from."""
    return MappingProxyType({name: _frozen(value) for name, value in members.items()})


def _frozen(value: object) -> object:
    if isinstance(value, dict):
        return frozen(value)
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectReader:
    """Reads JSON objects of one kind.

    Args:
        what: How messages call it: `the document`, `the header`.
        most_bytes: The longest that is read.
        most_depth: How deep it may nest.
        error: What is raised.
        large: Why, when it is longer.
        malformed: Why, when it is no such object.
        duplicate: Why, when a key stands twice in one object.
        fractions: Makes something of a number that is not written as an integer; `Fraction` or `finite`.
    """

    what: str
    most_bytes: int
    most_depth: int
    error: type[RefusedError]
    large: Reason
    malformed: Reason
    duplicate: Reason
    fractions: Callable[[str], object] = Fraction
    _decoder: json.JSONDecoder = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        decoder = json.JSONDecoder(
            object_pairs_hook=self._unique, parse_float=self.fractions, parse_constant=self._no_constant
        )
        object.__setattr__(self, "_decoder", decoder)

    def read(self, data: bytes) -> Object:
        """The object.

        Args:
            data: JSON in UTF-8, without a byte order mark.

        Raises:
            RefusedError: Of the class `error`: it is too large, no such object, or has a key twice.
        """
        if len(data) > self.most_bytes:
            message = f"{self.what} has {len(data)} bytes, at most {self.most_bytes} are read"
            raise self._refusal(self.large, message)
        text = _text(data)
        if text is None:
            raise self._malformed("it is not UTF-8")
        if data.count(b"[") + data.count(b"{") > self.most_depth:
            self._check_depth(text)
        found = translated(lambda: self._decode(text), self._malformed)
        if not isinstance(found, dict):
            raise self._malformed("it is not an object")
        if _ESCAPED_SURROGATE.search(text):
            self._check_unicode(found)
        return found

    def _decode(self, text: str) -> object:
        # spelled out behind the block, so that the error of Python does not come along
        try:
            return self._all_of(text)
        except json.JSONDecodeError as caught:
            why = str(caught)
        raise self._malformed(why)

    def _all_of(self, text: str) -> object:
        """What the decoder's own method for this says, which looks for blanks also where there are none."""
        begin = 0 if text[:1] == "{" else _behind_blanks(text, 0)
        found, end = self._decoder.raw_decode(text, begin)
        if end != len(text) and (end := _behind_blanks(text, end)) != len(text):
            raise json.JSONDecodeError("Extra data", text, end)
        return found

    def _check_depth(self, text: str) -> None:
        # The decoder recurses; what it does with deep nesting depends on the stack that it is called on.
        depth = 0
        for token in _SHAPE.finditer(text):
            depth += (token[0] in "[{") - (token[0] in "]}")
            if depth > self.most_depth:
                raise self._malformed(f"it nests deeper than {self.most_depth}")

    def _check_unicode(self, found: Object) -> None:
        # Half of a surrogate pair is no character: whoever writes it out again, to a peer or a log, fails.
        written = json.dumps(found, ensure_ascii=False, default=str)
        if not _is_unicode(written):
            raise self._malformed("a text in it is not Unicode")

    def _unique(self, pairs: list[tuple[str, object]]) -> Object:
        found = dict(pairs)
        if len(found) != len(pairs):
            last = {name: at for at, (name, _) in enumerate(pairs)}
            # The one whose last value replaced an earlier one.
            twice = next(name for at, (name, _) in enumerate(pairs) if last[name] != at)
            raise self._refusal(self.duplicate, f"the key {shown(twice)} stands twice in one object")
        return found

    def _no_constant(self, name: str) -> NoReturn:
        raise self._malformed(f"{name} is no JSON")

    def _malformed(self, why: str) -> RefusedError:
        return self._refusal(self.malformed, f"{self.what} is no JSON object: {why}")

    def _refusal(self, reason: Reason, message: str) -> RefusedError:
        return self.error([Finding(reason, message)])


def _behind_blanks(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    assert found is not None  # it matches the empty text
    return found.end()


# The errors of Python would carry what was read along with them, which may be secret.


def _text(data: bytes) -> str | None:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
