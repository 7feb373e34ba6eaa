"""The seam to the HTTP/2 engine: what the RPC layer asks of it, what it is told, and which one it is.

Two engines stand behind the seam: `ngh2`, the fast one, and `h2`, in pure Python, which also serves where
ngh2 has no wheel. Every test of this layer runs on both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Protocol

from finial.core.errors import FinialError, Kind, Reason
from finial.rpc.errorcode import ErrorCode
from finial.rpc.limits import Limits

Headers = Sequence[tuple[bytes, bytes]]

# The flow-control window that we grant a stream, the protocol's default. A connection's is as large as what
# may be kept of it, `Limits.max_buffered_bytes`: slow readers hold up their own streams and no others.
STREAM_WINDOW = 65_535
_SMALLEST_WINDOW = 1 << 20
_LARGEST_WINDOW = (1 << 31) - 1

_PROTOCOL = Reason("rpc-http2", Kind.INVALID, hint="Check that the peer speaks gRPC on this socket.")
_GONE = Reason("rpc-stream-gone", Kind.UNAVAILABLE)


def connection_window(limits: Limits) -> int:
    """Bytes that a peer may send ahead on all streams together."""
    return min(max(limits.max_buffered_bytes, _SMALLEST_WINDOW), _LARGEST_WINDOW)


class EngineError(FinialError):
    """The connection cannot go on: the peer broke HTTP/2 or a bound.

    Args:
        message: What happened, one line.
        code: The HTTP/2 error code that the peer is told.
    """

    def __init__(self, message: str, code: ErrorCode = ErrorCode.PROTOCOL_ERROR) -> None:
        super().__init__(_PROTOCOL, message)
        self.code = code


class StreamGoneError(FinialError):
    """A frame was to be sent on a stream that has ended."""

    def __init__(self, stream_id: int) -> None:
        super().__init__(_GONE, f"stream {stream_id} has ended")


class Sink(Protocol):
    """Who is told what the engine saw. Called from `Engine.receive` and `Engine.pull` only."""

    def on_headers(self, stream_id: int, headers: Headers, ended: bool) -> None:
        """A request (at a server) or the final response (at a client) has begun."""

    def on_data(self, stream_id: int, data: bytes, ended: bool) -> None:
        """Body bytes; each byte is to be given back with `Engine.consume`."""

    def on_trailers(self, stream_id: int, headers: Headers) -> None:
        """The peer ended its half of the stream with trailers."""

    def on_reset(self, stream_id: int, error_code: int) -> None:
        """The peer reset the stream."""

    def on_stream_closed(self, stream_id: int, error_code: int) -> None:
        """The stream is over in both directions; the last event of each stream."""

    def on_window(self, stream_id: int) -> None:
        """The peer made room, for one stream or (stream 0) for the connection."""

    def on_settings(self) -> None:
        """The peer's settings arrived."""

    def on_ping(self) -> None:
        """The peer sent a PING; the engine answers it."""

    def on_goaway(self, last_stream_id: int, error_code: int, debug: bytes) -> None:
        """The peer accepts no streams of ours above `last_stream_id`."""

    def on_finished(self) -> None:
        """The engine has nothing more to say or to hear: close the transport once all is written."""


class Engine(Protocol):
    """The dozen calls that the RPC layer makes. Each may raise EngineError; stream calls StreamGoneError."""

    def start(self) -> None:
        """Queue the preface and our settings."""

    def receive(self, data: bytes) -> int:
        """Take bytes of the peer and tell the sink; how many events it was told, roughly."""

    def pull(self, most: int) -> bytes:
        """At most about `most` bytes for the peer, empty when there is nothing to send; tells the sink."""

    def request(self, headers: Headers) -> int:
        """Open a stream (client) and return its id."""

    def respond(self, stream_id: int, headers: Headers, *, end: bool) -> None:
        """Send response headers (server)."""

    def send(self, stream_id: int, data: bytes, *, end: bool) -> None:
        """Queue body bytes behind those that flow control still holds back."""

    def trail(self, stream_id: int, headers: Headers) -> None:
        """Queue the trailers; they end our half."""

    def end(self, stream_id: int) -> None:
        """End our half without trailers."""

    def reset(self, stream_id: int, error_code: int) -> None:
        """Give a stream up; one that has ended already is left alone."""

    def consume(self, stream_id: int, length: int) -> None:
        """Give the peer back the room of so many bytes that have been read."""

    def queued(self, stream_id: int) -> int:
        """Body bytes of a stream that still wait in the engine; 0 for a stream that has ended."""

    def announce_shutdown(self) -> None:
        """Send the first GOAWAY of a graceful stop, which excludes no stream yet (server)."""

    def refuse_new(self) -> None:
        """Send the final GOAWAY of a graceful stop; streams in flight go on."""

    def terminate(self, error_code: int, debug: bytes) -> None:
        """Send a last GOAWAY and stop; `debug` says why, for whoever reads the peer's log."""

    @property
    def peer_max_streams(self) -> int:
        """How many streams the peer lets us open."""


@dataclass(frozen=True, slots=True)
class EngineRole:
    """Which end of the connection an engine is, and its bounds."""

    client: bool
    limits: Limits


def engine_names() -> tuple[str, ...]:
    """The engines that can be used here, best first."""
    return ("ngh2", "h2") if find_spec("ngh2") else ("h2",)


@dataclass(frozen=True, slots=True)
class EngineKind:
    """Everything about the engines of one listener or channel that can be made once.

    Args:
        role: Which end, and its bounds.
        make: An engine for one new connection, which tells this sink what happens.
    """

    role: EngineRole
    make: Callable[[Sink], Engine]


def engine_kind(name: str, role: EngineRole) -> EngineKind:
    """The way to make engines of this name.

    Args:
        name: `ngh2`, `h2`, or `auto` for the best that is installed.
        role: Which end they are.

    Raises:
        ValueError: There is no such engine.
    """
    # Imported here because each engine costs memory and start-up time, and one is not always installed.
    if name == "ngh2" or (name == "auto" and engine_names()[0] == "ngh2"):
        from finial.rpc.engine_ngh2 import ngh2_engines  # noqa: PLC0415 - see above

        return EngineKind(role, ngh2_engines(role))
    if name in {"h2", "auto"}:
        from finial.rpc.engine_h2 import H2Engine  # noqa: PLC0415 - see above

        return EngineKind(role, partial(H2Engine, role))
    raise ValueError(f"no HTTP/2 engine is called {name!r}; there are: auto, ngh2, h2")
