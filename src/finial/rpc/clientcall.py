"""A call at the client: opened with headers, ended by the server's status."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import TYPE_CHECKING, Generic

from finial.rpc.engine import EngineError, Headers, StreamGoneError
from finial.rpc.errorcode import ErrorCode
from finial.rpc.framing import MessageReader, frame
from finial.rpc.metadata import Metadata, decode_bin, decode_message, decode_metadata
from finial.rpc.method import Method, Reply, Request
from finial.rpc.status import RpcError, StatusCode, code_from_http, code_from_number, code_from_reset
from finial.rpc.stream import Stream

if TYPE_CHECKING:
    from finial.rpc.client import ClientConnection

_CLOCK_SLACK_SECONDS = 0.02
_PUSHBACK_DIGITS = 9
_ENCODINGS = frozenset({b"identity", b"gzip"})


class ClientCall(Stream, Generic[Request, Reply]):
    """One call: send requests, receive replies, learn the status. Use it in an `async with`.

    Leaving the block before the status has arrived cancels the call.
    """

    __slots__ = (
        "_deadline", "_done", "_method", "_timer", "initial_metadata", "leaving", "trailing_metadata"
    )  # fmt: skip

    def __init__(self, connection: ClientConnection, method: Method[Request, Reply]) -> None:
        super().__init__(connection, 0)
        self.initial_metadata: Metadata | None = None
        """What came with the response's headers; None before they arrived."""
        self.trailing_metadata: Metadata | None = None
        """What came with the status; None before it arrived."""
        self.leaving = connection.leaving
        """Done when the server wants no more calls on this connection; to be waited for, never cancelled."""
        self._method = method
        self._deadline: float | None = None
        self._done = False
        self._timer: asyncio.TimerHandle | None = None

    def open(self, headers: Headers, seconds: float | None) -> None:
        """Send the headers; the deadline runs from here.

        Raises:
            RpcError: UNAVAILABLE, the connection takes no more streams.
        """
        try:
            self.stream_id = self.connection.engine.request(headers)
        except EngineError as error:
            raise RpcError(StatusCode.UNAVAILABLE, error.message, unprocessed=True) from error
        self.connection.streams[self.stream_id] = self
        if seconds is not None:
            self._deadline = self.connection.loop.time() + seconds
            self._timer = self.connection.loop.call_later(seconds, self._deadline_passed)
        self.connection.flush_soon()

    # What callers use.

    async def send(self, request: Request) -> None:
        """Send one request; waits while the server reads too slowly.

        Raises:
            RpcError: The call has ended; `receive` tells how.
        """
        await self.send_frame(frame(self._method.encode_request(request)))

    async def half_close(self) -> None:
        """Say that no more requests come."""
        if not self.local_ended:
            self.local_ended = True
            try:
                self.connection.engine.end(self.stream_id)
            except StreamGoneError:
                return  # the status has arrived already
            self.connection.flush_soon()

    async def receive(self) -> Reply | None:
        """The next reply; None when the call has ended with OK.

        Raises:
            RpcError: The call ended with any other status.
        """
        while not self._done and self.remote_ended and not self._inbox:
            self._conclude(RpcError(StatusCode.INTERNAL, "the server ended the call without a status"))
        data = await self.next_message()
        if data is None:
            return None
        try:
            return self._method.decode_reply(data)
        except ValueError as error:
            self.cancel()
            raise RpcError(StatusCode.INTERNAL, f"the reply is malformed: {error}") from error

    async def __aiter__(self) -> AsyncIterator[Reply]:
        """The replies, until the call has ended."""
        while (reply := await self.receive()) is not None:
            yield reply

    def send_only(self, request: Request) -> None:
        """Send the one request of a unary call."""
        self.local_ended = True
        data = frame(self._method.encode_request(request))
        try:
            self.connection.queue(self, data, end=True)
        except StreamGoneError:
            return  # the status has arrived already
        self.connection.flush_soon()

    def cancel(self) -> None:
        """Give the call up, unless it has ended."""
        self.end(RpcError(StatusCode.CANCELLED, "the call was cancelled here"))

    def _deadline_passed(self) -> None:
        self.end(RpcError(StatusCode.DEADLINE_EXCEEDED, "the deadline passed"))

    # Told by the connection.

    def headers(self, headers: Headers, *, ended: bool) -> None:
        """The response begins, or is over at once."""
        fields = dict(headers)
        if b"grpc-status" in fields and ended:
            self.initial_metadata = ()
            self.trailers(headers)
            return
        refusal = _not_grpc(fields)
        if refusal is not None:
            self._conclude(refusal)
            self.give_up(ErrorCode.CANCEL)
            return
        self.initial_metadata = self._metadata(headers)
        self._reader = MessageReader(
            self.connection.limits.max_receive_bytes, gzip=fields.get(b"grpc-encoding") == b"gzip"
        )
        if ended:
            self.remote_ended = True
            self.peer_ended()

    def trailers(self, headers: Headers) -> None:
        """The status."""
        self.remote_ended = True
        self.trailing_metadata = self._metadata(headers)
        self._conclude(_status(dict(headers)))
        if not self.local_ended:
            self.give_up(ErrorCode.CANCEL)  # the server reads no more; let it know that we send no more

    def _metadata(self, headers: Headers) -> Metadata:
        try:
            return decode_metadata(headers)
        except RpcError:
            return ()  # metadata that cannot be read must not hide the status

    @property
    def live(self) -> bool:
        """Whether the status is still to come."""
        return not self._done

    def peer_ended(self) -> None:
        """The server ended its half; without trailers that is no proper end."""
        self.end(RpcError(StatusCode.INTERNAL, "the server ended the call without a status"))

    def end(self, error: RpcError) -> None:
        """Give the call up for this reason, unless it has ended."""
        if not self._done:
            self._conclude(error)
            self.give_up(ErrorCode.CANCEL)

    def reset(self, error_code: int) -> None:
        """The server reset the stream."""
        self._broken(error_code)

    def over(self, error_code: int) -> None:
        """The stream is closed."""
        self._broken(error_code)

    def _broken(self, error_code: int) -> None:
        if self._done:
            return
        if error_code == ErrorCode.CANCEL and self._deadline_near():
            self._conclude(RpcError(StatusCode.DEADLINE_EXCEEDED, "the deadline passed"))
            return
        code = code_from_reset(error_code)
        unprocessed = error_code == ErrorCode.REFUSED_STREAM and self.initial_metadata is None
        text = f"the server reset the call (HTTP/2 error {error_code:#x})"
        self._conclude(RpcError(code, text, unprocessed=unprocessed))

    def _deadline_near(self) -> bool:
        """Whether the server may have watched the deadline pass, by its clock, a moment before we do."""
        return (
            self._deadline is not None and self.connection.loop.time() > self._deadline - _CLOCK_SLACK_SECONDS
        )

    def lost(self, error: RpcError) -> None:
        """The connection is gone, or takes this call no more."""
        if error.unprocessed and self.initial_metadata is not None:
            error = RpcError(error.code, error.message)  # it has begun to answer, so it was processed
        self._conclude(error)

    def forget(self) -> None:
        """Drop what is unread, and what is unsent: the server may have answered before it had it all."""
        super().forget()
        if self.stream_id in self.connection.streams:
            self.give_up(ErrorCode.CANCEL)

    def _conclude(self, error: RpcError | None) -> None:
        """Keep how the call ended; the first word counts."""
        if self._done:
            return
        self._done = True
        self.remote_ended = True
        self.failure = error
        if self._timer is not None:
            self._timer.cancel()
        self.wake()
        self.connection.senders.wake(self.stream_id)

    async def __aenter__(self) -> ClientCall[Request, Reply]:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.cancel()
        self.forget()


