from __future__ import annotations

import json
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finial.core.errors import Kind, Reason, RefusedError
from finial.core.strictjson import Fraction, ObjectReader, finite, frozen

LARGE = Reason("test-large", Kind.LIMIT)
MALFORMED = Reason("test-malformed", Kind.INVALID)
DUPLICATE = Reason("test-duplicate", Kind.INVALID)
READER = ObjectReader(
    what="the object",
    most_bytes=64,
    most_depth=4,
    error=RefusedError,
    large=LARGE,
    malformed=MALFORMED,
    duplicate=DUPLICATE,
)
FINITE = ObjectReader(
    what="the object",
    most_bytes=6000,
    most_depth=4,
    error=RefusedError,
    large=LARGE,
    malformed=MALFORMED,
    duplicate=DUPLICATE,
    fractions=finite,
)


def refusal(data: bytes, reader: ObjectReader = READER) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        reader.read(data)
    return caught.value


def test_objects() -> None:
    assert READER.read(b"{}") == {}
    assert READER.read('{"a": [1, "ä", null, true, {"b": -0}]}'.encode()) == {
        "a": [1, "ä", None, True, {"b": 0}]
    }
    assert READER.read(rb'{"a":"\ud83d\ude00"}') == {"a": "\U0001f600"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"1",
        b'"a"',
        b"null",
        b"{",
        b'{"a":1}x',
        b'{"a":1,}',
        b"{'a':1}",
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":01}',
        b'{"a":"\n"}',
        b'{"a":"\xff"}',
        b"\xef\xbb\xbf{}",
        '{"a":1}'.encode("utf-16"),
        rb'{"a":"\ud800"}',
        rb'{"\udc00":1}',
        rb'{"a":["\udc00\ud800"]}',
        b'{"a":' + b"[" * 4 + b"]" * 4 + b"}",
    ],
)
def test_what_is_no_object(data: bytes) -> None:
    assert refusal(data).reason is MALFORMED


def test_numbers_with_a_fraction() -> None:
    found = READER.read(b'{"a":1.5,"b":1e2}')
    assert found == {"a": Fraction("1.5"), "b": Fraction("1e2")}
    assert found["a"] != 1.5
    assert FINITE.read(b'{"a":1.5,"b":1e2}') == {"a": 1.5, "b": 100.0}
    assert refusal(b'{"a":1e999}', FINITE).reason is MALFORMED
    assert refusal(b'{"a":' + b"9" * 5000 + b"}", FINITE).reason is MALFORMED


def test_size() -> None:
    assert READER.read(b"{}" + b" " * 62) == {}
    assert refusal(b"{}" + b" " * 63).reason is LARGE


def test_depth_is_counted_outside_texts() -> None:
    assert READER.read(b'{"a":[[[1]],[[2]],[[3]]]}')
    assert READER.read(rb'{"a":"[[[[[[\"{{{{"}')
    assert refusal(rb'{"a":"[[[[[[\"{{{{').reason is MALFORMED
    assert "deeper than 4" in str(refusal(b'{"a":[[[[1]]]]}'))


@pytest.mark.parametrize(
    "data", [b'{"a":1,"a":1}', rb'{"a":1,"\u0061":2}', b'[{"a":1,"a":1}]', b'{"b":{"a":1,"a":2}}']
)
def test_a_key_that_stands_twice(data: bytes) -> None:
    found = refusal(data)
    assert found.reason is DUPLICATE
    assert "'a'" in str(found)


@pytest.mark.parametrize(
    "data", [b'{"a":"secret\xff"}', rb'{"a":"secret\ud800"}', b'{"a":"secret"', b'["secret"]']
)
def test_nothing_of_what_was_read_is_in_the_error(data: bytes) -> None:
    found: BaseException | None = refusal(data)
    assert found is not None
    assert "secret" not in "".join(traceback.format_exception(found))
    while found is not None:
        assert "secret" not in f"{found!r} {vars(found)}"
        found = found.__cause__ or found.__context__


def test_frozen() -> None:
    inner: dict[str, object] = {"b": [1, {"c": None}]}
    found = frozen({"a": inner, "d": "x"})
    inner["b"] = 2
    assert found == {"a": {"b": (1, {"c": None})}, "d": "x"}
    with pytest.raises(TypeError):
        found["a"] = 1  # type: ignore[index]


@given(st.text(" \t\n\r\f\x00{}[]x,", max_size=4), st.text(" \t\n\r\f\x00{}[]x,", max_size=4))
def test_blanks_around_it_are_those_of_json_and_what_else_is_there_is_too_much(
    before: str, behind: str
) -> None:
    text = f'{before}{{"a":1}}{behind}'
    wanted, why = _by_the_library(text)
    if isinstance(wanted, dict):
        assert READER.read(text.encode()) == wanted
    else:
        assert why in refusal(text.encode()).message


def _by_the_library(text: str) -> tuple[object, str]:
    try:
        return json.loads(text), ""
    except json.JSONDecodeError as caught:
        return None, str(caught)
