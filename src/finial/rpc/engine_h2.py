"""The engine on h2, in pure Python: slower, always available, with no compiled part to patch.

h2 leaves to its user what libnghttp2 does itself: queueing bodies behind flow control (here), telling when
a stream is over (here), and going on after a GOAWAY. For the last its state machine ends the connection at
once, so GOAWAY frames pass it by: they are cut out of the input and written by `h2frames.py`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

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
from finial.rpc.h2frames import FrameFilter, goaway_frame

if TYPE_CHECKING:
    from hyperframe.frame import Frame

_NO_STREAM_YET = (1 << 31) - 1
_CODES = h2.settings.SettingCodes


class _Outgoing:
    """What waits to be sent on one stream, and which halves of it have ended."""

    __slots__ = ("body", "ended", "offset", "remote_ended", "sent", "trailers")

    def __init__(self) -> None:
        self.body = bytearray()
        self.offset = 0
        self.ended = False  # no more will be queued
        self.sent = False  # and the end has gone out
        self.trailers: Headers | None = None
        self.remote_ended = False

    @property
    def queued(self) -> int:
        return len(self.body) - self.offset


class _Connection(h2.connection.H2Connection):
    """h2's, which does not look at all streams for each that is opened: that costs their number's square.

    h2 looks at them to count those that are open, and lets go of those that have ended. Here each goes as
    soon as it has ended, so that all there are count.
    """

    def _receive_frame(self, frame: Frame) -> list[h2.events.Event]:
        events = super()._receive_frame(frame)
        self.let_go(frame.stream_id)
        return events

    def let_go(self, stream_id: int) -> None:
        """Keep of a stream that has ended on both sides, if it has, no more than that and how."""
        stream = self.streams.get(stream_id)
        if stream is not None and stream.closed:
            del self.streams[stream_id]
            self._closed_streams[stream_id] = stream.closed_by

    @property
    def open_inbound_streams(self) -> int:
        """No fewer than are open; asked for each that is about to be."""
        most = len(self.streams)
        if most >= self.local_settings.max_concurrent_streams:
            return super().open_inbound_streams  # h2's own word for it: a refusal ends the connection
        return most


class H2Engine:
    """One HTTP/2 connection on h2."""

    __slots__ = (
        "_all_may_send", "_connection", "_dispatch", "_goaway", "_ready", "_role", "_sink", "_streams",
        "_tail", "_terminated",
    )  # fmt: skip

    def __init__(self, role: EngineRole, sink: Sink) -> None:
        self._role = role
        self._sink = sink
        self._connection = _Connection(
            h2.config.H2Configuration(
                client_side=role.client,
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self._goaway = FrameFilter(preface=not role.client)
        self._streams: dict[int, _Outgoing] = {}
        self._ready: dict[int, None] = {}  # streams that may be able to send, in order
        self._tail = bytearray()  # GOAWAY frames that go out behind what h2 has written
        self._terminated = False
        self._all_may_send = False
        self._dispatch: dict[type, Callable[[Any], None]] = {
            h2.events.RequestReceived: self._request_received,
            h2.events.ResponseReceived: self._response_received,
            h2.events.DataReceived: self._data_received,
            h2.events.TrailersReceived: lambda e: sink.on_trailers(e.stream_id, tuple(e.headers)),
            h2.events.StreamEnded: self._stream_ended,
            h2.events.StreamReset: self._stream_reset,
            h2.events.WindowUpdated: self._window_updated,
            h2.events.RemoteSettingsChanged: self._settings_changed,
            h2.events.PingReceived: lambda _: sink.on_ping(),
        }

    def start(self) -> None:
        """Queue the preface and our settings."""
        limits = self._role.limits
        settings = {
            _CODES.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
            _CODES.MAX_HEADER_LIST_SIZE: limits.max_header_bytes,
            _CODES.ENABLE_PUSH: 0,
        }
        if not self._role.client:
            settings[_CODES.MAX_CONCURRENT_STREAMS] = limits.max_concurrent_streams
        self._connection.local_settings = h2.settings.Settings(
            client=self._role.client, initial_values=settings
        )
        # The decoder otherwise keeps its larger default until the peer has acknowledged our settings.
        self._connection.decoder.max_header_list_size = limits.max_header_bytes
        self._connection.initiate_connection()
        self._connection.increment_flow_control_window(connection_window(limits) - STREAM_WINDOW)

    def receive(self, data: bytes) -> int:
        """Take bytes of the peer and tell the sink."""
        events = 0
        for frame in self._goaway.feed(data):
            if isinstance(frame, bytes):
                events += self._feed(frame)
            else:
                self._sink.on_goaway(frame.last_stream_id, frame.error_code, frame.debug)
        return events

    def _feed(self, data: bytes) -> int:
        try:
            events = self._connection.receive_data(data)
        except h2.exceptions.DenialOfServiceError as error:
            raise EngineError(str(error), ErrorCode.ENHANCE_YOUR_CALM) from error
        except h2.exceptions.ProtocolError as error:
            raise EngineError(str(error) or type(error).__name__, ErrorCode(int(error.error_code))) from error
        except Exception as error:
            # h2 and hpack let some malformed input through to errors of their own.
            raise EngineError(f"malformed HTTP/2 input ({type(error).__name__})") from error
        for event in events:
            told = self._dispatch.get(type(event))
            if told is not None:
                told(event)
        return len(events)

    def _request_received(self, event: h2.events.RequestReceived) -> None:
        self._streams[event.stream_id] = _Outgoing()
        self._headers(event)

    def _response_received(self, event: h2.events.ResponseReceived) -> None:
        self._headers(event)

    def _headers(self, event: h2.events.RequestReceived | h2.events.ResponseReceived) -> None:
        self._sink.on_headers(event.stream_id, tuple(event.headers or ()), event.stream_ended is not None)

    def _data_received(self, event: h2.events.DataReceived) -> None:
        # Padding is nobody's to read, so its room is given back here.
        padding = (event.flow_controlled_length or 0) - len(event.data)
        if padding:
            self.consume(event.stream_id, padding)
        self._sink.on_data(event.stream_id, event.data, event.stream_ended is not None)

    def _stream_ended(self, event: h2.events.StreamEnded) -> None:
        outgoing = self._streams.get(event.stream_id)
        if outgoing is not None:
            outgoing.remote_ended = True
            if outgoing.sent:
                self._close(event.stream_id, ErrorCode.NO_ERROR)

    def _stream_reset(self, event: h2.events.StreamReset) -> None:
        if event.remote_reset:
            self._sink.on_reset(event.stream_id, int(event.error_code))
        if event.stream_id in self._streams:
            self._close(event.stream_id, int(event.error_code))
        elif not event.remote_reset:
            # A frame for a stream that is over, which h2 answers with another reset.
            self._sink.on_stream_closed(event.stream_id, int(event.error_code))

    def _close(self, stream_id: int, error_code: int) -> None:
        self._ready.pop(stream_id, None)
        self._connection.let_go(stream_id)
        if self._streams.pop(stream_id, None) is not None:
            self._sink.on_stream_closed(stream_id, error_code)

    def _window_updated(self, event: h2.events.WindowUpdated) -> None:
        if event.stream_id:
            self._wake(event.stream_id)
        else:
            self._all_may_send = True
        self._sink.on_window(event.stream_id or 0)

    def _settings_changed(self, event: h2.events.RemoteSettingsChanged) -> None:
        self._all_may_send = True
        self._sink.on_settings()

    def _wake(self, stream_id: int) -> None:
        outgoing = self._streams.get(stream_id)
        if outgoing is not None and not outgoing.sent and (outgoing.queued or outgoing.ended):
            self._ready[stream_id] = None

    def _wake_all(self) -> None:
        for stream_id in self._streams:
            self._wake(stream_id)

    def pull(self, most: int) -> bytes:
        """At most about `most` bytes for the peer; tells the sink."""
        if self._all_may_send:  # looked at once, however many frames said so
            self._all_may_send = False
            self._wake_all()
        budget = most
        while self._ready and budget > 0:
            stream_id = next(iter(self._ready))
            del self._ready[stream_id]
            budget -= self._pump(stream_id, budget)
        data = self._connection.data_to_send(most)
        if self._tail and len(data) < most:
            data += bytes(self._tail)
            self._tail.clear()
            if self._terminated:
                self._sink.on_finished()
        return data

    def _pump(self, stream_id: int, budget: int) -> int:
        """Hand one stream's queued bytes to h2 as far as flow control lets them go; how many went."""
        outgoing = self._streams.get(stream_id)
        if outgoing is None or outgoing.sent:
            return 0
        sent = 0
        try:
            while outgoing.queued and sent < budget:
                room = self._connection.local_flow_control_window(stream_id)
                size = min(outgoing.queued, room, self._connection.max_outbound_frame_size)
                if size <= 0:
                    return sent  # a WINDOW_UPDATE will make it ready again
                chunk = bytes(memoryview(outgoing.body)[outgoing.offset : outgoing.offset + size])
                outgoing.offset += size
                sent += size
                last = not outgoing.queued and outgoing.ended and outgoing.trailers is None
                self._connection.send_data(stream_id, chunk, end_stream=last)
                if last:
                    self._ended(stream_id, outgoing)
                    return sent
            if outgoing.queued:
                self._ready[stream_id] = None
                return sent
            outgoing.body.clear()
            outgoing.offset = 0
            if outgoing.ended:
                self._finish(stream_id, outgoing)
        except h2.exceptions.ProtocolError:
            self._close(stream_id, ErrorCode.STREAM_CLOSED)
        return sent

    def _finish(self, stream_id: int, outgoing: _Outgoing) -> None:
        if outgoing.trailers is not None:
            trailers, outgoing.trailers = outgoing.trailers, None
            self._connection.send_headers(stream_id, trailers, end_stream=True)
        else:
            self._connection.end_stream(stream_id)
        self._ended(stream_id, outgoing)

    def _ended(self, stream_id: int, outgoing: _Outgoing) -> None:
        outgoing.sent = True
        if outgoing.remote_ended:
            self._close(stream_id, ErrorCode.NO_ERROR)

    def request(self, headers: Headers) -> int:
        """Open a stream and return its id."""
        try:
            stream_id = self._connection.get_next_available_stream_id()
            self._connection.send_headers(stream_id, headers)
        except h2.exceptions.ProtocolError as error:
            raise EngineError(str(error), ErrorCode.NO_ERROR) from error
        self._streams[stream_id] = _Outgoing()
        return stream_id

    def respond(self, stream_id: int, headers: Headers, *, end: bool) -> None:
        """Send response headers."""
        outgoing = self._open(stream_id)
        if stream_id not in self._connection.streams:
            raise StreamGoneError(stream_id)  # h2 would look at all streams, taking it for a new one
        try:
            self._connection.send_headers(stream_id, headers, end_stream=end)
        except h2.exceptions.ProtocolError as error:
            raise StreamGoneError(stream_id) from error
        if end:
            outgoing.ended = True
            self._ended(stream_id, outgoing)

    def send(self, stream_id: int, data: bytes, *, end: bool) -> None:
        """Queue body bytes."""
        outgoing = self._open(stream_id)
        outgoing.body += data
        outgoing.ended = end
        self._ready[stream_id] = None

    def trail(self, stream_id: int, headers: Headers) -> None:
        """Queue the trailers."""
        outgoing = self._open(stream_id)
        outgoing.trailers = headers
        outgoing.ended = True
        self._ready[stream_id] = None

    def end(self, stream_id: int) -> None:
        """End our half without trailers."""
        self._open(stream_id).ended = True
        self._ready[stream_id] = None

    def _open(self, stream_id: int) -> _Outgoing:
        outgoing = self._streams.get(stream_id)
        if outgoing is None or outgoing.ended:
            raise StreamGoneError(stream_id)
        return outgoing

    def reset(self, stream_id: int, error_code: int) -> None:
        """Give a stream up."""
        if stream_id not in self._streams:
            return
        with contextlib.suppress(h2.exceptions.ProtocolError):  # it may have ended on the wire already
            self._connection.reset_stream(stream_id, error_code)
        self._close(stream_id, error_code)

    def consume(self, stream_id: int, length: int) -> None:
        """Give the peer back the room of so many bytes."""
        try:
            self._connection.acknowledge_received_data(length, stream_id)
        except (h2.exceptions.ProtocolError, ValueError):
            return  # the connection is ending, and with it every window

    def queued(self, stream_id: int) -> int:
        """Body bytes of a stream that still wait in the engine."""
        outgoing = self._streams.get(stream_id)
        return outgoing.queued if outgoing is not None else 0

    def announce_shutdown(self) -> None:
        """Send the first GOAWAY of a graceful stop."""
        self._tail += goaway_frame(_NO_STREAM_YET, ErrorCode.NO_ERROR)

    def refuse_new(self) -> None:
        """Send the final GOAWAY of a graceful stop."""
        self._tail += goaway_frame(self._last_inbound(), ErrorCode.NO_ERROR)

    def terminate(self, error_code: int, debug: bytes) -> None:
        """Send a last GOAWAY and stop."""
        self._tail += goaway_frame(self._last_inbound(), error_code, debug)
        self._terminated = True

    def _last_inbound(self) -> int:
        return self._connection.highest_inbound_stream_id or 0

    @property
    def peer_max_streams(self) -> int:
        """How many streams the peer lets us open."""
        return self._connection.remote_settings.max_concurrent_streams
