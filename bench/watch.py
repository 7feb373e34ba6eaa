"""Workloads that follow FetchX509SVID, and questions that are asked until they are answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Self

from finial.rpc import Channel, RpcError, Unix
from finial.wire.gen import grpc_health_v1 as health_pb
from finial.wire.gen import spire_api_server_entry_v1 as entry_pb
from finial.wire.gen import workload

_HEADER = (("workload.spiffe.io", "true"),)
_RETRY_SECONDS = 0.005
_PATIENCE = 120.0  # seconds; reached only by a bug
_CALL = timedelta(seconds=5)

Update = Callable[[float, workload.X509SVIDResponse], None]


class Watch:
    """This process as a workload with an open stream on a connection of its own; as long as the block runs.

    Args:
        socket: Of the agent, which need not be there yet.
        told: Is given each message, and when it came by `time.perf_counter`.
    """

    def __init__(self, socket: Path, told: Update | None = None) -> None:
        self.first_seen: dict[str, float] = {}
        """When each SPIFFE ID was on the stream for the first time."""
        self._socket = socket
        self._told = told
        self._news = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._follow())
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _follow(self) -> None:
        while True:
            with suppress(RpcError):
                async with Channel(Unix(str(self._socket))) as channel:
                    await self._listen(channel)
            await asyncio.sleep(_RETRY_SECONDS)

    async def _listen(self, channel: Channel) -> None:
        while True:
            with suppress(RpcError):
                method = workload.SpiffeWorkloadAPI.FetchX509SVID
                async with channel.call(method, metadata=_HEADER) as call:
                    await call.send(workload.X509SVIDRequest())
                    await call.half_close()
                    async for message in call:
                        self._take(time.perf_counter(), message)
            await asyncio.sleep(_RETRY_SECONDS)
            await channel.connect()

    def _take(self, at: float, message: workload.X509SVIDResponse) -> None:
        for svid in message.svids:
            self.first_seen.setdefault(svid.spiffe_id, at)
        if self._told is not None:
            self._told(at, message)
        self._news.set()

    async def seen(self, spiffe_id: str) -> float:
        """When this ID was on the stream for the first time; waits for it."""
        async with asyncio.timeout(_PATIENCE):
            while spiffe_id not in self.first_seen:
                self._news.clear()
                await self._news.wait()
        return self.first_seen[spiffe_id]

    async def until(self, so: Callable[[], bool]) -> None:
        """Wait until something is so that only messages change."""
        async with asyncio.timeout(_PATIENCE):
            while not so():
                self._news.clear()
                await self._news.wait()


async def server_answers(socket: Path) -> float:
    """When a server answered its first call, by `time.perf_counter`; it need not be there yet."""
    async with asyncio.timeout(_PATIENCE):
        while True:
            with suppress(RpcError):
                async with Channel(Unix(str(socket))) as channel:
                    request = entry_pb.CountEntriesRequest()
                    await channel.unary(entry_pb.Entry.CountEntries, request, timeout=_CALL)
                    return time.perf_counter()
            await asyncio.sleep(_RETRY_SECONDS)


async def agent_serves(socket: Path, port: int | None) -> float:
    """When an agent first said that it is ready, by `time.perf_counter`; it need not be there yet.

    Args:
        socket: Where it answers gRPC's health check.
        port: Where it answers by HTTP instead.
    """
    async with asyncio.timeout(_PATIENCE):
        while True:
            if await (_serving(socket) if port is None else _ready(port)):
                return time.perf_counter()
            await asyncio.sleep(_RETRY_SECONDS)


async def _serving(socket: Path) -> bool:
    with suppress(RpcError):
        async with Channel(Unix(str(socket))) as channel:
            reply = await channel.unary(health_pb.Health.Check, health_pb.HealthCheckRequest(), timeout=_CALL)
            return reply.status == health_pb.HealthCheckResponse.SERVING
    return False


async def _ready(port: int) -> bool:
    with suppress(OSError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(b"GET /ready HTTP/1.0\r\nHost: localhost\r\n\r\n")
            return b" 200 " in await reader.readline()
        finally:
            writer.close()
    return False
