"""A server's administration socket that notes what it is asked, for tests of commands."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from finial.cli.main import main
from finial.rpc import Method, MethodKind, Route, RpcError, Server, Unix, unary
from finial.wire import methods
from support.rpc import PATIENCE_SECONDS, socket_path

SERVICES = (
    "spire.api.server.agent.v1.Agent",
    "spire.api.server.bundle.v1.Bundle",
    "spire.api.server.entry.v1.Entry",
    "spire.api.server.localauthority.v1.LocalAuthority",
    "spire.api.server.svid.v1.SVID",
    "grpc.health.v1.Health",
)
Answer = Callable[[Any], Any]


@dataclass
class FakeServer:
    """What was asked, and what is answered: an empty reply unless a test sets `answers`."""

    socket: Path = field(default_factory=Path)
    asked: list[tuple[str, Any]] = field(default_factory=list)
    answers: dict[str, Answer | RpcError] = field(default_factory=dict)

    def routes(self) -> list[Route]:
        found = [each for name in SERVICES for each in methods.service(name).methods.values()]
        return [unary(each, self._handler(each)) for each in found if each.kind is MethodKind.UNARY]

    def _handler(self, method: Method[Any, Any]) -> Callable[[Any, Any], Any]:
        def handle(request: Any, _call: object) -> Any:
            self.asked.append((method.name, request))
            answer = self.answers.get(method.name)
            if isinstance(answer, RpcError):
                raise answer
            return method.decode_reply(b"") if answer is None else answer(request)

        return handle

    def one(self, name: str) -> Any:
        """The only request that has come, which is of this method."""
        ((asked, request),) = self.asked
        assert asked == name
        return request


@contextlib.contextmanager
def served(routes: list[Route]) -> Iterator[Path]:
    """Serve routes on a socket in a thread of its own, as commands bring their own event loop."""
    address, ready = socket_path(), threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        async with Server(routes) as server:
            await server.listen(Unix(address.path))
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert ready.wait(PATIENCE_SECONDS)
        yield Path(address.path)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(PATIENCE_SECONDS)
        loop.close()


@contextlib.contextmanager
def fake_server() -> Iterator[FakeServer]:
    """A running FakeServer."""
    fake = FakeServer()
    with served(fake.routes()) as path:
        fake.socket = path
        yield fake


@dataclass
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str


class Finial:
    """Runs command lines in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *words: object) -> Outcome:
        self._capsys.readouterr()
        code = main([str(word) for word in words])
        captured = self._capsys.readouterr()
        return Outcome(code, captured.out, captured.err)
