"""Figures and health by HTTP, for Prometheus and for whoever restarts processes.

There are `/metrics`, `/live` and `/ready`. Each connection has one request, answered on the loop as soon as
its head has come. Whoever is slow, sends too much or comes in crowds costs a few small buffers for a short
time. h11 reads and writes HTTP; this module is imported only where figures are to be served.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol

import h11

from finial.core.errors import FinialError, Kind, Reason
from finial.runtime.clock import Clock
from finial.runtime.log import fields
from finial.runtime.metrics import CONTENT_TYPE, Registry

_log = logging.getLogger("finial.metrics")

MOST_CONNECTIONS: Final = 32
LONGEST_HEAD: Final = 16_384  # bytes of a request's line and headers
MOST_IGNORED: Final = 1 << 20  # bytes behind them
PATIENCE: Final = timedelta(seconds=10)
"""How long a connection may last."""

_TEXT: Final = "text/plain; charset=utf-8"
_GET: Final = (b"GET", b"HEAD")

_IN_USE = Reason(
    "metrics-in-use", Kind.CONFLICT, hint="Stop the process that listens there, or choose another address."
)
_REFUSED = Reason("metrics-refused", Kind.UNAVAILABLE, hint="Look at the address that metrics are bound to.")


class ScrapeError(FinialError):
    """Figures cannot be served at an address."""


class Bind(Protocol):
    """Where to listen, over TCP."""

    @property
    def host(self) -> str:
        """Name or address."""

    @property
    def port(self) -> int:
        """Number; 0 for any free one."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """What goes back."""

    status: int
    body: bytes
    kind: str = _TEXT
    allow: bool = False


class Responder:
    """What listens, made by `serve`. Owned by the event loop.

    Args:
        registry: The figures.
        ready: Whether the process does its work now.
        clock: Measures patience.
    """

    def __init__(self, registry: Registry, ready: Callable[[], bool], clock: Clock) -> None:
        self.clock = clock
        self.port = 0
        """The one that was bound."""
        self._registry = registry
        self._ready = ready
        self._server: asyncio.Server | None = None
        self._connections: dict[_Connection, None] = {}  # the oldest first

    async def listen(self, bind: Bind) -> None:
        """Begin.

        Raises:
            ScrapeError: Somebody listens there, or the system refuses.
        """
        where = f"[{bind.host}]:{bind.port}" if ":" in bind.host else f"{bind.host}:{bind.port}"
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(lambda: _Connection(self), bind.host, bind.port)
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            why = "the port is in use" if taken else error.strerror or str(error)
            text = f"figures cannot be served at {where}: {why}"
            raise ScrapeError(_IN_USE if taken else _REFUSED, text, subject=where) from error
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Listen no more, and drop whoever is connected."""
        if self._server is not None:
            self._server.close()
            for connection in list(self._connections):
                connection.drop()
            await self._server.wait_closed()

    def admit(self, connection: _Connection) -> None:
        """A connection has come. In a crowd the oldest goes, so that nobody keeps others out by staying."""
        if len(self._connections) >= MOST_CONNECTIONS:
            next(iter(self._connections)).drop()
        self._connections[connection] = None

    def forget(self, connection: _Connection) -> None:
        """A connection has gone."""
        self._connections.pop(connection, None)

    def answer(self, request: h11.Request) -> _Answer:
        """What a request is answered with."""
        look = {b"/metrics": self._metrics, b"/live": _live, b"/ready": self._readiness}
        found = look.get(request.target.partition(b"?")[0])
        if found is None:
            return _Answer(404, b"not found: there are /metrics, /live and /ready\n")
        if request.method not in _GET:
            return _Answer(405, b"only GET and HEAD\n", allow=True)
        try:
            return found()
        except Exception:  # noqa: BLE001 - whatever it is, it is in the log and not in the answer
            _log.exception("an HTTP request could not be answered")
            return _Answer(500, b"internal error\n")

    def _metrics(self) -> _Answer:
        return _Answer(200, self._registry.render(), CONTENT_TYPE)

    def _readiness(self) -> _Answer:
        return _Answer(200, b"ready\n") if self._ready() else _Answer(503, b"not ready\n")


def _live() -> _Answer:
    return _Answer(200, b"live\n")


class _Connection(asyncio.Protocol):
    """One connection, of one request.

    Args:
        responder: Answers it.
    """

    _transport: asyncio.Transport
    _timer: asyncio.Task[None]

    def __init__(self, responder: Responder) -> None:
        self._responder = responder
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=LONGEST_HEAD)
        self._answered = False
        self._ignored = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It begins."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._responder.admit(self)
        self._timer = asyncio.ensure_future(self._expire())

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._responder.forget(self)
        self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Answer once the head is here. What comes behind it is ignored: unread, it would cost the client
        the answer.
        """
        if self._answered:
            self._ignored += len(data)
            if self._ignored > MOST_IGNORED:
                self.drop()
            return
        try:
            self._http.receive_data(data)
            event = self._http.next_event()
        except h11.RemoteProtocolError as error:
            self._send(_Answer(error.error_status_hint, b"this is no request that can be read\n"), head=False)
            return
        if isinstance(event, h11.Request):
            self._send(self._responder.answer(event), head=event.method == b"HEAD")

    def drop(self) -> None:
        """End it at once."""
        self._responder.forget(self)
        self._transport.abort()

    async def _expire(self) -> None:
        await self._responder.clock.sleep(PATIENCE)
        _log.debug(
            "a connection took too long", extra=fields(peer=self._transport.get_extra_info("peername"))
        )
        self.drop()

    def _send(self, answer: _Answer, *, head: bool) -> None:
        """Send an answer and the end; the client closes when it has read that."""
        self._answered = True
        headers = [
            ("content-type", answer.kind),
            ("content-length", str(len(answer.body))),
            ("cache-control", "no-store"),
            ("connection", "close"),
        ]
        if answer.allow:
            headers.append(("allow", "GET, HEAD"))
        said = self._http.send(h11.Response(status_code=answer.status, headers=headers)) or b""
        self._transport.write(said if head else said + answer.body)
        self._transport.write_eof()


async def serve(bind: Bind, registry: Registry, ready: Callable[[], bool], *, clock: Clock) -> Responder:
    """Serve figures and health until closed.

    Args:
        bind: Where to listen.
        registry: The figures.
        ready: Whether the process does its work now; asked each time.
        clock: Measures how long connections may last.

    Raises:
        ScrapeError: Somebody listens there, or the system refuses.
    """
    made = Responder(registry, ready, clock)
    await made.listen(bind)
    return made
