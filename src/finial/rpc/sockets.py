"""Sockets: to listen on, with the right permissions from the first moment; to notice peers that vanished."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

from finial.core.errors import FinialError, Kind, Reason
from finial.rpc.gate import Gate
from finial.rpc.limits import Limits
from finial.rpc.peer import Address, Tcp, Unix
from finial.rpc.tls import ServerTLS

_LONGEST_PATH = 107  # bytes; the kernel's 108 hold a final zero
_PROBE_SECONDS = 1.0

_SILENCE = (
    (socket.SO_KEEPALIVE, 1),
    (socket.TCP_KEEPIDLE, 60),  # seconds
    (socket.TCP_KEEPINTVL, 15),  # seconds
    (socket.TCP_KEEPCNT, 4),
    (socket.TCP_USER_TIMEOUT, 60_000),  # milliseconds for bytes sent and not acknowledged
)

_PATH = Reason("listen-path", Kind.INVALID, hint="Choose another path for the socket.")
_IN_USE = Reason(
    "listen-in-use", Kind.CONFLICT, hint="Stop the process that listens there, or choose another."
)
_REFUSED = Reason("listen-refused", Kind.UNAVAILABLE)


class ListenError(FinialError):
    """An address cannot be listened on."""


@dataclass(eq=False, slots=True)
class Listener:
    """One listening socket and what has come in through it.

    Args:
        address: As bound.
        tls: How its connections speak TLS.
        socket: Bound and listening.
        gate: Lets its connections in.
        inode: Device and inode of the socket file; None over TCP.
        server: asyncio's half.
    """

    address: Address
    tls: ServerTLS | None
    socket: socket.socket
    gate: Gate
    inode: tuple[int, int] | None = None
    server: asyncio.Server | None = None

    def close(self) -> None:
        """Stop accepting, and remove the socket file if it is still ours."""
        if self.server is not None:
            self.server.close()
        self.gate.report()
        if self.inode is not None and isinstance(self.address, Unix):
            with contextlib.suppress(OSError):
                if _inode(self.address.path) == self.inode:
                    Path(self.address.path).unlink()


def notice_silence(sock: socket.socket) -> None:
    """Let the kernel find out when a TCP peer has vanished, which costs neither side a PING."""
    for option, value in _SILENCE:
        sock.setsockopt(
            socket.SOL_SOCKET if option == socket.SO_KEEPALIVE else socket.IPPROTO_TCP, option, value
        )


def bind(address: Address, tls: ServerTLS | None, limits: Limits) -> Listener:
    """A listener for an address.

    Args:
        address: Where.
        tls: How its connections speak TLS.
        limits: How many there may be.

    Raises:
        ListenError: The path is unusable, somebody listens there, or the system refuses.
    """
    if isinstance(address, Unix):
        sock = _bind_unix(address)
        return Listener(address, tls, sock, Gate(limits), _inode(address.path))
    sock = _bind_tcp(address)
    return Listener(Tcp(address.host, sock.getsockname()[1]), tls, sock, Gate(limits))


def _bind_unix(address: Unix) -> socket.socket:
    path = address.path
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise ListenError(_PATH, f"socket path is longer than {_LONGEST_PATH} bytes: {path}", subject=path)
    _clear_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        # Nobody can connect before `listen`, so the mode is right before it matters.
        sock.bind(path)
        Path(path).chmod(address.mode)
        sock.listen(512)
    except OSError as error:
        sock.close()
        raise _system(address, error) from error
    return sock


def _clear_stale(path: str) -> None:
    """Remove a socket file that nobody serves; leave everything else alone."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return
    if not stat.S_ISSOCK(mode):
        raise ListenError(_PATH, f"cannot listen on {path}: a file that is no socket is there", subject=path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_SECONDS)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()
            return
        except OSError as error:
            raise _system(Unix(path), error) from error
    raise ListenError(_IN_USE, f"cannot listen on {path}: another process does", subject=path)


def _bind_tcp(address: Tcp) -> socket.socket:
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise _system(address, error) from error
    sock = socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(target)
        sock.listen(512)
    except OSError as error:
        sock.close()
        if error.errno == 98:  # EADDRINUSE
            text = f"cannot listen on {address}: the port is in use"
            raise ListenError(_IN_USE, text, subject=str(address)) from error
        raise _system(address, error) from error
    return sock


def _system(address: Address, error: OSError) -> ListenError:
    text = f"cannot listen on {address}: {error.strerror or error}"
    return ListenError(_REFUSED, text, subject=str(address))


def _inode(path: str) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_dev, status.st_ino
