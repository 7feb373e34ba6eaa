"""The gRPC client: a channel that connects when it has to, and moves on when the server asks it to."""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Self

from finial.core.errors import FinialError
from finial.rpc.clientcall import ClientCall
from finial.rpc.connection import Connection
from finial.rpc.engine import EngineRole, Headers, engine_kind
from finial.rpc.errorcode import ErrorCode
from finial.rpc.framing import ACCEPTED_ENCODINGS
from finial.rpc.handshakes import Handshakes
from finial.rpc.limits import Limits
from finial.rpc.metadata import encode_metadata, encode_timeout
from finial.rpc.method import Method, Reply, Request
from finial.rpc.peer import Address, Peer, Unix
from finial.rpc.sockets import notice_silence
from finial.rpc.status import RpcError, StatusCode
from finial.rpc.tls import ClientTLS

_DIALS = 5  # a server that sends every new connection away is not there
_TRIES = 2  # a call that the server certainly did not touch is sent once more


class ClientConnection(Connection):
    """One connection of a channel.

    Args:
        channel: Whose connection it is.
    """

    __slots__ = ("_slots", "_target", "_why", "gone", "leaving", "ready", "rejection")

    def __init__(self, channel: Channel) -> None:
        super().__init__(channel.engine, channel.handshakes, channel.tls)
        self.ready: asyncio.Future[None] = self.loop.create_future()
        self.gone: asyncio.Future[None] = self.loop.create_future()
        self.leaving: asyncio.Future[None] = self.loop.create_future()  # done when no more calls are wanted
        self.rejection: RpcError | None = None  # the server ended the connection for a fault of ours
        self._target = channel.target
        self._why = ""
        self._slots: deque[asyncio.Future[None]] = deque()

    def opened(self) -> None:
        """The server's settings are here: it took us."""
        if not self.ready.done():
            self.ready.set_result(None)

    def refused(self, error: FinialError) -> None:
        """The server is not who it has to be, or would not have us."""
        self._why = str(error)

    def loss(self, exc: Exception | None) -> RpcError:
        """What calls in flight are told."""
        why = self._why or (str(exc) if exc is not None else "closed by the server")
        return RpcError(StatusCode.UNAVAILABLE, f"connection to {self._target} lost: {why}")

    def lost(self) -> None:
        """The connection is gone."""
        self._drain()
        if not self.ready.done():
            why = self._why or "closed by the server during the handshake"
            text = f"cannot connect to {self._target}: {why}"
            self.ready.set_exception(RpcError(StatusCode.UNAVAILABLE, text, unprocessed=True))
            self.ready.exception()  # whoever dialled may have gone; the error is still in the future
        self.stream_ended()
        if not self.gone.done():
            self.gone.set_result(None)

    def fail(self, error: FinialError) -> None:
        """Remember why, for whoever waits on this connection."""
        self._why = self._why or error.message
        super().fail(error)

    def on_headers(self, stream_id: int, headers: Headers, ended: bool) -> None:
        """A response begins."""
        call = self.streams.get(stream_id)
        if isinstance(call, ClientCall):
            call.headers(headers, ended=ended)

    def on_goaway(self, last_stream_id: int, error_code: int, debug: bytes) -> None:
        """The server wants no more calls here; those that it will not serve fail, the others go on."""
        self._drain()
        text = debug.decode("utf-8", "replace")
        if error_code != ErrorCode.NO_ERROR:
            self._why = text or f"the server ended it (HTTP/2 error {error_code:#x})"
            self.rejection = RpcError(
                StatusCode.UNAVAILABLE, f"cannot connect to {self._target}: {self._why}", unprocessed=True
            )
        error = RpcError(StatusCode.UNAVAILABLE, f"{self._target} is going away", unprocessed=True)
        for stream_id in [number for number in self.streams if number > last_stream_id]:
            self.streams[stream_id].lost(error)
            self.engine.reset(stream_id, ErrorCode.CANCEL)
        self.stream_ended()

    def on_settings(self) -> None:
        """The server's settings, which may let more calls in."""
        super().on_settings()
        self._let_in()

    def stream_ended(self) -> None:
        """Let a waiting call in; close a draining connection behind its last one."""
        self._let_in()
        if self.draining and not self.streams:
            self.loop.call_soon(self.close)

    @property
    def draining(self) -> bool:
        """Whether new calls have to go elsewhere."""
        return self.leaving.done()

    def _drain(self) -> None:
        if not self.leaving.done():
            self.leaving.set_result(None)

    def _let_in(self) -> None:
        free = len(self._slots) if self.draining else self.engine.peer_max_streams - len(self.streams)
        while self._slots and free > 0:
            waiter = self._slots.popleft()
            if not waiter.done():
                waiter.set_result(None)
                free -= 1

    def has_room(self) -> bool:
        """Whether the server lets one more call in."""
        return len(self.streams) < self.engine.peer_max_streams

    async def room(self) -> None:
        """Wait until it does, or until the connection is of no use."""
        while not self.draining and not self.has_room():
            waiter = self.loop.create_future()
            self._slots.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter in self._slots:
                    self._slots.remove(waiter)
                self._let_in()  # the place may have been given to this one
                raise

    @property
    def peer(self) -> Peer:
        """Who the server is."""
        if self.tls is None:
            return Peer(str(self._target))
        return Peer(str(self._target), None, self.tls.chain, self.tls.identity)


