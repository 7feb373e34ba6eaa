"""How one item of a batch ended, and why an agent is refused: the status messages of the server's API."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from finial.core.errors import FinialError
from finial.rpc.status import RpcError, StatusCode, code_from_number
from finial.wire.gen import spire_api_types as types
from finial.wire.status import error_from, read_details, rpc_error

_OK_TEXT: Final = "OK"


class Denial(IntEnum):
    """Why an agent is refused; by these it decides what to do next. Numbers as on the wire."""

    UNKNOWN = 0  # no reason that we know
    AGENT_EXPIRED = 1  # its certificate has expired
    AGENT_NOT_ATTESTED = 2  # there is no such agent, or the caller is none
    AGENT_NOT_ACTIVE = 3  # it has a newer certificate than the one presented
    AGENT_BANNED = 4  # it may not come back
    AGENT_MUST_REATTEST = 5  # it can attest again, so it may not renew


def ok() -> types.Status:
    """The status of an item that went well."""
    return types.Status(message=_OK_TEXT)


def status(code: StatusCode, message: str) -> types.Status:
    """The status of an item that ended with this code."""
    return types.Status(code=int(code), message=message.encode("utf-8", "replace").decode())


def status_of(error: FinialError, doing: str = "") -> types.Status:
    """The status of an item that an error ended: the code and the text that a whole call would end with.

    Args:
        error: What went wrong; an internal error is logged and keeps its text to itself.
        doing: What failed (`failed to create entry`), put before the text.
    """
    told = error_from(error)
    return status(told.code, f"{doing}: {told.message}" if doing else told.message)


def error_of(received: types.Status) -> RpcError | None:
    """The error that an item's status reports; None when the item went well."""
    code = code_from_number(received.code)
    return None if code is StatusCode.OK else RpcError(code, received.message)


def denied(reason: Denial, message: str) -> RpcError:
    """PERMISSION_DENIED with the reason that agents look for.

    Args:
        reason: Why.
        message: One line for people.
    """
    details = types.PermissionDeniedDetails(reason=types.PermissionDeniedDetails.Reason.Value(reason.name))
    return rpc_error(StatusCode.PERMISSION_DENIED, message, details)


def denial(error: RpcError) -> Denial | None:
    """The reason that came with an error; None when none came, which makes it a passing error.

    Reasons that we do not know, and details on any other code than PERMISSION_DENIED, count as none.
    """
    if error.code is not StatusCode.PERMISSION_DENIED:
        return None
    details = read_details(error.details).find(types.PermissionDeniedDetails)
    if details is None:
        return None
    try:
        return Denial(details.reason)
    except ValueError:
        return Denial.UNKNOWN
