"""Errors become `google.rpc.Status` and come back; garbage comes back as nothing."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finial.core.errors import FinialError, Kind, Reason
from finial.rpc.status import RpcError, StatusCode
from finial.wire import status
from finial.wire.gen import google_protobuf, google_rpc, grpc_health_v1

_KINDS = list(Kind)


def _error(kind: Kind, message: str = "what is wrong") -> FinialError:
    return FinialError(Reason("subject-reason", kind), message, subject="secret subject")


def test_every_kind_has_a_code_and_keeps_its_kind() -> None:
    assert set(status.CODE_OF_KIND) == set(_KINDS)
    for kind, code in status.CODE_OF_KIND.items():
        assert RpcError(code, "").reason.kind is kind


@pytest.mark.parametrize("kind", [kind for kind in _KINDS if kind is not Kind.INTERNAL])
def test_an_error_keeps_its_text_and_the_id_of_its_reason(kind: Kind) -> None:
    error = status.error_from(_error(kind))
    assert error.code is status.CODE_OF_KIND[kind]
    assert error.message == "what is wrong"
    assert status.reason_id(error) == "subject-reason"
    assert status.read_details(error.details).message == "what is wrong"
    assert status.read_details(error.details).code == error.code


def test_an_internal_error_keeps_its_text_to_itself(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "finial.wire"):
        error = status.error_from(_error(Kind.INTERNAL, "password hunter2"))
    assert error.code is StatusCode.INTERNAL
    assert error.message == "internal error"
    assert error.details is not None
    assert b"hunter2" not in error.details
    assert b"secret subject" not in error.details
    assert status.reason_id(error) == "subject-reason"
    assert "hunter2" in caplog.text


def test_an_rpc_error_is_what_it_is() -> None:
    error = RpcError(StatusCode.ALREADY_EXISTS, "there is one")
    assert status.error_from(error) is error
    assert status.reason_id(error) == ""


def test_the_id_counts_only_in_our_domain() -> None:
    info = google_rpc.ErrorInfo(reason="X", domain="example.org")
    assert status.reason_id(status.rpc_error(StatusCode.ABORTED, "a", info)) == ""


@pytest.mark.parametrize("text", ["a" * 5_000, "é" * 5_000, "\U0001f512" * 400])
def test_a_long_text_is_cut_to_what_fits_into_headers(text: str) -> None:
    error = status.rpc_error(StatusCode.ABORTED, text)
    assert status.MAX_MESSAGE_BYTES - 8 < len(error.message.encode()) <= status.MAX_MESSAGE_BYTES
    assert error.message.endswith(text[0] + "...")
    assert error.details is None


def test_text_that_is_no_unicode_is_shown_as_far_as_it_goes() -> None:
    error = status.error_from(_error(Kind.MISSING, "no file a\udcffb"))
    assert error.message == "no file a?b"
    details = status.details_bytes(StatusCode.NOT_FOUND, "a\udcffb")
    assert status.read_details(details).message == "a?b"


def test_details_are_found_by_type() -> None:
    info = google_rpc.ErrorInfo(reason="r", metadata={"k": "v"})
    first, second = (grpc_health_v1.HealthCheckRequest(service=name) for name in "12")
    read = status.read_details(status.details_bytes(StatusCode.NOT_FOUND, "m", [info, first, second]))
    assert (read.code, read.message) == (5, "m")
    assert read.packed[0][0] == "type.googleapis.com/google.rpc.ErrorInfo"
    assert read.find(google_rpc.ErrorInfo) == info
    assert read.find(grpc_health_v1.HealthCheckRequest) == first
    assert read.find(google_rpc.Status) is None


def test_a_detail_that_cannot_be_read_is_passed_over() -> None:
    url = "example.org/any/prefix/google.rpc.ErrorInfo"
    good = google_rpc.ErrorInfo(reason="r")
    read = status.StatusDetails(packed=((url, b"\xff"), (url, good.SerializeToString())))
    assert read.find(google_rpc.ErrorInfo) == good


def test_unpacking_refuses_bytes_that_are_not_what_they_claim() -> None:
    packed = google_protobuf.Any(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=b"\xff")
    with pytest.raises(ValueError, match=r"no google\.rpc\.ErrorInfo"):
        status.unpack(packed, google_rpc.ErrorInfo)


@pytest.mark.parametrize("data", [None, b"", b"\xff", b"\x08"])
def test_nothing_readable_is_no_details(data: bytes | None) -> None:
    assert status.read_details(data) == status.StatusDetails()


@given(st.binary(max_size=300))
def test_reading_is_total(data: bytes) -> None:
    read = status.read_details(data)
    read.find(google_rpc.ErrorInfo)
    status.reason_id(RpcError(StatusCode.UNKNOWN, "", details=data))


@given(st.sampled_from(StatusCode), st.text(), st.lists(st.text(alphabet="abc."), max_size=3))
def test_what_is_written_is_read(code: StatusCode, message: str, reasons: list[str]) -> None:
    infos = [google_rpc.ErrorInfo(reason=reason) for reason in reasons]
    read = status.read_details(status.details_bytes(code, message, infos))
    assert (read.code, read.message) == (code, message)
    assert [google_rpc.ErrorInfo.FromString(value) for _, value in read.packed] == infos
