"""JSON objects in the form that messages have for them, such as the claims of a token."""

from __future__ import annotations

import math
from typing import Final

from finial.wire.gen.google_protobuf import Struct, Value

_EXACT: Final = 2**53
"""Up to here a double is the whole number that somebody meant."""


def read_struct(message: Struct) -> dict[str, object]:
    """The object, as values of JSON; numbers that are whole come as integers.

    Args:
        message: From a peer.

    Raises:
        ValueError: A number in it is none, or a value is missing: JSON has no form for either.
    """
    return {name: _read(value) for name, value in message.fields.items()}


def _read(value: Value) -> object:
    # How deep this goes the decoder of messages has bounded.
    match value.WhichOneof("kind"):
        case "string_value":
            return value.string_value
        case "number_value":
            return _number(value.number_value)
        case "bool_value":
            return value.bool_value
        case "struct_value":
            return read_struct(value.struct_value)
        case "list_value":
            return [_read(each) for each in value.list_value.values]
        case "null_value":
            return None
    raise ValueError("a value is missing")


def _number(value: float) -> int | float:
    if not math.isfinite(value):
        raise ValueError("a number is infinite, or is none")
    return int(value) if value.is_integer() and abs(value) <= _EXACT else value
