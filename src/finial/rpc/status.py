"""gRPC status: the codes, the error that carries one, and what other protocols' failures map to."""

from __future__ import annotations

from datetime import timedelta
from enum import IntEnum

from finial.core.errors import FinialError, Kind, Reason
from finial.rpc.errorcode import ErrorCode


class StatusCode(IntEnum):
    """The status codes of gRPC, by their numbers on the wire."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


_KIND_OF_CODE = {
    StatusCode.INVALID_ARGUMENT: Kind.INVALID,
    StatusCode.OUT_OF_RANGE: Kind.INVALID,
    StatusCode.UNAUTHENTICATED: Kind.UNTRUSTED,
    StatusCode.PERMISSION_DENIED: Kind.DENIED,
    StatusCode.NOT_FOUND: Kind.MISSING,
    StatusCode.UNIMPLEMENTED: Kind.MISSING,
    StatusCode.ALREADY_EXISTS: Kind.CONFLICT,
    StatusCode.FAILED_PRECONDITION: Kind.CONFLICT,
    StatusCode.ABORTED: Kind.CONFLICT,
    StatusCode.RESOURCE_EXHAUSTED: Kind.LIMIT,
    StatusCode.CANCELLED: Kind.UNAVAILABLE,
    StatusCode.DEADLINE_EXCEEDED: Kind.UNAVAILABLE,
    StatusCode.UNAVAILABLE: Kind.UNAVAILABLE,
}

_REASON_OF_CODE = {
    code: Reason(f"rpc-{code.name.lower().replace('_', '-')}", _KIND_OF_CODE.get(code, Kind.INTERNAL))
    for code in StatusCode
}

_CODE_OF_HTTP = {
    400: StatusCode.INTERNAL,
    401: StatusCode.UNAUTHENTICATED,
    403: StatusCode.PERMISSION_DENIED,
    404: StatusCode.UNIMPLEMENTED,
    429: StatusCode.UNAVAILABLE,
    502: StatusCode.UNAVAILABLE,
    503: StatusCode.UNAVAILABLE,
    504: StatusCode.UNAVAILABLE,
}

_CODE_OF_RESET = {
    ErrorCode.REFUSED_STREAM: StatusCode.UNAVAILABLE,
    ErrorCode.CANCEL: StatusCode.CANCELLED,
    ErrorCode.ENHANCE_YOUR_CALM: StatusCode.RESOURCE_EXHAUSTED,
    ErrorCode.INADEQUATE_SECURITY: StatusCode.PERMISSION_DENIED,
}


class RpcError(FinialError):
    """A call that did not end with OK: raised by a handler to answer it, and by a client that got it.

    Args:
        code: The gRPC status code.
        message: One line for people; travels as `grpc-message`.
        details: A serialised `google.rpc.Status` for `grpc-status-details-bin`; None sends none.
        unprocessed: The peer certainly did nothing with the call, so it may be sent again as it was.
        retry_after: How long the server asks to wait before the next try; travels as
            `grpc-retry-pushback-ms`. None when it does not ask.
    """

    def __init__(
        self,
        code: StatusCode,
        message: str,
        *,
        details: bytes | None = None,
        unprocessed: bool = False,
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(_REASON_OF_CODE[code], message)
        self.code = code
        self.details = details
        self.unprocessed = unprocessed
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}"


def code_from_number(number: int) -> StatusCode:
    """The code with this number; numbers that gRPC does not define count as UNKNOWN."""
    try:
        return StatusCode(number)
    except ValueError:
        return StatusCode.UNKNOWN


def code_from_http(status: int) -> StatusCode:
    """The gRPC code for a reply that carries an HTTP status and no `grpc-status`."""
    return _CODE_OF_HTTP.get(status, StatusCode.UNKNOWN)


def code_from_reset(error_code: int) -> StatusCode:
    """The gRPC code for a stream that the peer reset with this HTTP/2 error code."""
    try:
        return _CODE_OF_RESET.get(ErrorCode(error_code), StatusCode.INTERNAL)
    except ValueError:
        return StatusCode.INTERNAL
