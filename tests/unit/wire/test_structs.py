"""JSON objects in messages."""

from __future__ import annotations

import json
from typing import Any

import pytest

from finial.wire.gen.google_protobuf import ListValue, Struct, Value
from finial.wire.structs import read_struct


def test_an_object_comes_back_as_it_was() -> None:
    members: dict[str, Any] = {"a": "x", "b": [1, {"c": None}, []], "d": True, "e": 1.5, "f": {}, "g": -2}
    message = Struct()
    message.update(members)
    assert read_struct(message) == members
    assert json.dumps(read_struct(message), sort_keys=True) == json.dumps(members, sort_keys=True)


def test_whole_numbers_are_integers_as_far_as_a_double_tells() -> None:
    message = Struct(
        fields={"time": Value(number_value=1_800_000_000), "huge": Value(number_value=float(2**60))}
    )
    found = read_struct(message)
    assert type(found["time"]) is int
    assert type(found["huge"]) is float


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_of_json_is_refused(number: float) -> None:
    inner = Value(list_value=ListValue(values=[Value(number_value=number)]))
    with pytest.raises(ValueError, match="a number is infinite, or is none"):
        read_struct(Struct(fields={"x": inner}))


def test_a_value_that_is_missing_is_refused() -> None:
    with pytest.raises(ValueError, match="a value is missing"):
        read_struct(Struct(fields={"x": Value()}))


def test_as_deep_as_messages_go() -> None:
    message = Struct(fields={"x": Value(string_value="end")})
    depth = 0
    while True:
        outer = Struct(fields={"x": Value(struct_value=message)})
        try:
            Struct.FromString(outer.SerializeToString())
        except Exception:  # noqa: BLE001 - whatever the decoder calls it
            break
        message, depth = outer, depth + 1
    assert 10 < depth < 200
    assert "end" in str(read_struct(message))
