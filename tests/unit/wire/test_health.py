"""Health: what Check, Watch and List answer, in full and in the narrow form that SPIRE's server has."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from finial.rpc import Channel, Route, RpcError, Server, StatusCode, Unix
from finial.wire import health
from finial.wire.gen import grpc_health_v1 as pb
from finial.wire.health import WHOLE, HealthState, check_route, health_routes, whole_process

_PATIENCE = timedelta(seconds=20)
_SERVING, _NOT_SERVING = pb.HealthCheckResponse.SERVING, pb.HealthCheckResponse.NOT_SERVING
_UNKNOWN = pb.HealthCheckResponse.SERVICE_UNKNOWN


def _run(main: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(_PATIENCE.total_seconds()):
            await main

    asyncio.run(bounded())


@asynccontextmanager
async def _channel(routes: Iterable[Route]) -> AsyncIterator[Channel]:
    with tempfile.TemporaryDirectory() as folder:
        async with Server(routes) as server:
            address = await server.listen(Unix(str(Path(folder) / "s")))
            async with Channel(address) as channel:
                yield channel


async def _check(channel: Channel, service: str) -> pb.HealthCheckResponse.ServingStatusValue:
    return (await channel.unary(pb.Health.Check, _request(service), timeout=_PATIENCE)).status


def _request(service: str) -> pb.HealthCheckRequest:
    return pb.HealthCheckRequest(service=service)


def test_check_says_what_the_process_set() -> None:
    async def main() -> None:
        state = HealthState()
        async with _channel(health_routes(state)) as channel:
            assert await _check(channel, WHOLE) == _NOT_SERVING
            state.set(WHOLE, serving=True)
            state.set("a.B", serving=True)
            assert await _check(channel, WHOLE) == _SERVING
            assert await _check(channel, "a.B") == _SERVING
            state.stop()
            assert await _check(channel, WHOLE) == _NOT_SERVING
            assert await _check(channel, "a.B") == _NOT_SERVING
            state.forget("a.B")
            with pytest.raises(RpcError) as refused:
                await _check(channel, "a.B")
            assert refused.value.code is StatusCode.NOT_FOUND

    _run(main())


def test_list_says_it_of_all() -> None:
    async def main() -> None:
        state = HealthState({WHOLE: True, "a.B": False})
        async with _channel(health_routes(state)) as channel:
            listed = await channel.unary(pb.Health.List, pb.HealthListRequest(), timeout=_PATIENCE)
            statuses = {name: reply.status for name, reply in listed.statuses.items()}
            assert statuses == {WHOLE: _SERVING, "a.B": _NOT_SERVING}
            for number in range(health.MAX_LISTED):
                state.set(f"service{number}", serving=True)
            with pytest.raises(RpcError) as refused:
                await channel.unary(pb.Health.List, pb.HealthListRequest(), timeout=_PATIENCE)
            assert refused.value.code is StatusCode.RESOURCE_EXHAUSTED

    _run(main())


def test_watch_tells_each_change_of_its_service() -> None:
    async def main() -> None:
        state = HealthState()
        async with (
            _channel(health_routes(state)) as channel,
            channel.call(pb.Health.Watch, timeout=_PATIENCE) as call,
        ):
            await call.send(_request("a.B"))
            await call.half_close()
            assert await _next(call.receive()) == _UNKNOWN
            state.set(WHOLE, serving=True)  # not of its service
            state.set("a.B", serving=True)
            assert await _next(call.receive()) == _SERVING
            state.set("a.B", serving=True)  # no change
            state.set("a.B", serving=False)
            assert await _next(call.receive()) == _NOT_SERVING
            state.forget("a.B")
            state.forget("a.B")
            assert await _next(call.receive()) == _UNKNOWN

    _run(main())


async def _next(
    reply: Coroutine[Any, Any, pb.HealthCheckResponse | None],
) -> pb.HealthCheckResponse.ServingStatusValue:
    received = await reply
    assert received is not None
    return received.status


class _SlowWatcher:
    """A call whose client reads only when told to."""

    def __init__(self) -> None:
        self.read = asyncio.Semaphore(0)
        self.sent: list[pb.HealthCheckResponse.ServingStatusValue] = []
        self.sending = asyncio.Event()

    async def send(self, reply: pb.HealthCheckResponse) -> None:
        self.sent.append(reply.status)
        self.sending.set()
        await self.read.acquire()


def test_a_slow_watcher_gets_the_latest_and_no_queue() -> None:
    async def main() -> None:
        state = HealthState({WHOLE: False})
        call = _SlowWatcher()
        watch = health_routes(state)[1]
        task = asyncio.create_task(watch.handler(_request(WHOLE), cast("Any", call)))
        await call.sending.wait()
        for number in range(100):
            state.set(WHOLE, serving=number % 2 == 0)
        state.set(WHOLE, serving=True)
        call.sending.clear()
        call.read.release()
        await call.sending.wait()
        assert call.sent == [_NOT_SERVING, _SERVING]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    _run(main())


def test_the_narrow_form_answers_for_the_process_only() -> None:
    healthy = True

    async def probe() -> bool:
        return healthy

    async def main() -> None:
        nonlocal healthy
        route = check_route(whole_process(probe))
        async with _channel([route]) as channel:
            assert await _check(channel, WHOLE) == _SERVING
            healthy = False
            assert await _check(channel, WHOLE) == _NOT_SERVING
            with pytest.raises(RpcError, match="per-service health is not supported") as refused:
                await _check(channel, "a.B")
            assert refused.value.code is StatusCode.INVALID_ARGUMENT
            with pytest.raises(RpcError) as refused:
                await channel.unary(pb.Health.List, pb.HealthListRequest(), timeout=_PATIENCE)
            assert refused.value.code is StatusCode.UNIMPLEMENTED
            async with channel.call(pb.Health.Watch, timeout=_PATIENCE) as call:
                await call.send(_request(WHOLE))
                with pytest.raises(RpcError) as refused:
                    await call.receive()
            assert refused.value.code is StatusCode.UNIMPLEMENTED

    _run(main())


def test_what_serves_can_be_seen_but_not_changed_from_outside() -> None:
    state = HealthState()
    assert dict(state.serving) == {WHOLE: False}
    with pytest.raises(TypeError):
        cast("Any", state.serving)[WHOLE] = True