def _not_grpc(fields: dict[bytes, bytes]) -> RpcError | None:
    """The refusal of a response that is not gRPC's."""
    status = fields.get(b":status", b"")
    if status != b"200":
        number = int(status) if status.isdigit() and len(status) == 3 else 0
        return RpcError(code_from_http(number), f"the server answered with HTTP status {number}")
    content = fields.get(b"content-type", b"")
    if not content.startswith(b"application/grpc"):
        name = content.decode("latin-1")
        return RpcError(StatusCode.UNKNOWN, f"the server answered with content-type {name!r}, not gRPC")
    encoding = fields.get(b"grpc-encoding", b"identity")
    if encoding not in _ENCODINGS:
        name = encoding.decode("latin-1")
        return RpcError(StatusCode.INTERNAL, f"the server compressed with {name!r}, which was not offered")
    return None


def _status(fields: dict[bytes, bytes]) -> RpcError | None:
    """The error that the trailers carry; None for OK."""
    raw = fields.get(b"grpc-status", b"")
    if not (raw.isdigit() and len(raw) <= 3):
        return RpcError(StatusCode.UNKNOWN, "the server sent no readable grpc-status")
    code = code_from_number(int(raw))
    if code is StatusCode.OK:
        return None
    details = fields.get(b"grpc-status-details-bin")
    try:
        decoded = None if details is None else decode_bin(details)
    except RpcError:
        decoded = None  # the status matters more than its details
    message = decode_message(fields.get(b"grpc-message", b""))
    return RpcError(code, message, details=decoded, retry_after=_pushback(fields))


def _pushback(fields: dict[bytes, bytes]) -> timedelta | None:
    """How long the server asks to wait; a negative number, which forbids retries, is for others to heed."""
    raw = fields.get(b"grpc-retry-pushback-ms", b"")
    return timedelta(milliseconds=int(raw)) if raw.isdigit() and len(raw) <= _PUSHBACK_DIGITS else None
