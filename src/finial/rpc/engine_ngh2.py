"""The engine on ngh2, a binding of libnghttp2."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import ngh2

from finial.rpc.authority import AuthorityFilter
from finial.rpc.engine import (
    STREAM_WINDOW,
    EngineError,
    EngineRole,
    Headers,
    Sink,
    StreamGoneError,
    connection_window,
)
from finial.rpc.errorcode import ErrorCode
from finial.rpc.h2frames import goaway_frame

# Our own meters judge floods (limits.py), alike on both engines; the engine's stay far above them.
_UNMETERED = (1 << 32, 1 << 32)


# What the sink is told for each event. One table for all connections: they come and go by the thousand.
_TOLD: dict[type, Callable[[Sink, Any], None]] = {
    ngh2.RequestReceived: lambda sink, e: sink.on_headers(e.stream_id, e.headers, e.end_stream),
    ngh2.ResponseReceived: lambda sink, e: sink.on_headers(e.stream_id, e.headers, e.end_stream),
    ngh2.DataReceived: lambda sink, e: sink.on_data(e.stream_id, e.data, e.end_stream),
    ngh2.TrailersReceived: lambda sink, e: sink.on_trailers(e.stream_id, e.headers),
    ngh2.StreamReset: lambda sink, e: sink.on_reset(e.stream_id, e.error_code),
    ngh2.StreamClosed: lambda sink, e: sink.on_stream_closed(e.stream_id, e.error_code),
    ngh2.WindowUpdated: lambda sink, e: sink.on_window(e.stream_id),
    ngh2.SettingsReceived: lambda sink, _: sink.on_settings(),
    ngh2.PingReceived: lambda sink, _: sink.on_ping(),
    ngh2.GoAwayReceived: lambda sink, e: sink.on_goaway(e.last_stream_id, e.error_code, e.debug_data),
    ngh2.ConnectionClosed: lambda sink, _: sink.on_finished(),
}


class _Kept(NamedTuple):
    """What all engines of one listener or channel share."""

    side: ngh2.Role
    configuration: ngh2.Configuration
    settings: Mapping[int, int]
    window: int


def ngh2_engines(role: EngineRole) -> Callable[[Sink], NGH2Engine]:
    """A maker of engines for one listener or channel."""
    limits = role.limits
    configuration = ngh2.Configuration(
        auto_window_update=False,
        max_inbound_header_list_size=limits.max_header_bytes,
        stream_reset_rate_limit=_UNMETERED,
    )
    settings = {
        int(ngh2.Setting.INITIAL_WINDOW_SIZE): STREAM_WINDOW,
        int(ngh2.Setting.MAX_HEADER_LIST_SIZE): limits.max_header_bytes,
    }
    if role.client:
        settings[int(ngh2.Setting.ENABLE_PUSH)] = 0
    else:
        settings[int(ngh2.Setting.MAX_CONCURRENT_STREAMS)] = limits.max_concurrent_streams
    side = ngh2.Role.CLIENT if role.client else ngh2.Role.SERVER
    return partial(NGH2Engine, _Kept(side, configuration, settings, connection_window(limits)))


class NGH2Engine:
    """One HTTP/2 connection on libnghttp2."""

    __slots__ = ("_connection", "_filter", "_kept", "_last_words", "_sink")

    def __init__(self, kept: _Kept, sink: Sink) -> None:
        self._kept = kept
        self._sink = sink
        self._last_words = b""
        self._filter = AuthorityFilter() if kept.side is ngh2.Role.SERVER else None
        self._connection = ngh2.Connection(kept.side, kept.configuration)

    def _drain(self) -> int:
        events = self._connection.events()
        for event in events:
            told = _TOLD.get(type(event))
            if told is not None:
                told(self._sink, event)
        return len(events)

    def start(self) -> None:
        """Queue the preface and our settings."""
        self._connection.initiate_connection(self._kept.settings)
        self._connection.set_local_window_size(self._kept.window)

    def receive(self, data: bytes) -> int:
        """Take bytes of the peer and tell the sink."""
        if self._filter is not None:
            data = self._filter.feed(data)
            if self._filter.done:
                self._filter = None
        try:
            self._connection.receive_data(data)
        except ngh2.NGH2Error as error:
            self._drain()
            calm = isinstance(error, ngh2.DenialOfServiceError)
            code = ErrorCode.ENHANCE_YOUR_CALM if calm else ErrorCode.PROTOCOL_ERROR
            raise EngineError(str(error), code) from error
        return self._drain()

    def pull(self, most: int) -> bytes:
        """At most about `most` bytes for the peer; tells the sink."""
        if self._last_words:
            data, self._last_words = self._last_words, b""
            return data
        try:
            data = self._connection.data_to_send(most)
        except ngh2.NGH2Error as error:
            raise EngineError(str(error), ErrorCode.INTERNAL_ERROR) from error
        # Streams that end on our side close while output is produced.
        self._drain()
        return data

    def request(self, headers: Headers) -> int:
        """Open a stream and return its id."""
        try:
            return self._connection.send_request(headers)
        except ngh2.NGH2Error as error:
            raise EngineError(str(error), ErrorCode.NO_ERROR) from error

    def respond(self, stream_id: int, headers: Headers, *, end: bool) -> None:
        """Send response headers."""
        try:
            self._connection.send_response(stream_id, headers, end_stream=end)
        except ngh2.NGH2Error as error:
            raise StreamGoneError(stream_id) from error

    def send(self, stream_id: int, data: bytes, *, end: bool) -> None:
        """Queue body bytes."""
        try:
            self._connection.send_data(stream_id, data, end_stream=end)
        except ngh2.NGH2Error as error:
            raise StreamGoneError(stream_id) from error

    def trail(self, stream_id: int, headers: Headers) -> None:
        """Queue the trailers."""
        try:
            self._connection.send_trailers(stream_id, headers)
        except ngh2.NGH2Error as error:
            raise StreamGoneError(stream_id) from error

    def end(self, stream_id: int) -> None:
        """End our half without trailers."""
        try:
            self._connection.end_stream(stream_id)
        except ngh2.NGH2Error as error:
            raise StreamGoneError(stream_id) from error

    def reset(self, stream_id: int, error_code: int) -> None:
        """Give a stream up."""
        try:
            self._connection.reset_stream(stream_id, error_code)
        except ngh2.NGH2Error:
            return  # it has ended, or the connection has: there is nothing left to give up

    def consume(self, stream_id: int, length: int) -> None:
        """Give the peer back the room of so many bytes."""
        try:
            self._connection.acknowledge_received_data(length, stream_id)
        except (ngh2.NGH2Error, ValueError):
            return  # the connection is ending, and with it every window

    def queued(self, stream_id: int) -> int:
        """Body bytes of a stream that still wait in the engine."""
        return self._connection.queued_body_size(stream_id)

    def announce_shutdown(self) -> None:
        """Send the first GOAWAY of a graceful stop."""
        self._quietly(self._connection.send_shutdown_notice)

    def refuse_new(self) -> None:
        """Send the final GOAWAY of a graceful stop."""
        self._quietly(self._connection.send_goaway)

    def terminate(self, error_code: int, debug: bytes) -> None:
        """Send a last GOAWAY and stop."""
        # The engine's own way to terminate says nothing of why; the caller closes the transport.
        try:
            self._connection.send_goaway(error_code, debug_data=debug)
        except ngh2.NGH2Error:
            # After a fatal error the engine says nothing more, not even why.
            self._last_words = goaway_frame(0, error_code, debug)

    @staticmethod
    def _quietly(action: Callable[[], None]) -> None:
        try:
            action()
        except ngh2.NGH2Error:
            return  # a connection that is ending by itself needs no farewell

    @property
    def peer_max_streams(self) -> int:
        """How many streams the peer lets us open."""
        try:
            return self._connection.remote_settings[int(ngh2.Setting.MAX_CONCURRENT_STREAMS)]
        except ngh2.NGH2Error:
            return 0  # the connection is ending
