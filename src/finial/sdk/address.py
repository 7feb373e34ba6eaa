"""Where the Workload API is: the address that is configured, or the one in the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from finial.core.endpoint import AddressError, UnixEndpoint, parse_endpoint
from finial.core.errors import Kind, Reason
from finial.rpc import Address, Tcp, Unix

ENVIRONMENT_VARIABLE: Final = "SPIFFE_ENDPOINT_SOCKET"

_MISSING = Reason(
    "endpoint-missing",
    Kind.INVALID,
    ("EP-13",),
    f"Set {ENVIRONMENT_VARIABLE} to the agent's socket (unix:///absolute/path.sock), or give the address.",
    "No address of the Workload API is configured, and the environment names none.",
)


def endpoint_address(configured: str | None = None, environment: Mapping[str, str] | None = None) -> Address:
    """The address of the Workload API: the configured one, else the one in `SPIFFE_ENDPOINT_SOCKET`.

    Args:
        configured: A URI; None leaves it to the environment.
        environment: Of the process; None is its own.

    Raises:
        AddressError: There is none, or it breaks a rule. Clauses: EP-12..EP-21.
    """
    if configured is not None:
        return parse_address(configured)
    found = (os.environ if environment is None else environment).get(ENVIRONMENT_VARIABLE, "")
    if not found:
        message = f"no address of the Workload API: none is given, and {ENVIRONMENT_VARIABLE} is not set"
        raise AddressError(_MISSING, message)
    try:
        return parse_address(found)
    except AddressError as refused:
        message = f"{ENVIRONMENT_VARIABLE}: {refused.message}"
        raise AddressError(refused.reason, message, subject=refused.subject) from refused


def parse_address(text: str) -> Address:
    """The address that a URI spells.

    Raises:
        AddressError: It breaks a rule. Clauses: EP-14..EP-21.
    """
    endpoint = parse_endpoint(text)
    if isinstance(endpoint, UnixEndpoint):
        return Unix(os.fsdecode(endpoint.path))
    return Tcp(endpoint.host, endpoint.port)
