"""Where the Workload API is: the address that is configured, or the one in the environment.

An address is a URI of one of two forms: `unix:///absolute/path.sock` and `tcp://<IP address>:<port>`.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote_to_bytes

from finial.core.errors import FinialError, Kind, Reason, shown
from finial.rpc import Address, Tcp, Unix

ENVIRONMENT_VARIABLE: Final = "SPIFFE_ENDPOINT_SOCKET"

_LONGEST_PATH = 107  # bytes; what the kernel takes
_LARGEST_PORT = 65_535

# spec: EP-14. The five parts of a URI, as RFC 3986, appendix B, cuts them; the scheme is not optional.
_PARTS = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):(?://(?P<authority>[^/?#]*))?"
    r"(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?(?:#(?P<fragment>.*))?"
)
_CHARACTERS = re.compile(r"(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*")
_HOST_AND_PORT = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]*)(?::(?P<port>[^:]*))?")
_PORT = re.compile(r"[0-9]{1,5}")

_HINT = "Write unix:///absolute/path.sock, or tcp://<IP address>:<port>."
_MISSING = Reason(
    "endpoint-missing",
    Kind.INVALID,
    ("EP-13",),
    f"Set {ENVIRONMENT_VARIABLE} to the agent's socket (unix:///absolute/path.sock), or give the address.",
    "No address of the Workload API is configured, and the environment names none.",
)
_URI = Reason("endpoint-uri", Kind.INVALID, ("EP-14",), _HINT)
_SCHEME = Reason("endpoint-scheme", Kind.INVALID, ("EP-15",), _HINT)
_UNIX_HOST = Reason(
    "endpoint-unix-host", Kind.INVALID, ("EP-16", "EP-18"), "Write three slashes: unix:///absolute/path.sock."
)
_UNIX_PATH = Reason("endpoint-unix-path", Kind.INVALID, ("EP-17", "EP-18"), _HINT)
_TCP_HOST = Reason(
    "endpoint-tcp-host", Kind.INVALID, ("EP-19",), "Write the IP address; names are not looked up."
)
_TCP_PORT = Reason("endpoint-tcp-port", Kind.INVALID, ("EP-20",), "Give a port from 1 to 65535.")
_SURPLUS = Reason("endpoint-surplus", Kind.INVALID, ("EP-18", "EP-21"), _HINT)


class AddressError(FinialError):
    """The address of the Workload API is missing, or is not one."""


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
    match = _PARTS.fullmatch(text)
    if match is None:
        raise _refused(_URI, text, "is no URI: it has no scheme")
    if not _CHARACTERS.fullmatch(text):
        raise _refused(_URI, text, "is no URI: it holds a character that has to be percent-encoded")
    scheme = match["scheme"].lower()
    if scheme not in {"unix", "tcp"}:
        raise _refused(_SCHEME, text, f"has the scheme {shown(match['scheme'])}, only unix and tcp are known")
    if "@" in (match["authority"] or ""):
        # It may hold a password, so the message does not repeat it.
        raise AddressError(_SURPLUS, "the endpoint address has user information in it", subject=scheme)
    for part in ("query", "fragment"):
        if match[part] is not None:
            raise _refused(_SURPLUS, text, f"has a {part}")
    return _unix(text, match) if scheme == "unix" else _tcp(text, match)


def _unix(text: str, match: re.Match[str]) -> Unix:
    if match["authority"]:
        raise _refused(_UNIX_HOST, text, f"names a host, {shown(match['authority'])}, where none belongs")
    path = unquote_to_bytes(match["path"])
    if not path.strip(b"/"):
        raise _refused(_UNIX_PATH, text, "has no path of a socket")
    if not path.startswith(b"/"):
        raise _refused(_UNIX_PATH, text, "has a path that is not absolute")
    if b"\0" in path:
        raise _refused(_UNIX_PATH, text, "has a zero byte in its path")
    if len(path) > _LONGEST_PATH:
        raise _refused(_UNIX_PATH, text, f"has a path of {len(path)} bytes, at most {_LONGEST_PATH} fit")
    return Unix(os.fsdecode(path))


def _tcp(text: str, match: re.Match[str]) -> Tcp:
    if not match["authority"]:
        raise _refused(_TCP_HOST, text, "has no host")
    if match["path"]:
        raise _refused(_SURPLUS, text, "has a path behind its port")
    parts = _HOST_AND_PORT.fullmatch(match["authority"])
    if parts is None:
        raise _refused(_TCP_HOST, text, "has a host that is no IP address (an IPv6 one stands in brackets)")
    host, port = parts["host"], parts["port"]
    try:
        if host.startswith("["):
            found = str(ipaddress.IPv6Address(host[1:-1]))
        else:
            found = str(ipaddress.IPv4Address(host))
    except ValueError as caught:
        raise _refused(_TCP_HOST, text, "has a host that is no IP address") from caught
    if not port:
        raise _refused(_TCP_PORT, text, "has no port")
    if not _PORT.fullmatch(port) or not 1 <= int(port) <= _LARGEST_PORT:
        raise _refused(_TCP_PORT, text, f"has the port {shown(port)}, which is none")
    return Tcp(found, int(port))


def _refused(reason: Reason, text: str, what: str) -> AddressError:
    return AddressError(reason, f"the endpoint address {shown(text)} {what}", subject=shown(text))
