"""The claims of a token as callers are told them: which of them, and as protobuf's form of JSON."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Final

from finial.core.jwtsvid import JWTSVID
from finial.wire.gen import google_protobuf

STANDARD: Final = frozenset({"sub", "aud", "exp"})
"""The claims that the standard defines, of which callers are told in any case. Clauses: WAPI-53."""

_NUMBER, _ARRAY = int | float, list | tuple


def shown_of(svid: JWTSVID, allowed: AbstractSet[str] | None) -> dict[str, object]:
    """The claims of a token that a caller is told; `aud` is always a list.

    Args:
        svid: The token, proven.
        allowed: Those beside the standard's; None for all. Clauses: ID-41, ID-49.
    """
    claims = svid.said.members
    if allowed is not None:
        claims = {name: value for name, value in claims.items() if name in STANDARD or name in allowed}
    return {**claims, "aud": svid.audience}


def fill(struct: google_protobuf.Struct, members: Mapping[str, object]) -> None:
    """Put the members of a JSON object into a Struct.

    A Struct's numbers are doubles: an integer of more than 53 bits is rounded as JavaScript does, and one
    that no double reaches is given as text. Nesting is bounded by whoever has read the JSON.

    Args:
        struct: Empty.
        members: JSON values; arrays may be tuples.
    """
    fields = struct.fields
    for name, value in members.items():
        _put(fields[name], value)


def _put(place: google_protobuf.Value, value: object) -> None:
    if isinstance(value, str):
        place.string_value = value
    elif value is None:
        place.null_value = google_protobuf.NullValue.NULL_VALUE
    elif isinstance(value, bool):  # before numbers: in Python it is one
        place.bool_value = value
    elif isinstance(value, _NUMBER):
        _put_number(place, value)
    elif isinstance(value, _ARRAY):
        array = place.list_value
        array.SetInParent()
        for each in value:
            _put(array.values.add(), each)
    elif isinstance(value, Mapping):
        place.struct_value.SetInParent()
        fill(place.struct_value, value)
    else:
        raise TypeError(f"{type(value).__name__} is nothing that JSON has")


def _put_number(place: google_protobuf.Value, value: float) -> None:
    try:
        place.number_value = value
    except OverflowError:
        place.string_value = str(value)
