"""The workloads of `bench.streams`: many connections with one FetchX509SVID stream each, over plain sockets.

HTTP/2 is spoken as far as it takes to be a workload: every connection says the same bytes, and of the answers
only the messages count. A library would cost this process more than the agent spends, on the same machine.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import socket
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

_SETTINGS, _HEADERS, _DATA, _WINDOW = 4, 1, 0, 8
_ACK = b"\0\0\0\4\1\0\0\0\0"
_END_STREAM, _END_HEADERS = 1, 4
_LARGE_WINDOW = (1 << 30).to_bytes(4, "big")
_FRAME_HEAD = 9
_MESSAGE_HEAD = 5
_READ = 1 << 16
_AT_ONCE = 64  # connections that are being opened
_PATIENCE = 120.0  # seconds for any order


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload


def _literal(name: bytes, value: bytes) -> bytes:
    """A header that no table keeps; both parts are shorter than 127 bytes."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def hello() -> bytes:
    """All that a workload says on its connection."""
    headers = b"".join(
        _literal(name, value)
        for name, value in (
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", b"/SpiffeWorkloadAPI/FetchX509SVID"),
            (b":authority", b"localhost"),
            (b"content-type", b"application/grpc"),
            (b"te", b"trailers"),
            (b"workload.spiffe.io", b"true"),
        )
    )
    return b"".join(
        [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            _frame(_SETTINGS, 0, 0, (4).to_bytes(2, "big") + _LARGE_WINDOW),  # INITIAL_WINDOW_SIZE
            _frame(_WINDOW, 0, 0, _LARGE_WINDOW),
            _frame(_HEADERS, _END_HEADERS, 1, headers),
            _frame(_DATA, _END_STREAM, 1, b"\0\0\0\0\0"),
        ]
    )


@dataclass(eq=False)
class Caller:
    """One workload's connection.

    Args:
        socket: Connected.
        messages: How many have come.
        last_at: When the last one came, on the machine's monotonic clock.
    """

    socket: socket.socket
    messages: int = 0
    last: bytes = b""
    last_at: float = 0.0
    acknowledged: bool = False
    _bytes: bytearray = field(default_factory=bytearray)
    _body: bytearray = field(default_factory=bytearray)

    def read(self) -> None:
        """Take what has arrived.

        Raises:
            ConnectionError: The agent has closed the connection or ended the stream.
        """
        data = self.socket.recv(_READ)
        if not data:
            raise ConnectionError("the agent has closed a connection")
        self._bytes += data
        while len(self._bytes) >= _FRAME_HEAD:
            size = int.from_bytes(self._bytes[:3], "big")
            if len(self._bytes) < _FRAME_HEAD + size:
                return
            kind, flags = self._bytes[3], self._bytes[4]
            payload = bytes(self._bytes[_FRAME_HEAD : _FRAME_HEAD + size])
            del self._bytes[: _FRAME_HEAD + size]
            self._take(kind, flags, payload)

    def _take(self, kind: int, flags: int, payload: bytes) -> None:
        if kind == _SETTINGS and not flags & 1:
            self.socket.send(_ACK)
        elif kind == _HEADERS and flags & _END_STREAM:
            raise ConnectionError(f"the agent has ended a stream: {payload!r}")
        elif kind == _DATA:
            self._body += payload
            while len(self._body) >= _MESSAGE_HEAD:
                end = _MESSAGE_HEAD + int.from_bytes(self._body[1:_MESSAGE_HEAD], "big")
                if len(self._body) < end:
                    return
                self.last, self.last_at = bytes(self._body[_MESSAGE_HEAD:end]), time.monotonic()
                self.messages += 1
                del self._body[:end]


class Crowd:
    """All callers of this process.

    Args:
        path: The agent's socket.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._callers: list[Caller] = []
        self._selector = selectors.EpollSelector()
        self._hello = hello()

    def open(self, count: int) -> dict[str, float]:
        """So many further connections, until each has its first message."""
        begun = time.monotonic()
        for start in range(0, count, _AT_ONCE):
            fresh = [self._connect() for _ in range(min(_AT_ONCE, count - start))]
            self._until(partial(_all_served, fresh))
        return {"seconds": time.monotonic() - begun}

    def _connect(self) -> Caller:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self._path)
        connection.send(self._hello)
        connection.setblocking(False)
        caller = Caller(connection)
        self._callers.append(caller)
        self._selector.register(connection, selectors.EVENT_READ, caller)
        return caller

    def seen(self, part: str) -> dict[str, float]:
        """Wait until the last message of each holds some bytes; when the first and the last one had it."""
        wanted = bytes.fromhex(part)
        self._until(lambda: all(wanted in each.last for each in self._callers))
        times = [each.last_at for each in self._callers]
        return {"first": min(times), "last": max(times)}

    def _until(self, done: Callable[[], bool]) -> None:
        end = time.monotonic() + _PATIENCE
        while not done():
            if time.monotonic() > end:
                raise TimeoutError("the agent has not sent what was waited for")
            # All that is there is read before the question is asked again, which looks at every caller.
            while self._read(0.002):
                pass

    def _read(self, seconds: float) -> int:
        ready = self._selector.select(seconds)
        for key, _ in ready:
            key.data.read()
        return len(ready)


def _all_served(callers: list[Caller]) -> bool:
    return all(each.messages for each in callers)


def main() -> None:
    """Take orders: a JSON line in, a JSON line out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--socket", required=True)
    parser.add_argument("--user", type=int, default=os.getuid(), help="whom to run as; others only for root")
    options = parser.parse_args()
    if options.user != os.getuid():
        os.setgroups([])
        os.setresgid(options.user, options.user, options.user)
        os.setresuid(options.user, options.user, options.user)
    crowd = Crowd(options.socket)
    for line in sys.stdin:
        order = json.loads(line)
        number, operation = order.pop("id"), order.pop("op")
        try:
            answer = getattr(crowd, operation)(**order)
        except (OSError, TimeoutError) as error:
            answer = {"error": str(error)}
        print(json.dumps({"id": number, **answer}), flush=True)


if __name__ == "__main__":
    main()
