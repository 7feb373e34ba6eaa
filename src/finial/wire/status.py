"""Errors on the wire: `google.rpc.Status` in both directions, and the table from kinds to status codes."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeVar

from google.protobuf.message import Message

from finial.core.errors import FinialError, Kind
from finial.rpc.status import RpcError, StatusCode
from finial.wire.gen import google_protobuf, google_rpc
from finial.wire.methods import decoder

_log = logging.getLogger("finial.wire")

_M = TypeVar("_M", bound=Message)

TYPE_URL_PREFIX: Final = "type.googleapis.com/"
DOMAIN: Final = "finial"
"""The domain of the ErrorInfo that carries a reason's id."""

# Status and details are headers, and some peers take no more than 8 KiB of these. The text goes twice:
# percent-encoded (three bytes for one, at worst) and, in the details, as base64.
MAX_MESSAGE_BYTES: Final = 1024
_CUT: Final = "..."

CODE_OF_KIND: Final = MappingProxyType(
    {
        Kind.INVALID: StatusCode.INVALID_ARGUMENT,
        Kind.UNTRUSTED: StatusCode.UNAUTHENTICATED,
        Kind.DENIED: StatusCode.PERMISSION_DENIED,
        Kind.MISSING: StatusCode.NOT_FOUND,
        Kind.CONFLICT: StatusCode.FAILED_PRECONDITION,
        Kind.LIMIT: StatusCode.RESOURCE_EXHAUSTED,
        Kind.UNAVAILABLE: StatusCode.UNAVAILABLE,
        Kind.INTERNAL: StatusCode.INTERNAL,
    }
)
"""What a caller is told for each kind; a service that must answer otherwise raises RpcError itself."""

_read_status = decoder(google_rpc.Status)


def pack(message: Message) -> google_protobuf.Any:
    """A message with the URL of its type."""
    url = TYPE_URL_PREFIX + message.DESCRIPTOR.full_name
    return google_protobuf.Any(type_url=url, value=message.SerializeToString())


def unpack(packed: google_protobuf.Any, message: type[_M]) -> _M | None:
    """The message inside, or None when it is of another type; only the URL's last segment counts.

    Raises:
        ValueError: It claims to be this type, but its bytes are not.
    """
    if packed.type_url.rpartition("/")[2] != message.DESCRIPTOR.full_name:
        return None
    return decoder(message)(packed.value)


def details_bytes(code: StatusCode, message: str, details: Iterable[Message] = ()) -> bytes:
    """A serialised `google.rpc.Status`, for `RpcError.details`.

    Args:
        code: The same code that the error carries.
        message: The same text that the error carries: some clients show this one, some the other.
        details: Any messages of ours.
    """
    text = message.encode("utf-8", "replace").decode()
    status = google_rpc.Status(code=int(code), message=text, details=map(pack, details))
    return status.SerializeToString()


@dataclass(frozen=True, slots=True)
class StatusDetails:
    """What came in `grpc-status-details-bin`.

    Args:
        code: The number as it came, 0 when there was nothing readable.
        message: The text.
        packed: Type URL and bytes of each detail.
    """

    code: int = 0
    message: str = ""
    packed: tuple[tuple[str, bytes], ...] = ()

    def find(self, message: type[_M]) -> _M | None:
        """The first detail of this type that can be read."""
        for type_url, value in self.packed:
            try:
                found = unpack(google_protobuf.Any(type_url=type_url, value=value), message)
            except ValueError:
                continue
            if found is not None:
                return found
        return None


def read_details(data: bytes | None) -> StatusDetails:
    """What `RpcError.details` holds; empty when there is nothing, or nothing that can be read."""
    try:
        status = _read_status(data or b"")
    except ValueError:
        return StatusDetails()
    packed = tuple((each.type_url, each.value) for each in status.details)
    return StatusDetails(status.code, status.message, packed)


def rpc_error(code: StatusCode, message: str, *details: Message) -> RpcError:
    """An error with details, its text cut to what fits into headers."""
    text = _fitting(message)
    return RpcError(code, text, details=details_bytes(code, text, details) if details else None)


def error_from(error: FinialError) -> RpcError:
    """What a caller is told of an error of ours: for `Server(translate=error_from)`.

    The reason's id goes along as an ErrorInfo. The text of an internal error is logged and stays here: it may
    name what is none of the caller's business. An RpcError is what it is.
    """
    if isinstance(error, RpcError):
        return error
    code = CODE_OF_KIND[error.reason.kind]
    text = error.message
    if code is StatusCode.INTERNAL:
        _log.error("internal error %s: %s", error.reason.id, error, exc_info=error)
        text = "internal error"
    return rpc_error(code, text, google_rpc.ErrorInfo(reason=error.reason.id, domain=DOMAIN))


def reason_id(error: RpcError) -> str:
    """The id of the reason that `error_from` put in; empty when the error is of another making."""
    info = read_details(error.details).find(google_rpc.ErrorInfo)
    return info.reason if info is not None and info.domain == DOMAIN else ""


def _fitting(message: str) -> str:
    raw = message.encode("utf-8", "replace")
    if len(raw) <= MAX_MESSAGE_BYTES:
        return raw.decode()
    return raw[: MAX_MESSAGE_BYTES - len(_CUT)].decode("utf-8", "ignore") + _CUT
