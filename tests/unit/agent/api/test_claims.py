from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finial.agent.api.claims import fill, shown_of
from finial.core.jws import MAX_DEPTH
from finial.core.jwtsvid import JWTSVID
from finial.core.strictjson import frozen
from finial.wire.gen import google_protobuf as pb
from support import tokens


def struct(members: Any) -> pb.Struct:
    made = pb.Struct()
    fill(made, members)
    return pb.Struct.FromString(made.SerializeToString())


def back(value: pb.Value) -> object:
    """The JSON value that a Struct's value stands for."""
    kind = value.WhichOneof("kind")
    assert kind is not None
    if kind == "struct_value":
        return members(value.struct_value)
    if kind == "list_value":
        return [back(each) for each in value.list_value.values]
    return None if kind == "null_value" else getattr(value, kind)


def members(of: pb.Struct) -> dict[str, object]:
    return {name: back(value) for name, value in of.fields.items()}


EXACT = st.integers(-(2**53), 2**53)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | EXACT | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), VALUES, max_size=5))
def test_every_json_object_comes_back_as_it_was(given_members: dict[str, Any]) -> None:
    assert members(struct(given_members)) == given_members
    assert members(struct(frozen(given_members))) == given_members


@pytest.mark.parametrize("value", [1_764_000_000, 2**53, -1, 0.25, 1.5e300])
def test_numbers_that_a_double_has_are_exact(value: float) -> None:
    assert members(struct({"x": value})) == {"x": value}


def test_numbers_that_no_double_has_are_rounded_or_given_as_text() -> None:
    assert members(struct({"x": 2**53 + 1})) == {"x": 2.0**53}
    huge = int("9" * 400)
    assert members(struct({"x": huge, "y": -huge})) == {"x": "9" * 400, "y": "-" + "9" * 400}
    assert math.isfinite(struct({"x": 10**300}).fields["x"].number_value)


def test_what_json_has_not_is_no_claim() -> None:
    with pytest.raises(TypeError, match="bytes is nothing"):
        struct({"x": b"no"})


def test_the_deepest_nesting_that_is_read_comes_through() -> None:
    deep = json.loads("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    assert members(struct({"x": deep})) == {"x": deep}


def test_which_claims_are_told() -> None:
    svid = JWTSVID(tokens.jwt(aud="reports", iss="https://a.test", email="me", jti="j"))
    standard = {"sub": svid.id.text, "aud": ("reports",), "exp": tokens.SECONDS + 300}
    everything = {**standard, "iat": tokens.SECONDS, "iss": "https://a.test", "email": "me", "jti": "j"}
    assert shown_of(svid, None) == everything
    assert shown_of(svid, frozenset()) == standard
    assert shown_of(svid, {"email", "nowhere"}) == {**standard, "email": "me"}
