"""A call at the server: from the request's headers to the trailers that answer it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from inspect import CORO_CREATED, getcoroutinestate
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Generic, cast

from finial.core.errors import FinialError
from finial.rpc.engine import Headers, StreamGoneError
from finial.rpc.framing import ACCEPTED_ENCODINGS, MessageReader, frame
from finial.rpc.metadata import (
    Metadata,
    decode_metadata,
    decode_timeout,
    encode_message,
    encode_metadata,
)
from finial.rpc.method import Method, Reply, Request, Route
from finial.rpc.status import RpcError, StatusCode
from finial.rpc.stream import Stream

if TYPE_CHECKING:
    from finial.rpc.peer import Peer
    from finial.rpc.server import ServerConnection

_log = logging.getLogger("finial.rpc")

Handler = Callable[..., Coroutine[Any, Any, Any]]

_CONTENT_TYPE = (b"content-type", b"application/grpc")
_HEADERS = ((b":status", b"200"), _CONTENT_TYPE)
_OK_TRAILERS = ((b"grpc-status", b"0"),)
# Characters of a status text. Percent-encoding makes at most twelve bytes of each, and clients refuse a
# header list of more than 16 KiB, which would hide the status itself.
_LONGEST_TEXT = 1_000
_LONGEST_DETAILS = 4_096  # bytes; longer ones are left out, so that the status arrives
_BROKEN_TRAILERS = ((b"grpc-status", b"13"), (b"grpc-message", b"internal error"))
_ENCODINGS = frozenset({b"identity", b"gzip"})


class ServerCall(Stream, Generic[Request, Reply]):
    """One call, as its handler sees it: who calls, with what, and the ways to answer."""

    __slots__ = (
        "_headers", "_headers_sent", "_metadata", "_method", "_route", "_task", "_timer",
        "deadline", "finished", "initial_metadata", "trailing_metadata",
    )  # fmt: skip
    connection: ServerConnection
    _method: Method[Request, Reply]

    def __init__(self, connection: ServerConnection, stream_id: int, headers: Headers) -> None:
        super().__init__(connection, stream_id)
        self.finished = False
        self.deadline: float | None = None
        """When the caller stops waiting, on the event loop's clock; None when it does not say."""
        self.initial_metadata: list[tuple[str, str | bytes]] = []
        """Goes out before the first message; to be filled before that."""
        self.trailing_metadata: list[tuple[str, str | bytes]] = []
        """Goes out with the status."""
        self._headers = headers
        self._headers_sent = False
        self._metadata: Metadata | None = None
        self._route: Route | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    # What handlers use.

    @property
    def peer(self) -> Peer:
        """Who calls."""
        return self.connection.peer

    @property
    def method(self) -> Method[Request, Reply]:
        """What is called."""
        return self._method

    @property
    def metadata(self) -> Metadata:
        """What the caller sent along.

        Raises:
            RpcError: A `-bin` value is not base64.
        """
        if self._metadata is None:
            self._metadata = decode_metadata(self._headers)
            self._headers = ()  # a stream that lasts for days keeps neither
        return self._metadata

    def request(self) -> Request:
        """The one request of a call whose handler was given none; inflated and decoded only now.

        Raises:
            RpcError: The call has ended, or the bytes are no request.
        """
        data = self.take()
        if data is None:
            raise self.failure or RpcError(StatusCode.CANCELLED, "the call has ended")
        self.forget()  # nothing more can come, and a stream may last for days
        return self._decode(data)

    async def receive(self) -> Request | None:
        """The next request; None when the caller has sent its last.

        Raises:
            RpcError: The call failed, or the bytes are no request.
        """
        data = await self.next_message()
        return None if data is None else self._decode(data)

    async def __aiter__(self) -> AsyncIterator[Request]:
        """The requests, until the caller has sent its last."""
        while (request := await self.receive()) is not None:
            yield request

    async def send(self, reply: Reply) -> None:
        """Send one reply; waits while the caller reads too slowly.

        Raises:
            RpcError: The call has ended.
        """
        await self.send_encoded(self._method.encode_reply(reply))

    async def send_encoded(self, data: bytes) -> None:
        """Send one reply that is encoded already.

        Raises:
            RpcError: The call has ended.
        """
        if self.finished:
            raise self.failure or RpcError(StatusCode.CANCELLED, "the call has ended")
        self._send_headers()
        await self.send_frame(frame(data))

    # Starting.

    def begin(self, ended: bool) -> None:
        """Look at the headers: refuse the call, start its handler, or wait for its one request."""
        self.remote_ended = ended
        headers = dict(self._headers)
        try:
            route = self._admit(headers)
            self._set_deadline(headers.get(b"grpc-timeout"))
        except RpcError as error:
            self.finish(error)
            return
        if route is None:
            return
        self._route = route
        self._method = route.method
        most, gzip = self.connection.limits.max_receive_bytes, headers.get(b"grpc-encoding") == b"gzip"
        self._reader = MessageReader(min(most, route.most or most), gzip=gzip, path=headers[b":path"])
        if not route.method.kind.one_request:
            self.connection.enqueue(self)
        elif ended:
            self.peer_ended()

    def _admit(self, headers: dict[bytes, bytes]) -> Route | None:
        if headers.get(b":method") != b"POST":
            self._refuse_http(b"405")
            return None
        if not headers.get(b"content-type", b"").startswith(b"application/grpc"):
            self._refuse_http(b"415")
            return None
        route = self.connection.routes.get(headers.get(b":path", b""))
        if route is None:
            raise self.connection.unknown(headers.get(b":path", b""))
        encoding = headers.get(b"grpc-encoding", b"identity")
        if encoding not in _ENCODINGS:
            name = encoding.decode("latin-1")
            raise RpcError(StatusCode.UNIMPLEMENTED, f"grpc-encoding {name!r} is not supported")
        return route

    def _refuse_http(self, status: bytes) -> None:
        """Answer in HTTP: whoever asks so does not speak gRPC."""
        self.finished = True
        try:
            self.connection.engine.respond(self.stream_id, ((b":status", status),), end=True)
        except StreamGoneError:
            return
        self._leave()

    def _set_deadline(self, value: bytes | None) -> None:
        if value is None:
            return
        seconds = decode_timeout(value)
        self.deadline = self.connection.loop.time() + seconds
        self._timer = self.connection.loop.call_later(seconds, self._deadline_passed)

    def _deadline_passed(self) -> None:
        self.end(RpcError(StatusCode.DEADLINE_EXCEEDED, "the deadline passed"))

    # Told by the connection.

    def peer_ended(self) -> None:
        """The caller has sent everything: a method with one request can run once it is its turn."""
        if self.finished or self._route is None or not self._route.method.kind.one_request:
            return
        if self._inbox is None or len(self._inbox) != 1:
            self.finish(RpcError(StatusCode.INTERNAL, "this method takes exactly one message"))
        else:
            self.connection.enqueue(self)

    def proceed(self) -> None:
        """Run: it is this call's turn, and it has not ended before."""
        route = self._route
        assert route is not None
        try:
            if route.guarded or not route.method.kind.one_request:
                self._start(route.handler, self)
                return
            request = self.request()
            if not route.plain:
                self._start(route.handler, request, self)
                return
            answer = route.handler(request, self)
            if type(answer) is CoroutineType:  # of a function around an `async def`
                self._start(_awaited, answer)
            else:
                self.reply(answer)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - all that a handler raises is answered
            self.finish(self._translated(error))

    def _decode(self, data: bytes) -> Request:
        try:
            return self._method.decode_request(data)
        except ValueError as error:
            raise RpcError(StatusCode.INTERNAL, f"the request is malformed: {error}") from error

    def unreadable(self, error: RpcError) -> None:
        """What the caller sent cannot be read."""
        self.end(error)
        self.connection.count_reset()

    def end(self, error: RpcError) -> None:
        """Answer with this error instead of whatever the handler was about to."""
        if not self.finished:
            self.failure = error
        self.finish(error)
        self.cancel()

    def reset(self, error_code: int) -> None:
        """The caller gave the call up."""
        self._abandon(RpcError(StatusCode.CANCELLED, "the caller cancelled the call"))

    def over(self, error_code: int) -> None:
        """The stream is closed: nearly always after our trailers, else because it broke."""
        error = None if self.finished else RpcError(StatusCode.CANCELLED, "the stream was closed")
        self._abandon(error)

    def lost(self, error: RpcError) -> None:
        """The connection is gone."""
        self._abandon(error)

    def _abandon(self, error: RpcError | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.forget()
        if not self.finished:
            self.finished = True
            self.failure = error
            self.connection.senders.wake(self.stream_id)
        self.cancel()

    # Running.

    def _start(self, handler: Handler, *arguments: object) -> None:
        self._task = self.connection.start(self._run(handler, arguments))

    def cancel(self) -> None:
        """Cancel the handler, unless it is the one that asks."""
        if self._task is not None and not self._task.done() and self._task is not _current_task():
            self._task.cancel()

    async def _run(self, handler: Handler, arguments: tuple[object, ...]) -> None:
        try:
            result = await handler(*arguments)
            if self.finished:
                return
            if self._method.kind.one_reply:
                self.reply(result)
            else:
                self.finish(None)
        except asyncio.CancelledError:
            self.finish(RpcError(StatusCode.UNAVAILABLE, "the server is stopping"))
        except Exception as error:  # noqa: BLE001 - whatever a handler raises is answered, never passed on
            self.finish(self._translated(error))

    def _translated(self, error: BaseException) -> RpcError:
        if isinstance(error, RpcError):
            return error
        if isinstance(error, FinialError):
            try:
                return self.connection.translate(error)
            except Exception as broken:  # noqa: BLE001 - the caller is answered in any case
                error = broken
        _log.error("handler of %s failed", self._method.path, exc_info=error)
        return RpcError(StatusCode.INTERNAL, "internal error")

    # Answering.

    def reply(self, reply: Reply) -> None:
        """Send the one reply of the call and the OK that ends it."""
        if self.finished:
            return
        data = frame(self._method.encode_reply(reply))
        try:
            self._send_headers()
            self.connection.queue(self, data)
        except StreamGoneError:
            return
        self.finish(None)

    def _send_headers(self) -> None:
        if self._headers_sent:
            return
        headers: Headers = _HEADERS
        if self.initial_metadata:
            headers = (*_HEADERS, *encode_metadata(self.initial_metadata))
        try:
            self.connection.engine.respond(self.stream_id, headers, end=False)
        except StreamGoneError as error:
            raise self.failure or RpcError(StatusCode.CANCELLED, "the call has ended") from error
        self._headers_sent = True

    def finish(self, error: RpcError | None) -> None:
        """End the call with a status, OK for None; later calls do nothing."""
        if self.finished:
            return
        self.finished = True
        try:
            trailers = self._trailers(error)
        except Exception as broken:  # noqa: BLE001 - the caller is answered in any case
            _log.error("status of %s cannot be sent", self._method.path, exc_info=broken)
            trailers = _BROKEN_TRAILERS
        try:
            if self._headers_sent:
                self.connection.engine.trail(self.stream_id, trailers)
            else:
                self.connection.engine.respond(self.stream_id, (*_HEADERS, *trailers), end=True)
        except StreamGoneError:
            return
        self._leave()

    def _trailers(self, error: RpcError | None) -> Headers:
        if error is None and not self.trailing_metadata:
            return _OK_TRAILERS
        code = StatusCode.OK if error is None else error.code
        trailers = [(b"grpc-status", b"%d" % code)]
        if error is not None:
            trailers.append((b"grpc-message", encode_message(error.message[:_LONGEST_TEXT])))
            if error.details is not None and len(error.details) <= _LONGEST_DETAILS:
                trailers += encode_metadata([("status-details-bin", error.details)])
                trailers[-1] = (b"grpc-status-details-bin", trailers[-1][1])
            if error.retry_after is not None:
                pause = max(round(error.retry_after.total_seconds() * 1_000), 0)
                trailers.append((b"grpc-retry-pushback-ms", b"%d" % pause))
            if code is StatusCode.UNIMPLEMENTED:
                trailers.append((b"grpc-accept-encoding", ACCEPTED_ENCODINGS))
        return (*trailers, *encode_metadata(self.trailing_metadata))

    def stop(self) -> None:
        """End the call because the server stops."""
        if self._task is None or _unbegun(self._task):
            self.finish(RpcError(StatusCode.UNAVAILABLE, "the server is stopping"))
        self.cancel()

    @property
    def live(self) -> bool:
        """Whether the call is still to be answered."""
        return not self.finished

    def _leave(self) -> None:
        self.connection.senders.wake(self.stream_id)
        if self._timer is not None:
            self._timer.cancel()
        if not self.remote_ended:
            self.connection.release(self.stream_id)
        self.connection.flush_soon()


async def _awaited(answer: Coroutine[Any, Any, Any]) -> object:
    return await answer


def _unbegun(task: asyncio.Task[None]) -> bool:
    """Whether a task has yet to take its first step; one that is cancelled before never does, nor answers."""
    return getcoroutinestate(cast("Coroutine[Any, Any, None]", task.get_coro())) == CORO_CREATED


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None
