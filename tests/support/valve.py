"""A wire between an agent and its server that can be made to lose what the server says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Self

_CHUNK = 1 << 16


class Valve:
    """Passes everything on, until the server has done something; what it says of that is held for ever.

    Args:
        port: Of the server.
        done: Whether the server has done it; asked before anything is passed on to the agent.
    """

    def __init__(self, port: int, done: Callable[[], Awaitable[bool]]) -> None:
        self.held = asyncio.Event()
        self._port = port
        self._done = done
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._listener.wait_closed()

    @property
    def option(self) -> str:
        """Makes an agent take this way."""
        return "--server={}:{}".format(*self._listener.sockets[0].getsockname())

    async def _connected(self, agent: asyncio.StreamReader, to_agent: asyncio.StreamWriter) -> None:
        try:
            server, to_server = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            to_agent.close()
            return
        ways = (self._pass(agent, to_server, gated=False), self._pass(server, to_agent, gated=True))
        for way in ways:
            task = asyncio.create_task(way)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, gated: bool) -> None:
        try:
            while data := await source.read(_CHUNK):
                if gated and not self.held.is_set() and await self._done():
                    self.held.set()
                    while await source.read(_CHUNK):
                        pass  # this too is lost
                    return
                sink.write(data)
                await sink.drain()
        except OSError:
            pass  # one of the two has been killed
        finally:
            sink.close()
