"""Why the Workload API gave nothing: one error for each thing that a user can do about it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from finial.core.errors import FinialError, Kind, Reason
from finial.core.ids import SpiffeID
from finial.rpc import Address, RpcError, StatusCode
from finial.runtime.text import visible

_log = logging.getLogger("finial.sdk")

UNREACHABLE: Final = Reason(
    "workload-unreachable",
    Kind.UNAVAILABLE,
    ("EP-28",),
    "Check that the agent runs, that the address names its socket, and that this user may open it.",
    "Nobody answers at the address of the Workload API.",
)
UNAVAILABLE: Final = Reason(
    "workload-unavailable",
    Kind.UNAVAILABLE,
    ("EP-28",),
    "Wait; if it lasts, look into the agent's log.",
    "The agent runs, and cannot answer now.",
)
DENIED: Final = Reason(
    "workload-denied",
    Kind.DENIED,
    ("EP-30", "WAPI-35"),
    "Create an entry, under the agent of this host, whose selectors all fit this process; wait for its sync.",
    "The agent has no identity for this process.",
)
REFUSED: Final = Reason(
    "workload-refused",
    Kind.INVALID,
    ("EP-26",),
    "Check that the address is that of a Workload API.",
    "The server calls the request malformed.",
)
UNIMPLEMENTED: Final = Reason(
    "workload-unimplemented",
    Kind.MISSING,
    ("EP-37",),
    "Check that the address is that of a Workload API, and that this profile of it is on.",
    "The server does not know what was asked for.",
)
TOKEN_REFUSED: Final = Reason(
    "workload-token-refused",
    Kind.UNTRUSTED,
    ("WAPI-74",),
    "Refuse the request; who made it needs a token for this audience, that has not ended, of a trust domain "
    "that this one is federated with.",
    "The Workload API has validated a token, which proves nothing to the audience that was named.",
)
FAILED: Final = Reason(
    "workload-failed",
    Kind.UNAVAILABLE,
    hint="Look into the agent's log; asking goes on where it is a stream.",
)
CLOSED: Final = Reason("workload-closed", Kind.CONFLICT, hint="Use the client inside of its `async with`.")

_REASONS = {
    StatusCode.PERMISSION_DENIED: (DENIED, "has no identity for this process"),
    StatusCode.INVALID_ARGUMENT: (REFUSED, "refuses the request as malformed"),
    StatusCode.UNIMPLEMENTED: (UNIMPLEMENTED, "does not serve what was asked for"),
    StatusCode.UNAVAILABLE: (UNAVAILABLE, "is not available"),
}

Report = Callable[[FinialError], None]
"""Told of whatever goes wrong while the watching goes on."""


class WorkloadAPIError(FinialError):
    """The Workload API gave nothing; `reason` says what there is to do about it."""


def explained(error: RpcError, address: Address, wanted: SpiffeID | None = None) -> WorkloadAPIError:
    """What a failed call to the Workload API means for whoever made it.

    Args:
        error: How it failed.
        address: Where the Workload API is.
        wanted: The one identity that was asked for, if it was one.
    """
    where = f"the Workload API at {address}"
    if error.unprocessed:
        return WorkloadAPIError(UNREACHABLE, f"{where} cannot be reached{_said(error)}", subject=str(address))
    reason, what = _REASONS.get(error.code, (FAILED, f"failed ({error.code.name})"))
    if wanted is not None and reason is DENIED:
        what = f"does not give this process the identity {wanted}"
    return WorkloadAPIError(reason, f"{where} {what}{_said(error)}", subject=str(address))


def token_refused(error: RpcError, address: Address) -> WorkloadAPIError:
    """What a failed call to have a token validated means: a malformed request is one with a bad token."""
    if error.code is not StatusCode.INVALID_ARGUMENT or error.unprocessed:
        return explained(error, address)
    text = f"the Workload API at {address} finds the token not valid{_said(error)}"
    return WorkloadAPIError(TOKEN_REFUSED, text, subject=str(address))


def _said(error: RpcError) -> str:
    # Applications log it, each in its own way: it is one line, whatever the server has sent.
    return f": {visible(error.message)}" if error.message else ""


def tell(report: Report | None, problem: FinialError) -> None:
    """Tell whoever wants to know; what they raise is logged, and ends nothing."""
    if report is not None:
        try:
            report(problem)
        except Exception:  # noqa: BLE001 - somebody else's code
            _log.exception("a function that problems are reported to failed")
