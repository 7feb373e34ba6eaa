"""Statuses of batch items, and the reasons that agents are refused with."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finial.core.errors import FinialError, Kind, Reason
from finial.rpc.status import RpcError, StatusCode
from finial.wire import statuses
from finial.wire.gen import spire_api_types as types
from finial.wire.status import details_bytes, read_details, rpc_error
from finial.wire.statuses import Denial


def test_an_item_that_went_well() -> None:
    assert statuses.ok() == types.Status(code=0, message="OK")
    assert statuses.error_of(statuses.ok()) is None
    assert statuses.error_of(types.Status()) is None


@pytest.mark.parametrize(
    ("kind", "code", "text"),
    [
        (Kind.INVALID, 3, "the words"),
        (Kind.MISSING, 5, "the words"),
        (Kind.CONFLICT, 9, "the words"),
        (Kind.INTERNAL, 13, "internal error"),
    ],
)
def test_an_error_becomes_a_status(kind: Kind, code: int, text: str) -> None:
    error = FinialError(Reason("subject-reason", kind), "the words")
    assert statuses.status_of(error) == types.Status(code=code, message=text)
    told = statuses.status_of(error, "failed to create entry")
    assert told == types.Status(code=code, message=f"failed to create entry: {text}")


def test_an_rpc_error_keeps_its_code() -> None:
    error = RpcError(StatusCode.ALREADY_EXISTS, "similar entry already exists")
    assert statuses.status_of(error) == types.Status(code=6, message="similar entry already exists")


def test_text_that_is_no_unicode_is_shown_as_far_as_it_goes() -> None:
    assert statuses.status(StatusCode.NOT_FOUND, "a\udcffb").message == "a?b"


def test_a_status_becomes_an_error() -> None:
    error = statuses.error_of(types.Status(code=6, message="m"))
    assert error is not None
    assert (error.code, error.message) == (StatusCode.ALREADY_EXISTS, "m")
    odd = statuses.error_of(types.Status(code=-7, message="m"))
    assert odd is not None
    assert odd.code is StatusCode.UNKNOWN


def test_the_denials_are_those_of_the_wire() -> None:
    assert {each.name: each.value for each in Denial} == dict(types.PermissionDeniedDetails.Reason.items())


@pytest.mark.parametrize("reason", list(Denial))
def test_a_denial_comes_back(reason: Denial) -> None:
    error = statuses.denied(reason, "agent is banned")
    assert error.code is StatusCode.PERMISSION_DENIED
    assert error.message == "agent is banned"
    assert statuses.denial(error) is reason
    (packed,) = read_details(error.details).packed
    assert packed[0] == "type.googleapis.com/spire.api.types.PermissionDeniedDetails"


def test_only_a_denial_with_the_detail_is_one() -> None:
    assert statuses.denial(RpcError(StatusCode.PERMISSION_DENIED, "no")) is None
    detail = types.PermissionDeniedDetails(reason=types.PermissionDeniedDetails.AGENT_BANNED)
    assert statuses.denial(rpc_error(StatusCode.UNAVAILABLE, "no", detail)) is None


def test_a_reason_of_a_later_version_is_unknown() -> None:
    detail = types.PermissionDeniedDetails.FromString(b"\x08\x63")
    details = details_bytes(StatusCode.PERMISSION_DENIED, "no", [detail])
    assert statuses.denial(RpcError(StatusCode.PERMISSION_DENIED, "no", details=details)) is Denial.UNKNOWN


@given(st.binary(max_size=200))
def test_reading_a_denial_is_total(data: bytes) -> None:
    found = statuses.denial(RpcError(StatusCode.PERMISSION_DENIED, "", details=data))
    assert found is None or found in Denial
