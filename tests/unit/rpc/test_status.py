from __future__ import annotations

import pytest

from finial.core.errors import FinialError, Kind
from finial.rpc import status as s
from finial.rpc.errorcode import ErrorCode


@pytest.mark.parametrize("code", s.StatusCode)
def test_each_code_makes_an_error_with_a_stable_reason(code: s.StatusCode) -> None:
    error = s.RpcError(code, "text")
    assert isinstance(error, FinialError)
    assert error.reason.id == "rpc-" + code.name.lower().replace("_", "-")
    assert str(error) == f"{code.name}: text"


def test_kinds_follow_the_code() -> None:
    assert s.RpcError(s.StatusCode.UNAVAILABLE, "").reason.kind is Kind.UNAVAILABLE
    assert s.RpcError(s.StatusCode.DATA_LOSS, "").reason.kind is Kind.INTERNAL


def test_foreign_numbers_become_codes() -> None:
    assert s.code_from_number(7) is s.StatusCode.PERMISSION_DENIED
    assert s.code_from_number(99) is s.StatusCode.UNKNOWN
    assert s.code_from_http(503) is s.StatusCode.UNAVAILABLE
    assert s.code_from_http(302) is s.StatusCode.UNKNOWN
    assert s.code_from_reset(ErrorCode.REFUSED_STREAM) is s.StatusCode.UNAVAILABLE
    assert s.code_from_reset(ErrorCode.NO_ERROR) is s.StatusCode.INTERNAL
    assert s.code_from_reset(0xFFFF) is s.StatusCode.INTERNAL
