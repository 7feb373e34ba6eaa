"""A small service over plain bytes, and what tests of the RPC layer do over and over."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from finial.rpc import (
    Channel,
    Limits,
    Method,
    MethodKind,
    Route,
    RpcError,
    Server,
    ServerCall,
    StatusCode,
    Unix,
    bidi,
    client_stream,
    server_stream,
    unary,
)

ENGINES = ("ngh2", "h2")
PATIENCE_SECONDS = 20.0  # for anything that has to happen; reached only by a bug

Result = TypeVar("Result")
Bytes = Method[bytes, bytes]
Call = ServerCall[bytes, bytes]


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Run a test's coroutine with a deadline."""

    async def bounded() -> Result:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await main

    return asyncio.run(bounded())


def method(name: str, kind: MethodKind) -> Bytes:
    """A method of the test service whose messages are bytes."""
    return Method("finial.test.Bytes", name, kind, bytes, bytes, bytes, bytes)


ECHO = method("Echo", MethodKind.UNARY)
ECHO_LATER = method("EchoLater", MethodKind.UNARY)
COUNT = method("Count", MethodKind.SERVER_STREAM)
SUM = method("Sum", MethodKind.CLIENT_STREAM)
CHAT = method("Chat", MethodKind.BIDI)
HANG = method("Hang", MethodKind.BIDI)


@dataclass
class Service:
    """Handlers that note what happened to them."""

    started: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    calls: list[Call] = field(default_factory=list)

    def routes(self) -> list[Route]:
        return [
            unary(ECHO, self.echo),
            unary(ECHO_LATER, self.echo_later),
            server_stream(COUNT, self.count),
            client_stream(SUM, self.sum),
            bidi(CHAT, self.chat),
            bidi(HANG, self.hang),
        ]

    def echo(self, request: bytes, call: Call) -> bytes:
        self.calls.append(call)
        if request.startswith(b"fail:"):
            code, _, text = request[5:].decode().partition(":")
            raise RpcError(StatusCode(int(code)), text, details=b"\x08\x07")
        if request == b"metadata":
            call.initial_metadata.append(("first", "1"))
            call.trailing_metadata.extend([("seen-bin", dict(call.metadata)["some-bin"]), ("last", "2")])
        if request.startswith(b"size:"):
            return bytes(int(request[5:]))
        return request

    async def echo_later(self, request: bytes, call: Call) -> bytes:
        self.calls.append(call)
        if request == b"boom":
            raise ZeroDivisionError("a secret")
        if request == b"hang":
            await self.hang(call)
        return request

    async def count(self, request: bytes, call: Call) -> None:
        number, _, size = request.partition(b":")
        for index in range(int(number)):
            await call.send(str(index).encode().ljust(int(size or b"1"), b"."))

    async def sum(self, call: Call) -> bytes:
        return str(sum([len(request) async for request in call])).encode()

    async def chat(self, call: Call) -> None:
        async for request in call:
            if request == b"bye":
                return
            await call.send(request)

    async def hang(self, call: Call) -> None:
        self.calls.append(call)
        self.started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


def socket_path() -> Unix:
    """A fresh, short socket path."""
    return Unix(str(Path(tempfile.mkdtemp(prefix="finial")) / "s"))


@dataclass
class Pair:
    """A running server, a channel to it, and the handlers behind."""

    server: Server
    channel: Channel
    service: Service
    address: Unix


@asynccontextmanager
async def pair(
    engine: str, *, limits: Limits | None = None, routes: Iterable[Route] = ()
) -> AsyncIterator[Pair]:
    """Serve the test service (and more routes) over a Unix socket."""
    service = Service()
    async with Server([*service.routes(), *routes], engine=engine, limits=limits) as server:
        address = await server.listen(socket_path())
        assert isinstance(address, Unix)
        async with Channel(address, engine=engine, limits=limits) as channel:
            yield Pair(server, channel, service, address)


async def eventually(true: Callable[[], bool]) -> None:
    """Let the loop turn until something holds; the test's own deadline ends the wait."""
    while not true():
        turn = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.001, turn.set_result, None)
        await turn
