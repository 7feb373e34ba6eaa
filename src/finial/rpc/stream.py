"""One stream as both sides see it: messages in, bounded and acknowledged as they are read; bytes out."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from finial.rpc.engine import Headers, StreamGoneError
from finial.rpc.errorcode import ErrorCode
from finial.rpc.framing import Message, MessageReader, Packed
from finial.rpc.status import RpcError, StatusCode

if TYPE_CHECKING:
    from finial.rpc.connection import Connection

# Unread messages of a stream beyond which the peer gets no more room to send.
_READ_AHEAD_BYTES = 64 * 1024
_MESSAGE_COST = 64  # bytes that an unread message costs beside its own; empty ones would be free otherwise


class Stream:
    """What server and client calls share.

    One task receives and one sends, at most; the connection's callbacks fill the inbox.
    """

    __slots__ = (
        "_inbox", "_inbox_bytes", "_kept", "_owed", "_reader", "_waiter",
        "connection", "failure", "local_ended", "queued_bytes", "remote_ended", "stream_id",
    )  # fmt: skip

    def __init__(self, connection: Connection, stream_id: int) -> None:
        self.connection = connection
        self.stream_id = stream_id
        self.failure: RpcError | None = None  # why no more messages will come, if not for a good reason
        self.remote_ended = False
        self.local_ended = False
        self.queued_bytes = 0  # handed to the engine, sent or not
        self._reader: MessageReader | None = None
        self._inbox: deque[Message] | None = None
        self._inbox_bytes = 0
        self._kept = 0
        self._owed = 0
        self._waiter: asyncio.Future[None] | None = None

    # Told by the connection.

    def body(self, data: bytes, *, ended: bool) -> None:
        """Body bytes arrived."""
        if ended:
            self.remote_ended = True
        if self._reader is None or self.failure is not None:
            self.connection.engine.consume(self.stream_id, len(data))
            if ended:
                self.peer_ended()
            return
        try:
            messages = self._reader.feed(data)
        except RpcError as error:
            self.connection.engine.consume(self.stream_id, len(data))
            self.unreadable(error)
            return
        if ended and self._reader.pending:
            self.connection.engine.consume(self.stream_id, len(data))
            self.unreadable(RpcError(StatusCode.INTERNAL, "the stream ended inside a message"))
            return
        for message in messages:
            self._store(message)
        self._account(len(data))
        if ended:
            self.peer_ended()
        if messages or ended:
            self.wake()

    def _store(self, message: Message) -> None:
        if self._inbox is None:
            self._inbox = deque()
        self._inbox.append(message)
        self._inbox_bytes += len(message) + _MESSAGE_COST

    def _account(self, arrived: int) -> None:
        """Give room back for what arrived, now or when what is unread has been read; bound what is kept."""
        if self._inbox_bytes > _READ_AHEAD_BYTES and not self.remote_ended:
            self._owed += arrived
        elif arrived:
            self.connection.engine.consume(self.stream_id, arrived)
        self._recount()
        limits = self.connection.limits
        if self.connection.kept_bytes > max(limits.max_buffered_bytes, limits.max_receive_bytes):
            self.unreadable(
                RpcError(StatusCode.RESOURCE_EXHAUSTED, "too many unread bytes on this connection")
            )

    def _settle(self) -> None:
        """Give back the room of what was read late, or never will be."""
        if self._owed:
            self.connection.engine.consume(self.stream_id, self._owed)
            self._owed = 0
            self.connection.flush_soon()

    def _recount(self) -> None:
        kept = self._inbox_bytes + (self._reader.pending if self._reader is not None else 0)
        self.connection.kept_bytes += kept - self._kept
        self._kept = kept

    def trailers(self, headers: Headers) -> None:
        """The peer ended its half with trailers."""
        self.remote_ended = True
        if self._reader is not None and self._reader.pending:
            self.unreadable(RpcError(StatusCode.INTERNAL, "the stream ended inside a message"))
            return
        self.peer_ended()
        self.wake()

    @property
    def live(self) -> bool:
        """Whether the call goes on."""
        raise NotImplementedError

    def peer_ended(self) -> None:
        """The peer will send no more; all its messages are in the inbox."""

    def unreadable(self, error: RpcError) -> None:
        """What the peer sent cannot be read."""
        self.end(error)

    def end(self, error: RpcError) -> None:
        """End the call with this error; nothing when it has ended."""
        raise NotImplementedError

    def reset(self, error_code: int) -> None:
        """The peer reset the stream."""
        raise NotImplementedError

    def over(self, error_code: int) -> None:
        """The stream is closed in both directions and forgotten by the connection."""
        raise NotImplementedError

    def lost(self, error: RpcError) -> None:
        """The connection is gone."""
        raise NotImplementedError

    def forget(self) -> None:
        """Drop what is unread and stop counting it."""
        self._settle()
        self._inbox = None
        self._inbox_bytes = 0
        self._reader = None
        self._recount()

    # Receiving.

    def wake(self) -> None:
        """Let the receiving task look again."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def take(self) -> bytes | None:
        """The oldest unread message, inflated only now; None when there is none now.

        Raises:
            RpcError: It cannot be inflated, which ends the call.
        """
        if not self._inbox:
            return None
        message = self._inbox.popleft()
        self._inbox_bytes -= len(message) + _MESSAGE_COST
        if self._owed and self._inbox_bytes <= _READ_AHEAD_BYTES:
            self._settle()
        self._recount()
        return message if isinstance(message, bytes) else self._unpack(message)

    def _unpack(self, message: Packed) -> bytes:
        try:
            return message.unpack()
        except RpcError as error:
            self.end(error)
            self.failure = error
            self.forget()
            raise

    async def next_message(self) -> bytes | None:
        """The next message; None when the peer has ended its half in good order.

        Raises:
            RpcError: The call failed.
        """
        while True:
            message = self.take()
            if message is not None:
                return message
            if self.failure is not None:
                raise self.failure
            if self.remote_ended:
                return None
            if self._waiter is not None:
                raise RuntimeError("another task is receiving from this call")
            self._waiter = self.connection.loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    # Sending.

    async def send_frame(self, data: bytes) -> None:
        """Queue one framed message and wait while too much is queued.

        Raises:
            RpcError: The call has ended.
        """
        try:
            self.connection.queue(self, data)
        except StreamGoneError as error:
            raise self.failure or RpcError(StatusCode.CANCELLED, "the call has ended") from error
        self.connection.flush_soon()
        await self.connection.writable(self)
        if self.failure is not None:
            raise self.failure

    def give_up(self, error_code: ErrorCode) -> None:
        """Reset the stream."""
        self.connection.engine.reset(self.stream_id, error_code)
        self.connection.flush_soon()
