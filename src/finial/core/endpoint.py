"""Addresses of the endpoints that workloads and brokers connect to.

An address is a URI of one of two forms: `unix:///absolute/path.sock` and `tcp://<host>:<port>`. The host of a
Workload Endpoint is an IP address; that of a Broker Endpoint may be a DNS name too.
"""

from __future__ import annotations

from dataclasses import dataclass

from finial.core import uri
from finial.core.errors import FinialError, Reason, shown
from finial.core.reasons import endpoint as reasons

LONGEST_UNIX_PATH = 107
"""Bytes; what the kernel takes."""


class AddressError(FinialError):
    """The address of an endpoint is missing, or is not one."""


@dataclass(frozen=True, slots=True)
class UnixEndpoint:
    """A socket in the file system.

    Args:
        path: Absolute.
    """

    path: bytes


@dataclass(frozen=True, slots=True)
class TcpEndpoint:
    """A port of a machine.

    Args:
        host: An IP address in its usual form, or a DNS name as it was written.
        port: From 1.
    """

    host: str
    port: int


def parse_endpoint(text: str, *, names: bool = False) -> UnixEndpoint | TcpEndpoint:
    """The endpoint whose address a URI spells.

    Args:
        text: The URI.
        names: Whether a host may be a DNS name.

    Raises:
        AddressError: It breaks a rule. Clauses: EP-14..EP-21, BROKER-10..BROKER-12, BROKER-85.
    """
    parts = uri.cut(text)
    if parts is None:
        what = "is no URI: it holds a character that has to be percent-encoded"
        raise _refused(reasons.ENDPOINT_URI, text, what)
    if parts.scheme is None:
        raise _refused(reasons.ENDPOINT_URI, text, "is no URI: it has no scheme")
    scheme = parts.scheme.lower()
    if scheme not in {"unix", "tcp"}:
        what = f"has the scheme {shown(parts.scheme)}, only unix and tcp are known"
        raise _refused(reasons.ENDPOINT_SCHEME, text, what)
    if "@" in (parts.authority or ""):
        # It may hold a password, so the message does not repeat it.
        message = "the endpoint address has user information in it"
        raise AddressError(reasons.ENDPOINT_SURPLUS, message, subject=scheme)
    for name, part in (("query", parts.query), ("fragment", parts.fragment)):
        if part is not None:
            raise _refused(reasons.ENDPOINT_SURPLUS, text, f"has a {name}")
    return _unix(text, parts) if scheme == "unix" else _tcp(text, parts, names=names)


def _unix(text: str, parts: uri.URI) -> UnixEndpoint:
    if parts.authority:
        what = f"names a host, {shown(parts.authority)}, where none belongs"
        raise _refused(reasons.ENDPOINT_UNIX_HOST, text, what)
    path = uri.decoded(parts.path)
    if not path.strip(b"/"):
        raise _refused(reasons.ENDPOINT_UNIX_PATH, text, "has no path of a socket")
    if not path.startswith(b"/"):
        raise _refused(reasons.ENDPOINT_UNIX_PATH, text, "has a path that is not absolute")
    if b"\0" in path:
        raise _refused(reasons.ENDPOINT_UNIX_PATH, text, "has a zero byte in its path")
    if len(path) > LONGEST_UNIX_PATH:
        what = f"has a path of {len(path)} bytes, at most {LONGEST_UNIX_PATH} fit"
        raise _refused(reasons.ENDPOINT_UNIX_PATH, text, what)
    return UnixEndpoint(path)


def _tcp(text: str, parts: uri.URI, *, names: bool) -> TcpEndpoint:
    if not parts.authority:
        raise _refused(reasons.ENDPOINT_TCP_HOST, text, "has no host")
    if parts.path:
        raise _refused(reasons.ENDPOINT_SURPLUS, text, "has a path behind its port")
    authority = uri.cut_authority(parts.authority)
    if authority is None:
        what = "has a host that is no IP address (an IPv6 one stands in brackets)"
        raise _refused(reasons.ENDPOINT_TCP_HOST, text, what)
    host = _host(authority.host, names=names)
    if host is None:
        what = "has a host that is no IP address" + " and no DNS name" * names
        raise _refused(reasons.ENDPOINT_TCP_HOST, text, what)
    if not authority.port:
        raise _refused(reasons.ENDPOINT_TCP_PORT, text, "has no port")
    port = uri.port_number(authority.port)
    if port is None:
        what = f"has the port {shown(authority.port)}, which is none"
        raise _refused(reasons.ENDPOINT_TCP_PORT, text, what)
    return TcpEndpoint(host, port)


def _host(text: str, *, names: bool) -> str | None:
    """A host in its usual form; None when it is none."""
    address = uri.ip_address(text)
    if address is not None:
        return str(address)
    return text if names and uri.is_name(text) else None


def _refused(reason: Reason, text: str, what: str) -> AddressError:
    return AddressError(reason, f"the endpoint address {shown(text)} {what}", subject=shown(text))