class Channel:
    """Calls to one server, over one connection at a time, made when it is needed.

    Args:
        target: Where the server listens.
        tls: How to speak TLS; None for none, which is for Unix sockets.
        limits: Bounds.
        engine: HTTP/2 engine: `auto`, `ngh2`, `h2`.
    """

    def __init__(
        self,
        target: Address,
        *,
        tls: ClientTLS | None = None,
        limits: Limits | None = None,
        engine: str = "auto",
    ) -> None:
        self.target = target
        self.tls = tls
        self.limits = limits or Limits()
        self.handshakes = Handshakes(self.limits.handshake_timeout)
        self.engine = engine_kind(engine, EngineRole(client=True, limits=self.limits))
        self._dialling: asyncio.Task[ClientConnection] | None = None
        self._connections: set[ClientConnection] = set()
        self._closed = False

    async def unary(
        self,
        method: Method[Request, Reply],
        request: Request,
        *,
        timeout: timedelta | None = None,  # noqa: ASYNC109 - travels to the server as the call's deadline
        metadata: Iterable[tuple[str, str | bytes]] = (),
    ) -> Reply:
        """Send one request and return the one reply.

        Args:
            method: What to call.
            request: What to send.
            timeout: How long to wait in all, connecting included; None waits as long as it takes.
            metadata: To send along.

        Raises:
            RpcError: The call did not end with OK, or the server cannot be reached.
        """
        extra = tuple(metadata)
        seconds = None if timeout is None else timeout.total_seconds()
        deadline = None if seconds is None else asyncio.get_running_loop().time() + seconds
        for attempt in range(1, _TRIES + 1):
            call = await self._open(method, deadline, extra)
            try:
                call.send_only(request)
                return await _only_reply(call)
            except RpcError as error:
                if not error.unprocessed or attempt == _TRIES:
                    raise
            finally:
                call.cancel()
                call.forget()
        raise AssertionError

    @asynccontextmanager
    async def call(
        self,
        method: Method[Request, Reply],
        *,
        timeout: timedelta | None = None,  # noqa: ASYNC109 - travels to the server as the call's deadline
        metadata: Iterable[tuple[str, str | bytes]] = (),
    ) -> AsyncIterator[ClientCall[Request, Reply]]:
        """Open a call of any kind; the block's end cancels it if it still runs.

        Args:
            method: What to call.
            timeout: For the whole call, connecting included; None for no deadline.
            metadata: To send along.

        Raises:
            RpcError: The server cannot be reached.
        """
        seconds = None if timeout is None else timeout.total_seconds()
        deadline = None if seconds is None else asyncio.get_running_loop().time() + seconds
        call = await self._open(method, deadline, tuple(metadata))
        async with call:
            yield call

    async def connect(self) -> Peer:
        """Connect now, if need be, and tell who the server is.

        Raises:
            RpcError: UNAVAILABLE, the server cannot be reached or is not who it has to be.
        """
        return (await self._connection()).peer

    async def _open(
        self,
        method: Method[Request, Reply],
        deadline: float | None,
        metadata: tuple[tuple[str, str | bytes], ...],
    ) -> ClientCall[Request, Reply]:
        try:
            async with asyncio.timeout_at(deadline):
                connection = await self._usable()
        except TimeoutError as error:
            text = f"the deadline passed while connecting to {self.target}"
            raise RpcError(StatusCode.DEADLINE_EXCEEDED, text) from error
        seconds = None if deadline is None else max(deadline - connection.loop.time(), 0.0)
        headers: list[tuple[bytes, bytes]] = [
            (b":method", b"POST"),
            (b":scheme", b"http" if self.tls is None else b"https"),
            (b":path", method.path.encode()),
            (b":authority", _authority(self.target)),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
            (b"grpc-accept-encoding", ACCEPTED_ENCODINGS),
            (b"user-agent", b"finial"),
        ]
        if seconds is not None:
            headers.append((b"grpc-timeout", encode_timeout(seconds)))
        headers += encode_metadata(metadata)
        call = ClientCall(connection, method)
        call.open(headers, seconds)
        return call

    async def _usable(self) -> ClientConnection:
        for _ in range(_DIALS):
            connection = await self._connection()
            await connection.room()
            if not connection.draining:
                return connection
            if connection.rejection is not None:
                raise connection.rejection
        raise self._unreachable("the server is going away")

    async def _connection(self) -> ClientConnection:
        if self._closed:
            raise RpcError(StatusCode.CANCELLED, "the channel is closed")
        dialling = self._dialling
        if dialling is not None and dialling.done() and not _usable(dialling):
            dialling = None
        if dialling is None:
            dialling = self._dialling = asyncio.get_running_loop().create_task(self._dial())
        # One dial serves all who wait; one who gives up must not end it for the others.
        try:
            return await asyncio.shield(dialling)
        except asyncio.CancelledError:
            if dialling.cancelled():  # by `close`, and not whoever waits here
                raise RpcError(StatusCode.CANCELLED, "the channel is closed") from None
            raise

    async def _dial(self) -> ClientConnection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self.limits.connect_timeout.total_seconds()):
                if isinstance(self.target, Unix):
                    _, connection = await loop.create_unix_connection(
                        lambda: ClientConnection(self), self.target.path
                    )
                else:
                    transport, connection = await loop.create_connection(
                        lambda: ClientConnection(self), self.target.host, self.target.port
                    )
                    notice_silence(transport.get_extra_info("socket"))
        except TimeoutError as error:
            raise self._unreachable("no answer in time") from error
        except OSError as error:
            raise self._unreachable(_words(error)) from error
        self._connections.add(connection)
        connection.gone.add_done_callback(lambda _: self._connections.discard(connection))
        await connection.ready
        return connection

    def _unreachable(self, why: str) -> RpcError:
        return RpcError(StatusCode.UNAVAILABLE, f"cannot connect to {self.target}: {why}", unprocessed=True)

    async def close(self) -> None:
        """Cancel what runs and close the connection; the channel is of no more use."""
        self._closed = True
        if self._dialling is not None and not self._dialling.done():
            self._dialling.cancel()
            await asyncio.wait([self._dialling])
        connections = list(self._connections)
        for connection in connections:
            for stream in list(connection.streams.values()):
                stream.lost(RpcError(StatusCode.CANCELLED, "the channel was closed"))
            connection.close()
        if connections:
            await asyncio.wait([connection.gone for connection in connections])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()


def _usable(dialled: asyncio.Task[ClientConnection]) -> bool:
    return not dialled.cancelled() and dialled.exception() is None and not dialled.result().draining


def _words(error: OSError) -> str:
    """Why a connection cannot be made, in the system's words; asyncio puts its own in their place."""
    if error.errno is None or isinstance(error, socket.gaierror):
        return error.strerror or str(error)
    return os.strerror(error.errno)


def _authority(target: Address) -> bytes:
    return (
        b"localhost" if isinstance(target, Unix) else str(target).encode("idna" if target.host else "ascii")
    )


async def _only_reply(call: ClientCall[Any, Reply]) -> Reply:
    reply = await call.receive()
    if reply is None:
        raise RpcError(StatusCode.INTERNAL, "the server sent no reply and no error")
    if await call.receive() is not None:
        raise RpcError(StatusCode.INTERNAL, "the server sent more than one reply")
    return reply
