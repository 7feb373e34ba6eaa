"""The bounds of the RPC layer: everything that a peer can make us keep or do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Rate:
    """So many at once, and so many a second in the long run.

    Args:
        burst: How many are free at once.
        per_second: How many come back each second.
    """

    burst: int
    per_second: float


@dataclass(frozen=True, slots=True)
class Limits:
    """What one endpoint grants its peers; `dataclasses.replace` changes a copy.

    Args:
        max_receive_bytes: Longest message accepted, after decompression.
        max_buffered_bytes: Longest sum of unfinished and unread messages over all streams of a connection.
        max_header_bytes: Longest header list, with 32 bytes of overhead for each field.
        max_concurrent_streams: Calls that a peer may have open on one connection.
        max_connections: Connections that a listener keeps; further ones are closed at accept.
        max_connections_per_address: Those of one IPv4 address or IPv6 /64; many agents may share one behind a
            NAT. Only over TCP.
        max_handshakes: Connections of a listener that have not yet finished their handshake.
        handshake_timeout: From accept, or connect, until the peer's HTTP/2 preface has arrived.
        connect_timeout: From the first packet of a dial until the socket is connected.
        send_high_water_bytes: A sender waits while more than this is queued for its stream.
        send_timeout: At a server, what is queued for a stream has to move, by the high water or whatever is
            left, each time that so much time has passed; else its call is ended, and the connection when
            nothing at all moves on it. None waits for ever.
        resets: How often a peer may reset streams; beyond it the connection is ended.
        control_frames: How often a peer may send PING, SETTINGS or empty DATA frames beyond one for each
            frame's worth of messages that we send: grpc-go measures the link with a PING for each.
        max_connection_age: A connection is drained when it is so old, give or take a fifth; None is never.
        max_connection_grace: How long the calls of a connection drained because of its age may go on; None
            is for ever.
        drain_notice: Between the first GOAWAY, which only announces, and the one that ends acceptance.
    """

    max_receive_bytes: int = 4 * 1024 * 1024
    max_buffered_bytes: int = 32 * 1024 * 1024
    max_header_bytes: int = 16 * 1024
    max_concurrent_streams: int = 250
    max_connections: int = 20_000
    max_connections_per_address: int = 1_000
    max_handshakes: int = 512
    handshake_timeout: timedelta = timedelta(seconds=10)
    connect_timeout: timedelta = timedelta(seconds=10)
    send_high_water_bytes: int = 64 * 1024
    send_timeout: timedelta | None = timedelta(minutes=1)
    resets: Rate = Rate(1_000, 200)
    control_frames: Rate = Rate(1_000, 100)
    max_connection_age: timedelta | None = None
    max_connection_grace: timedelta | None = timedelta(minutes=5)
    drain_notice: timedelta = timedelta(milliseconds=100)


# A local peer is a process of this host that the socket's permissions let in: it may open and cancel
# thousands of streams (a client library under load does), and many of its threads may share a connection.
# Its streams last as long as it does, and it may be stopped in a debugger for as long as that takes: what
# waits for it meanwhile is bounded, as is the number of local connections.
LOCAL = Limits(
    max_concurrent_streams=10_000,
    send_timeout=None,
    resets=Rate(20_000, 5_000),
    max_connection_grace=None,
)


class Meter:
    """A token bucket: tells when something happens more often than its rate allows.

    Args:
        rate: The bound.
        clock: Seconds on any scale that only rises.
    """

    __slots__ = ("_at", "_clock", "_rate", "_tokens")

    def __init__(self, rate: Rate, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._clock = clock
        self._tokens = float(rate.burst)
        self._at = clock()

    def earn(self, count: int) -> None:
        """Allow so many more, up to the burst."""
        self._tokens = min(float(self._rate.burst), self._tokens + count)

    def exceeded(self) -> bool:
        """Count one more; whether that was one too many."""
        if self._tokens < 1:
            now = self._clock()
            self._tokens = min(
                float(self._rate.burst), self._tokens + (now - self._at) * self._rate.per_second
            )
            self._at = now
        if self._tokens < 1:
            return True
        self._tokens -= 1
        return False
