"""The gRPC server: listeners, their connections, and an end that lets calls finish."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Coroutine, Iterable
from datetime import timedelta
from typing import Any, Self

from finial.core.errors import FinialError, Kind
from finial.rpc.connection import Connection
from finial.rpc.engine import EngineError, EngineKind, EngineRole, Headers, engine_kind
from finial.rpc.errorcode import ErrorCode
from finial.rpc.handshakes import Handshakes
from finial.rpc.limits import LOCAL, Limits, Meter
from finial.rpc.method import Method, Route
from finial.rpc.peer import Address, Peer, Tcp, Unix, site_of
from finial.rpc.servercall import ServerCall
from finial.rpc.sockets import Listener, bind, notice_silence
from finial.rpc.stalls import Stalls
from finial.rpc.status import RpcError, StatusCode
from finial.rpc.stream import Stream
from finial.rpc.tls import ServerTLS
from finial.rpc.turns import Pace, Turns
from finial.runtime.peer import peer_process

_log = logging.getLogger("finial.rpc")

Translate = Callable[[FinialError], RpcError]
_NOBODY = Peer("")
_SPREAD = 0.4  # connection ages lie within a fifth of the setting, both ways


def plain_translation(error: FinialError) -> RpcError:
    """What a handler's error becomes where the application brings no table of its own."""
    if error.reason.kind is Kind.INVALID:
        return RpcError(StatusCode.INVALID_ARGUMENT, error.message)
    _log.error("call failed: %s", error)
    return RpcError(StatusCode.INTERNAL, "internal error")


