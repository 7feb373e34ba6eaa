"""The reader of JSON objects: what it reads another reader reads alike, and it refuses what is ambiguous."""

from __future__ import annotations

import json
import random  # noqa: TID251 - seeded
from typing import NoReturn

from finial.core.errors import Kind, Reason, RefusedError
from finial.core.strictjson import Fraction, ObjectReader, finite, frozen
from fuzz import compact
from fuzz.target import Target, refused_well

_DEEPEST, _LARGEST = 4, 4096
_LARGE, _MALFORMED, _TWICE = (
    Reason(f"fuzz-{name}", Kind.INVALID) for name in ("large", "malformed", "twice")
)


class _Error(RefusedError):
    pass


def _reader(fractions: type[Fraction] | None) -> ObjectReader:
    return ObjectReader(
        what="the input",
        most_bytes=_LARGEST,
        most_depth=_DEEPEST,
        error=_Error,
        large=_LARGE,
        malformed=_MALFORMED,
        duplicate=_TWICE,
        fractions=fractions or finite,
    )


_FLOATS, _TEXTS = _reader(None), _reader(Fraction)


class _DifferentError(Exception):
    pass


def check(data: bytes) -> None:
    try:
        found = _FLOATS.read(data)
    except _Error as refused:
        refused_well(refused)
        assert not _plain(data)
        return
    assert _plain(data)
    assert found == json.loads(data)
    kept = frozen(found)
    assert compact.thawed(kept) == found
    assert _TEXTS.read(data) == json.loads(data, parse_float=Fraction)


def _plain(data: bytes) -> bool:
    """Whether these are bytes that are an object to any reader, by the parser of the standard library."""
    try:
        text = data.decode("utf-8")
        found = json.loads(text, object_pairs_hook=_unique, parse_constant=_different, parse_float=_number)
        json.dumps(found, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError, _DifferentError):
        return False
    return isinstance(found, dict) and len(data) <= _LARGEST and _depth(found) <= _DEEPEST


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise _DifferentError
    return dict(pairs)


def _different(text: str) -> NoReturn:
    raise _DifferentError


def _number(text: str) -> float:
    number = float(text)
    if number in {float("inf"), float("-inf")}:
        raise _DifferentError
    return number


def _depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


def corpus() -> list[bytes]:
    return [
        b"{}", b'{"a":[1,-2.5e3,true,null,"\\u00e9\\ud83d\\ude00"]}', b'{"a":{"a":{"a":[]}}}',
        b'{"a":1,"a":1}', b'{"a":NaN}', b'{"a":-Infinity}', b'{"a":1e999}', b'{"a":"\\ud800"}',
        b'{"[":"{{{{{","]":"\\"["}', b"[]", b"", b"\xef\xbb\xbf{}", b'{"a":"\xff"}',
        b'{"a":' + b"9" * 5000 + b"}", b'{"a":' + b"9" * 500 + b"}", b"[" * 99_999, b'{"a":{"b":1,"b":2}}',
        b'{"a":{"a":{"a":{"a":1}}}}', b'{"a":"\\ud83d","b":"\\ude00"}', b'{"\\ud800":1}', b'{"a":01}',
        b"{'a':1}", b'{"a":1,}', b'{"a":"\n"}', b"\xff\xfe{\x00}\x00", b' \r\n\t{ "a" : 1 } ',
    ]  # fmt: skip


_PIECES = (
    b"{", b"}", b"[", b"]", b":", b",", b'"a"', b'"b"', b'"\\u0061"', b"1", b"-1", b"1.5", b"1e400", b"NaN",
    b"true", b"null", b'"\\ud800"', b'"\\udc00"', b'"{"', b" ", b'{"a":1}', b'{"b":[]}', b"[[1]]", b'"',
    b"\\", b"\xc3\xa9",
)  # fmt: skip


def generate(source: random.Random) -> bytes:
    """An object of objects and lists; or pieces of some at random."""
    if source.random() < 0.3:
        return b"".join(source.choice(_PIECES) for _ in range(source.randint(0, 12)))
    return _object(source, source.choice((1, 2, 3, 4, 5, 6)))


def _object(source: random.Random, depth: int) -> bytes:
    names = source.choices(
        (b'"a"', b'"b"', b'"c"', b'"\\u0061"', b'"\\ud800"', b'"["'), (9, 9, 9, 1, 1, 9), k=3
    )
    return (
        b"{"
        + b",".join(name + b":" + _value(source, depth - 1) for name in names[: source.randint(0, 3)])
        + b"}"
    )


def _value(source: random.Random, depth: int) -> bytes:
    chance = source.random()
    if depth > 0 and chance < 0.4:
        return _object(source, depth)
    if depth > 0 and chance < 0.6:
        return b"[" + b",".join(_value(source, depth - 1) for _ in range(source.randint(0, 2))) + b"]"
    return source.choice(
        (b"1", b"-0", b"1.5", b'"x"', b"true", b"null", b'"\\ud83d\\ude00"', source.choice(_PIECES))
    )


_PARSER = ("finial.core.strictjson",)
TARGET = Target("objects", corpus, check, generate, modules=_PARSER, omits=("ObjectReader.__post_init__",))
