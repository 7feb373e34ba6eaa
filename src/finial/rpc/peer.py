"""Where endpoints are, and who is at the other end of a connection."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network

from finial.runtime.peer import PeerProcess

_SITE_BITS = 64  # of an IPv6 address: one machine has all that follow


@dataclass(frozen=True, slots=True)
class Unix:
    """A Unix socket.

    Args:
        path: Of the socket file, at most 107 bytes.
        mode: Permissions of the socket file, for a listener.
    """

    path: str
    mode: int = 0o777

    def __str__(self) -> str:
        return f"unix:{self.path}"


@dataclass(frozen=True, slots=True)
class Tcp:
    """A TCP address.

    Args:
        host: Name or address; IPv6 without brackets.
        port: Number; 0 lets a listener take any free one.
    """

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


Address = Unix | Tcp


def site_of(host: str) -> str:
    """Who has an address for itself, as limits count: an IPv4 address, or the /64 of an IPv6 one.

    Args:
        host: As the system names peers; whatever is no IPv6 address is its own site.
    """
    if ":" not in host:
        return host
    try:
        found = IPv6Address(host)
    except ValueError:
        return host
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(IPv6Network((int(found), _SITE_BITS), strict=False))


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end.

    Args:
        address: For logs: the remote address, or `unix` with the process id.
        process: Who connected to a Unix socket; None over TCP and at a client.
        chain: The certificates presented (DER, leaf first); empty without TLS or for an anonymous client.
        identity: What `verify` made of the chain; None where there is no chain.
    """

    address: str
    process: PeerProcess | None = None
    chain: tuple[bytes, ...] = ()
    identity: object | None = None
