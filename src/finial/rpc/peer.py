"""Where endpoints are, and who is at the other end of a connection."""

from __future__ import annotations

from dataclasses import dataclass

from finial.runtime.peer import PeerProcess


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
