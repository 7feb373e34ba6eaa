"""A channel over a simulated network, with the surface of the real one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from finial.rpc import RpcError, StatusCode
from finial.rpc.method import Method
from finial.rpc.peer import Peer
from support.sim_calls import SimClientCall
from support.sim_net import Connection, Line, Net


class SimChannel:
    """Calls of one agent to wherever its line leads, over one connection at a time.

    Args:
        net: The network.
        line: The agent's.
        peer: Whom its connections show.
    """

    def __init__(self, net: Net, line: Line, peer: Peer) -> None:
        self._net = net
        self._line = line
        self._peer = peer
        self._connection: Connection | None = None
        self._all: list[Connection] = []
        self._dialling = asyncio.Lock()
        self.closed = False

    async def unary(
        self,
        method: Method[Any, Any],
        request: Any,
        *,
        timeout: timedelta | None = None,  # noqa: ASYNC109 - as the real one
        metadata: Iterable[tuple[str, str | bytes]] = (),
    ) -> Any:
        async with self.call(method, timeout=timeout, metadata=metadata) as call:
            await call.send(request)
            await call.half_close()
            reply = await call.receive()
            if reply is None:
                raise RpcError(StatusCode.INTERNAL, "no reply")
            await call.receive()
            return reply

    @asynccontextmanager
    async def call(
        self,
        method: Method[Any, Any],
        *,
        timeout: timedelta | None = None,  # noqa: ASYNC109 - as the real one
        metadata: Iterable[tuple[str, str | bytes]] = (),
    ) -> AsyncIterator[SimClientCall]:
        connection = await self._usable()
        call = SimClientCall(connection, method)
        if timeout is not None:
            self._net.clock.later(timeout.total_seconds(), call.over_time)
        async with call:
            yield call

    async def close(self) -> None:
        self.closed = True
        for connection in self._all:
            connection.client_left()

    async def _usable(self) -> Connection:
        async with self._dialling:
            if self.closed:
                raise RpcError(StatusCode.CANCELLED, "the channel is closed")
            found = self._connection
            if found is None or found.draining:
                found = self._connection = await self._dialled()
            return found

    async def _dialled(self) -> Connection:
        found = await self._net.dial(self._line, self._peer)
        if self.closed:
            found.client_left()
            raise RpcError(StatusCode.CANCELLED, "the channel is closed")
        self._all = [each for each in self._all if not each.client_gone] + [found]
        return found
