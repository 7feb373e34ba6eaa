"""One HTTP/2 connection on an asyncio transport, with or without TLS.

Drives the engine: bytes in, events to the streams, bytes out once per turn of the loop. Everything here
runs on the loop's thread; a connection owns its streams, its engine and its TLS session.
"""

from __future__ import annotations

import asyncio
import logging
from itertools import islice
from typing import cast

from finial.core.errors import FinialError, Kind, Reason
from finial.rpc.engine import EngineError, EngineKind, Headers
from finial.rpc.errorcode import ErrorCode
from finial.rpc.handshakes import Handshakes
from finial.rpc.limits import Meter
from finial.rpc.senders import Senders
from finial.rpc.status import RpcError, StatusCode
from finial.rpc.stream import Stream
from finial.rpc.tls import ClientTLS, ServerTLS, TLSError, TLSSession

_log = logging.getLogger("finial.rpc")

_BATCH = 64 * 1024  # bytes asked of the engine at a time; more would only fatten the buffers of idle peers
_LINGER_SECONDS = 5.0  # for a closed transport to get rid of its last bytes
_DEBUG_BYTES = 512
_NO_TLS = Reason("tls-context", Kind.UNAVAILABLE, hint="Check the certificate and key of this side.")
_LOST_AT_ONCE = 64  # calls
_FRAME = 16_384  # bytes of a DATA frame


