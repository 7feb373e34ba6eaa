"""Who is at the other end of a Unix socket: the kernel's word, held fast against reuse of the pid."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

_SO_PEERPIDFD = 77  # Linux 6.5; Python has no name for it yet
_UCRED = struct.Struct("iII")
_NOBODY = 0xFFFFFFFF  # the user id that the kernel gives for a socket without credentials
_START_TIME_FIELD = 19  # of /proc/PID/stat, counted behind the command's closing parenthesis


@dataclass(frozen=True, slots=True)
class PeerProcess:
    """The process that connected, as it was at that moment.

    Holds a descriptor of the process, which the owner of the connection closes with `close`.

    Args:
        pid: Process id in our pid namespace; 0 when the process is in a foreign one.
        uid: Effective user id.
        gid: Effective group id.
        pidfd: Descriptor that names this process and never another; -1 when the kernel gave none.
        start_time: Clock ticks since boot at which it started, for kernels without SO_PEERPIDFD; None
            when `pidfd` came with the connection and nothing can have been mistaken.
    """

    pid: int
    uid: int
    gid: int
    pidfd: int
    start_time: int | None = None

    def alive(self) -> bool:
        """Whether the process has not ended; False also where that cannot be known."""
        if self.pidfd < 0:
            return False
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        if poll.poll(0):
            return False
        return self.start_time is None or read_start_time(self.pid) == self.start_time

    def close(self) -> None:
        """Let the process go; not to be used afterwards."""
        if self.pidfd >= 0:
            os.close(self.pidfd)


def peer_process(connection: socket.socket) -> PeerProcess:
    """The process at the other end of a connected Unix socket.

    Raises:
        OSError: The kernel does not tell.
    """
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, gid = _UCRED.unpack(raw)
    if uid == _NOBODY:
        raise OSError(errno.ENOTCONN, "the socket has no peer with credentials")
    try:
        pidfd = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD)
    except OSError as error:
        if error.errno != errno.ENOPROTOOPT:
            return PeerProcess(pid, uid, gid, -1)  # the process is gone, and its pid may be another's
        return _pinned_by_pid(pid, uid, gid)
    return PeerProcess(pid, uid, gid, pidfd)  # the kernel makes such descriptors close-on-exec


def _pinned_by_pid(pid: int, uid: int, gid: int) -> PeerProcess:
    """For older kernels: the start time, read before and after, shows whether the pid changed hands."""
    before = read_start_time(pid)
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:  # ended already, or not in our namespace
        return PeerProcess(pid, uid, gid, -1)
    if before is None or read_start_time(pid) != before:
        os.close(pidfd)
        return PeerProcess(pid, uid, gid, -1)
    return PeerProcess(pid, uid, gid, pidfd, before)


def read_start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The command may hold anything, parentheses and blanks included: count from its last parenthesis.
    return int(stat[stat.rindex(b")") + 2 :].split()[_START_TIME_FIELD])