class ServerConnection(Connection):
    """One accepted connection.

    Args:
        server: Whose routes are served.
        listener: Where it was accepted.
        kind: Its bounds and its HTTP/2 engine.
        handshakes: Of the listener.
    """

    __slots__ = (
        "_age_timer", "_last_stream", "_pace", "_resets", "_shaking_hands", "_stalls", "draining", "listener",
        "peer", "routes", "server", "site", "translate",
    )  # fmt: skip

    def __init__(self, server: Server, listener: Listener, kind: EngineKind, handshakes: Handshakes) -> None:
        super().__init__(kind, handshakes, listener.tls)
        self.server = server
        self.listener = listener
        self.routes = server.routes
        self.translate = server.translate
        self.peer = _NOBODY
        self.site: str | None = None
        self.draining = False
        self._last_stream = 0
        self._shaking_hands = True
        self._age_timer: asyncio.TimerHandle | None = None
        self._stalls = Stalls(self)
        self._pace = Pace(self, server.turns, self.loop.time)
        self._resets = Meter(self.limits.resets, self._pace.leisure)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, unless the listener has its fill."""
        if isinstance(self.listener.address, Tcp):
            # A peer that has gone already has no name any more.
            host, port = (transport.get_extra_info("peername") or ("gone", 0))[:2]
            self.peer, self.site = Peer(str(Tcp(host, port))), site_of(host)
        if not self.server.admit(self):
            self._shaking_hands = False
            self.closed = True
            assert isinstance(transport, asyncio.Transport)
            transport.abort()
            return
        try:
            self._greet_peer(transport.get_extra_info("socket"))
        except OSError as error:
            _log.warning("a connection was closed: its peer is not known: %s", error)
            self.closed = True
            self._hands_shaken()
            self.server.left(self)
            assert isinstance(transport, asyncio.Transport)
            transport.abort()
            return
        super().connection_made(transport)

    def _greet_peer(self, sock: socket.socket) -> None:
        if isinstance(self.listener.address, Tcp):
            notice_silence(sock)
        else:
            process = peer_process(sock)
            self.peer = Peer(f"unix (pid {process.pid})", process)

    def opened(self) -> None:
        """The handshake is over: who it is, is known."""
        self._hands_shaken()
        if self.tls is not None:
            self.peer = Peer(self.peer.address, self.peer.process, self.tls.chain, self.tls.identity)
        age = self.limits.max_connection_age
        if age is not None:
            spread = 1 + _SPREAD * (self.server.jitter() - 0.5)
            self._age_timer = self.loop.call_later(age.total_seconds() * spread, self._grown_old)
        if self.server.stopping:
            self.drain()

    def _hands_shaken(self) -> None:
        if self._shaking_hands:
            self._shaking_hands = False
            self.listener.gate.shaken()

    def refused(self, error: FinialError) -> None:
        """Tell the log who was refused, and the peer why, in a GOAWAY."""
        _log.info("refused a connection from %s: %s", self.peer.address, error)
        if self.tls is not None and self.tls.established:
            self.engine.start()

    def can_explain(self) -> bool:
        """A peer that finished its handshake is told why it is refused."""
        return self.listener.tls is None or (self.tls is not None and self.tls.established)

    def lost(self) -> None:
        """The connection is gone."""
        self._hands_shaken()
        if self._age_timer is not None:
            self._age_timer.cancel()
        self._stalls.end()
        if self.peer.process is not None:
            self.peer.process.close()
        self.server.left(self)

    def take(self, data: bytes) -> None:
        """Have the engine look at bytes and begin calls, as far as this turn of the loop allows."""
        self._pace.take(data)

    def enqueue(self, call: ServerCall[Any, Any]) -> None:
        """Begin a call once it is its turn."""
        self._pace.enqueue(call)

    def on_headers(self, stream_id: int, headers: Headers, ended: bool) -> None:
        """A call begins, unless it comes behind the final GOAWAY."""
        if self.draining and stream_id > self._last_stream:
            self.engine.reset(stream_id, ErrorCode.REFUSED_STREAM)
            return
        call: ServerCall[Any, Any] = ServerCall(self, stream_id, headers)
        self.streams[stream_id] = call
        if not self.draining:
            self._last_stream = stream_id
        call.begin(ended)

    def on_reset(self, stream_id: int, error_code: int) -> None:
        """A caller gave a call up."""
        if error_code == ErrorCode.NO_ERROR:
            self.count_reset()  # other codes are counted when the stream closes
        super().on_reset(stream_id, error_code)

    def on_stream_closed(self, stream_id: int, error_code: int) -> None:
        """A stream is over; one that broke counts, whoever reset it."""
        super().on_stream_closed(stream_id, error_code)
        if error_code != ErrorCode.NO_ERROR:
            self.count_reset()

    def count_reset(self) -> None:
        """Opening calls that come to nothing is cheaper to do than to serve, so it is metered."""
        if self._resets.exceeded():
            raise EngineError("too many streams reset", ErrorCode.ENHANCE_YOUR_CALM)

    def unknown(self, path: bytes) -> RpcError:
        """The refusal of a path that no route has, in grpc-go's words."""
        service, _, method = path.decode("utf-8", "replace").lstrip("/").rpartition("/")
        if service in self.server.services:
            return RpcError(StatusCode.UNIMPLEMENTED, f"unknown method {method} for service {service}")
        return RpcError(StatusCode.UNIMPLEMENTED, f"unknown service {service}")

    def start(self, run: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a handler as a task that the server owns."""
        self.begun = True
        return self.server.start(run)

    def queue(self, stream: Stream, data: bytes, *, end: bool = False) -> None:
        """Hand the engine one framed message, and see to it that it goes."""
        super().queue(stream, data, end=end)
        self._stalls.watch()

    def _grown_old(self) -> None:
        self.drain()
        grace = self.limits.max_connection_grace
        if grace is not None:
            seconds = (self.limits.drain_notice + grace).total_seconds()
            self._age_timer = self.loop.call_later(seconds, self._outlived)

    def _outlived(self) -> None:
        """Calls go on though the peer was told long ago to go elsewhere."""
        for stream in list(self.streams.values()):
            stream.end(RpcError(StatusCode.UNAVAILABLE, "the connection is too old"))
        self._close_drained()

    def drain(self) -> None:
        """Let the peer know that it should go elsewhere; calls in flight go on."""
        if self.closed or self.draining:
            return
        if self._shaking_hands:
            self.abort()
            return
        self.engine.announce_shutdown()
        self.flush_soon()
        self.loop.call_later(self.limits.drain_notice.total_seconds(), self._stop_accepting)

    def _stop_accepting(self) -> None:
        if self.closed or self.draining:
            return
        self.draining = True
        self.engine.refuse_new()
        self.flush_soon()
        self._close_if_drained()

    def stream_ended(self) -> None:
        """Close a draining connection behind its last call."""
        self._close_if_drained()

    def _close_if_drained(self) -> None:
        if self.draining and not self.streams:
            # In a turn of its own: the engine may be in the middle of its events.
            self.loop.call_soon(self._close_drained)

    def _close_drained(self) -> None:
        self.flush()
        self.close()

    def cancel_calls(self) -> None:
        """End every call; each is answered before the connection closes."""
        for stream in list(self.streams.values()):
            assert isinstance(stream, ServerCall)
            stream.stop()


class Server:
    """Serves routes on any number of listeners.

    Args:
        routes: What it serves.
        limits: Bounds for every connection; None for the usual ones, which are wider on Unix sockets.
        engine: HTTP/2 engine: `auto`, `ngh2`, `h2`.
        translate: What becomes of a FinialError that a handler raises.
        jitter: Draws a number from 0 to 1 for each connection's age.

    Raises:
        ValueError: Two routes have the same path.
    """

    def __init__(
        self,
        routes: Iterable[Route],
        *,
        limits: Limits | None = None,
        engine: str = "auto",
        translate: Translate = plain_translation,
        jitter: Callable[[], float] = lambda: 0.5,
    ) -> None:
        self.routes: dict[bytes, Route] = {}
        for route in routes:
            path = route.method.path.encode()
            if path in self.routes:
                raise ValueError(f"two routes for {route.method.path}")
            self.routes[path] = route
        self.services = {route.method.service for route in self.routes.values()}
        self._engine = engine
        self.turns = Turns()
        self.translate = translate
        self.jitter = jitter
        self.stopping = False
        self._limits = limits
        self._listeners: list[Listener] = []
        self._connections: set[ServerConnection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._emptied = asyncio.Event()

    @property
    def methods(self) -> tuple[Method[Any, Any], ...]:
        """What is served, for reflection."""
        return tuple(route.method for route in self.routes.values())

    async def listen(self, address: Address, *, tls: ServerTLS | None = None) -> Address:
        """Accept connections at an address.

        Args:
            address: Where; a TCP port of 0 takes any.
            tls: How to speak TLS; None for none, which is for Unix sockets.

        Returns:
            The address with the port that was taken.

        Raises:
            ListenError: The address cannot be had; the message says why and what to do.
        """
        limits = self._limits or (LOCAL if isinstance(address, Unix) else Limits())
        kind = engine_kind(self._engine, EngineRole(client=False, limits=limits))
        handshakes = Handshakes(limits.handshake_timeout)
        listener = bind(address, tls, limits)
        loop = asyncio.get_running_loop()
        start = loop.create_unix_server if isinstance(address, Unix) else loop.create_server
        listener.server = await start(
            lambda: ServerConnection(self, listener, kind, handshakes), sock=listener.socket, backlog=512
        )
        self._listeners.append(listener)
        return listener.address

    def admit(self, connection: ServerConnection) -> bool:
        """Let a new connection in; False when its listener has too many."""
        if not connection.listener.gate.enter(connection.peer.address or "a local process", connection.site):
            return False
        self._connections.add(connection)
        return True

    def left(self, connection: ServerConnection) -> None:
        """Forget a connection; one that was never admitted is no loss."""
        if connection in self._connections:
            self._connections.remove(connection)
            connection.listener.gate.leave(connection.site)
        if not self._connections:
            self._emptied.set()

    def start(self, run: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a handler; `stop` waits for it."""
        task = asyncio.get_running_loop().create_task(run)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def stop(self, grace: timedelta = timedelta(seconds=5)) -> None:
        """Stop: no new connections, a notice to the peers, then the end.

        Args:
            grace: How long calls in flight may go on; streams that never end by themselves are cut then.
        """
        self.stopping = True
        for listener in self._listeners:
            listener.close()
        for connection in list(self._connections):
            connection.drain()
        await self._until_empty(grace)
        for connection in self._connections:
            connection.cancel_calls()
        await self._finish_tasks(grace)
        await self._until_empty(grace / 10)
        for connection in list(self._connections):
            connection.abort()
        await self._until_empty(grace)

    async def _until_empty(self, most: timedelta) -> None:
        if self._connections:
            self._emptied.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._emptied.wait(), most.total_seconds())

    async def _finish_tasks(self, most: timedelta) -> None:
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=most.total_seconds())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()