class Connection(asyncio.Protocol):
    """What server and client connections share.

    Args:
        kind: Which end, its bounds, and its HTTP/2 engine.
        handshakes: Who watches that it begins in time.
        tls: TLS for this connection, or None.
    """

    __slots__ = (
        "_client", "_control", "_finished", "_flush_scheduled", "_half_open", "_handshakes", "_tls_config",
        "_transport", "begun", "closed", "engine", "kept_bytes", "limits", "loop", "paused", "senders",
        "streams", "tls", "written_bytes",
    )  # fmt: skip

    def __init__(self, kind: EngineKind, handshakes: Handshakes, tls: ServerTLS | ClientTLS | None) -> None:
        self.loop = asyncio.get_running_loop()
        self.limits = kind.role.limits
        self._client = kind.role.client
        self.engine = kind.make(self)
        self.streams: dict[int, Stream] = {}
        self.kept_bytes = 0  # of messages that are unfinished or unread, over all streams
        self.tls: TLSSession | None = None
        self.closed = False
        self.paused = False  # the transport holds enough
        self.written_bytes = 0  # taken from the engine and given to the transport
        self.begun = False  # whether handlers have been begun by the input that is being looked at
        self._tls_config = tls
        self._transport: asyncio.Transport | None = None
        self._flush_scheduled = False
        self._finished = False
        self.senders = Senders()
        self._half_open: list[int] = []  # ended by us, not by the peer: reset once all has been sent
        self._control = Meter(self.limits.control_frames, self.loop.time)
        self._handshakes = handshakes

    # What subclasses add.

    def take(self, data: bytes) -> None:
        """Have the engine look at bytes."""
        self.feed(data)

    def opened(self) -> None:
        """The peer's preface and settings have arrived: calls can be made."""

    def refused(self, error: FinialError) -> None:
        """TLS failed, or the peer is not who it has to be."""

    def lost(self) -> None:
        """The connection is gone; streams have been told already."""

    def stream_ended(self) -> None:
        """A stream has gone from `streams`."""

    def on_headers(self, stream_id: int, headers: Headers, ended: bool) -> None:
        """A request or a response has begun."""
        raise NotImplementedError

    def on_goaway(self, last_stream_id: int, error_code: int, debug: bytes) -> None:
        """The peer accepts no more streams."""

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin: the handshake's deadline runs from here."""
        self._transport = cast("asyncio.Transport", transport)
        self._handshakes.begin(self, self.loop)
        if self._tls_config is None:
            self._greet()
            return
        try:
            self.tls = TLSSession(self._tls_config)
        except Exception as error:  # noqa: BLE001 - whatever keeps TLS from starting must not let plain text in
            self.closed = True
            self.refused(TLSError(_NO_TLS, f"TLS cannot start here: {error}"))
            self.abort()
            return
        self._advance_tls(self.tls)

    def data_received(self, data: bytes) -> None:
        """Bytes from the network."""
        if self.closed:
            return
        if self._tls_config is None:
            self.receive(data)
        elif self.tls is not None:
            self.tls.feed(data)
            self._advance_tls(self.tls)

    def receive(self, data: bytes) -> None:
        """HTTP/2 bytes: have them looked at, answer, and fail where they cannot be borne."""
        self._flush_scheduled = True  # the flush below serves whatever the input sets off
        try:
            self.take(data)
        except EngineError as error:
            self.fail(error)
            return
        except FinialError as error:
            self.fail(EngineError(error.message, ErrorCode.INTERNAL_ERROR))
            return
        except Exception:  # noqa: BLE001 - in a later turn only the loop would hear of it, and the peer wait on
            _log.exception("a connection was closed: looking at its input failed")
            self.abort()
            return
        if self.begun:
            # Handlers that were begun run before that, and most have answered by then: one write for all.
            self.begun = False
            self.loop.call_soon(self.flush)
        else:
            self.flush()

    def _advance_tls(self, tls: TLSSession) -> None:
        try:
            data = self._decrypt(tls)
        except FinialError as error:
            self._write(tls.outgoing())  # OpenSSL's alert, if it has one to send
            self.refused(error)
            self.fail(error)
            return
        if data:
            self.receive(data)
        if tls.ended:
            self.close()  # the peer said goodbye and can say nothing more

    def _decrypt(self, tls: TLSSession) -> bytes:
        if not tls.ready:
            done = tls.handshake()
            self._write(tls.outgoing())
            if not done:
                return b""
            self._greet()
        return tls.read()

    def _greet(self) -> None:
        """Begin HTTP/2. The client speaks first; a server's settings go out with its first answer."""
        self.engine.start()
        if self._client:
            self.flush()

    def eof_received(self) -> bool:
        """The peer will send no more: nothing can be answered to it either."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone: everything that waits on it is told."""
        self.closed = True
        self._handshakes.end(self)
        self._lose(self.loss(exc))

    def _lose(self, error: RpcError) -> None:
        """Tell the streams; a server not so many in one turn of the loop that others would notice."""
        for stream_id in list(islice(self.streams, None if self._client else _LOST_AT_ONCE)):
            self.streams.pop(stream_id).lost(error)
        if self.streams:
            self.loop.call_soon(self._lose, error)
        else:
            self.lost()

    def loss(self, exc: Exception | None) -> RpcError:
        """What calls in flight are told when the connection is gone."""
        detail = f": {exc}" if exc is not None else ""
        return RpcError(StatusCode.UNAVAILABLE, f"the connection was lost{detail}")

    def pause_writing(self) -> None:
        """The transport holds enough: what follows waits in the engine."""
        self.paused = True

    def resume_writing(self) -> None:
        """The transport has room again."""
        self.paused = False
        self.flush()

    def feed(self, data: bytes) -> int:
        """Have the engine look at bytes at once; how many events that made."""
        return self.engine.receive(data)

    # What the engine tells.

    def on_data(self, stream_id: int, data: bytes, ended: bool) -> None:
        """Body bytes."""
        stream = self.streams.get(stream_id)
        if stream is None:
            self.engine.consume(stream_id, len(data))
            return
        if not data and not ended and self._control.exceeded():
            raise EngineError("too many empty DATA frames", ErrorCode.ENHANCE_YOUR_CALM)
        stream.body(data, ended=ended)

    def on_trailers(self, stream_id: int, headers: Headers) -> None:
        """Trailers."""
        stream = self.streams.get(stream_id)
        if stream is not None:
            stream.trailers(headers)

    def on_reset(self, stream_id: int, error_code: int) -> None:
        """The peer reset a stream."""
        stream = self.streams.get(stream_id)
        if stream is not None:
            stream.reset(error_code)

    def on_stream_closed(self, stream_id: int, error_code: int) -> None:
        """A stream is over: its last event."""
        stream = self.streams.pop(stream_id, None)
        if stream is not None:
            stream.over(error_code)
            self.stream_ended()

    def on_window(self, stream_id: int) -> None:
        """Room for more: the flush that follows every input uses it."""

    def on_settings(self) -> None:
        """The peer's settings; the first ones end the handshake."""
        if self._handshakes.end(self):
            self.opened()
        elif self._control.exceeded():
            raise EngineError("too many SETTINGS frames", ErrorCode.ENHANCE_YOUR_CALM)

    def on_ping(self) -> None:
        """A PING, which the engine answers."""
        if self._control.exceeded():
            raise EngineError("too many PING frames", ErrorCode.ENHANCE_YOUR_CALM)

    def on_finished(self) -> None:
        """The engine is done."""
        self._finished = True

    # Sending.

    def flush_soon(self) -> None:
        """Send at the end of this turn of the loop, together with whatever else it produces."""
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self.loop.call_soon(self.flush)

    def flush(self) -> None:
        """Send what the engine has, as far as the transport takes it."""
        self._flush_scheduled = False
        if self.closed or self._transport is None or self._transport.is_closing():
            return
        if self._tls_config is not None and (self.tls is None or not self.tls.ready):
            return
        try:
            self._pump()
        except FinialError as error:
            self.fail(error)
            return
        if self.senders and not self.paused:
            self.senders.look(self._congested)
        if self._half_open:
            self._release_half_open()
        if self._finished and not self.paused:
            self.close()

    def _pump(self) -> None:
        while not self.paused:
            data = self.engine.pull(_BATCH)
            if not data:
                return
            self.written_bytes += len(data)
            if self.tls is not None:
                self.tls.write(data)
                self._write(self.tls.outgoing())
            else:
                self._write(data)
            if len(data) < _BATCH:
                return

    def _write(self, data: bytes) -> None:
        if data and self._transport is not None:
            self._transport.write(data)

    def queue(self, stream: Stream, data: bytes, *, end: bool = False) -> None:
        """Hand the engine one framed message, perhaps the last one of its stream.

        Raises:
            StreamGoneError: The stream has ended.
        """
        self.engine.send(stream.stream_id, data, end=end)
        stream.queued_bytes += len(data)
        self._control.earn(1 + len(data) // _FRAME)

    async def writable(self, stream: Stream) -> None:
        """Wait until a stream's queue is below the mark and the transport takes bytes; not beyond its end."""
        while stream.live and self._congested(stream.stream_id):
            await self.senders.wait(stream.stream_id)

    def _congested(self, stream_id: int) -> bool:
        return self.paused or self.engine.queued(stream_id) > self.limits.send_high_water_bytes

    def release(self, stream_id: int) -> None:
        """Reset a stream that we have ended and the peer has not, once our last frame is out.

        gRPC ends a call with the server's trailers. A peer that would go on sending is told NO_ERROR, which
        must not overtake the trailers: engines send resets before bodies.
        """
        self._half_open.append(stream_id)
        self.flush_soon()

    def _release_half_open(self) -> None:
        if self.paused:
            return
        half_open, self._half_open = self._half_open, []
        for stream_id in half_open:
            if self.engine.queued(stream_id):
                self._half_open.append(stream_id)
            else:
                self.engine.reset(stream_id, ErrorCode.NO_ERROR)
        if len(self._half_open) < len(half_open):
            self._pump()

    # Ending.

    @property
    def ending(self) -> bool:
        """Whether nothing more can come of what was received."""
        return self.closed or self._transport is None or self._transport.is_closing()

    def listen(self, *, on: bool) -> None:
        """Read from the transport, or not."""
        if self._transport is not None and not self._transport.is_closing():
            if on:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def handshake_overdue(self) -> None:
        """The peer did not begin in time."""
        self.fail(EngineError("the handshake took too long", ErrorCode.SETTINGS_TIMEOUT))
        self.abort()

    def fail(self, error: FinialError) -> None:
        """End the connection at once for a reason that the peer is told."""
        if self.closed or self._finished:
            return
        self._finished = True
        code = error.code if isinstance(error, EngineError) else ErrorCode.INADEQUATE_SECURITY
        if self.can_explain():
            self.engine.terminate(code, error.message.encode()[:_DEBUG_BYTES])
            try:
                self._pump()
            except FinialError:
                self.abort()
                return
        self.close()

    def can_explain(self) -> bool:
        """Whether a GOAWAY can be sent: HTTP/2 has begun on this connection."""
        return self._tls_config is None or (self.tls is not None and self.tls.ready)

    def close(self) -> None:
        """Close the transport when its last bytes are out, or after a while."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self.tls is not None and self.tls.ready:
            self.tls.say_goodbye()
            self._write(self.tls.outgoing())
        transport.close()
        if not self.closed:
            self.loop.call_later(_LINGER_SECONDS, transport.abort)

    def abort(self) -> None:
        """Close the transport now."""
        if self._transport is not None:
            self._transport.abort()
