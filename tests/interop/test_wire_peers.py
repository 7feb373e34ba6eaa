"""Health, reflection and status details against grpc-go's and grpcio's own, in both directions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

from finial.core.errors import FinialError, Kind, Reason
from finial.rpc import Channel, Route, RpcError, Server, StatusCode, Unix
from finial.wire import methods
from finial.wire.gen import grpc_health_v1 as health_pb
from finial.wire.gen import grpc_reflection_v1 as reflection_pb
from finial.wire.health import HealthState, check_route, health_routes, whole_process
from finial.wire.reflection import reflection_routes
from finial.wire.status import error_from

_PATIENCE = timedelta(seconds=60)
_HEALTH = "grpc.health.v1.Health"
_REFLECTION = ["grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"]

_T = TypeVar("_T")


def _run(main: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(_PATIENCE.total_seconds()):
            await main

    asyncio.run(bounded())


@asynccontextmanager
async def _served(sockets: Path, routes: tuple[Route, ...], engine: str) -> AsyncIterator[str]:
    everything = (*routes, *reflection_routes(routes))
    async with Server(everything, engine=engine, translate=error_from) as server:
        address = await server.listen(Unix(str(sockets / "s")))
        assert isinstance(address, Unix)
        yield address.path


@asynccontextmanager
async def _process(*command: str) -> AsyncIterator[asyncio.subprocess.Process]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _said(process: asyncio.subprocess.Process) -> dict[str, Any]:
    assert process.stdout is not None
    line: dict[str, Any] = json.loads(await process.stdout.readline())
    return line


async def _tell(process: asyncio.subprocess.Process) -> None:
    assert process.stdin is not None
    process.stdin.write(b"\n")
    await process.stdin.drain()


def test_a_go_client_asks_for_everything(wirepeer: Path, sockets: Path, engine: str) -> None:
    async def main() -> None:
        state = HealthState({"": True, "a.B": False})
        async with (
            _served(sockets, health_routes(state), engine) as path,
            _process(str(wirepeer), "client", f"unix:{path}") as go,
        ):
            check = await _said(go)
            assert (check["status"], check["code"]) == ("SERVING", 0)
            assert (await _said(go))["code"] == StatusCode.NOT_FOUND
            assert (await _said(go))["statuses"] == {"": "SERVING", "a.B": "NOT_SERVING"}
            described = await _said(go)
            assert described["methods"] == {
                _HEALTH: ["Check", "List", "Watch"],
                **{name: ["ServerReflectionInfo"] for name in _REFLECTION},
            }
            assert described["missing"] == StatusCode.NOT_FOUND
            assert (await _said(go))["services"] == [_HEALTH, *_REFLECTION]
            assert (await _said(go))["status"] == "SERVING"
            state.set("", serving=False)
            assert (await _said(go))["status"] == "NOT_SERVING"
            assert await go.wait() == 0

    _run(main())


def test_a_go_client_sees_the_narrow_form_and_our_reasons(wirepeer: Path, sockets: Path, engine: str) -> None:
    async def probe() -> bool:
        raise FinialError(Reason("bundle-gone", Kind.MISSING), "the bundle of “x” is gone")

    async def main() -> None:
        async with (
            _served(sockets, (check_route(whole_process(probe)),), engine) as path,
            _process(str(wirepeer), "client", f"unix:{path}") as go,
        ):
            whole = await _said(go)
            assert (whole["code"], whole["message"]) == (StatusCode.NOT_FOUND, "the bundle of “x” is gone")
            assert whole["reason"] == "finial/bundle-gone"
            named = await _said(go)
            assert named["code"] == StatusCode.INVALID_ARGUMENT
            assert named["message"] == "per-service health is not supported"
            assert (await _said(go))["code"] == StatusCode.UNIMPLEMENTED
            await _said(go)
            await _said(go)
            assert (await _said(go))["code"] == StatusCode.UNIMPLEMENTED
            assert await go.wait() == 0

    _run(main())


def test_our_client_asks_a_go_server(wirepeer: Path, sockets: Path, engine: str) -> None:
    async def main() -> None:
        path = str(sockets / "s")
        async with _process(str(wirepeer), "serve", path) as go:
            await _said(go)
            async with Channel(Unix(path), engine=engine) as channel:
                await _ask_health(channel, lambda: _tell(go))
                for name in _REFLECTION:
                    await _ask_reflection(channel, name)

    _run(main())


async def _ask_health(channel: Channel, flip: Callable[[], Coroutine[Any, Any, None]]) -> None:
    request = health_pb.HealthCheckRequest()
    reply = await channel.unary(health_pb.Health.Check, request, timeout=_PATIENCE)
    assert reply.status == health_pb.HealthCheckResponse.SERVING
    unknown = health_pb.HealthCheckRequest(service="a.B")
    with pytest.raises(RpcError) as refused:
        await channel.unary(health_pb.Health.Check, unknown, timeout=_PATIENCE)
    assert refused.value.code is StatusCode.NOT_FOUND
    listed = await channel.unary(health_pb.Health.List, health_pb.HealthListRequest(), timeout=_PATIENCE)
    assert listed.statuses[""].status == health_pb.HealthCheckResponse.SERVING
    async with channel.call(health_pb.Health.Watch, timeout=_PATIENCE) as call:
        await call.send(request)
        await call.half_close()
        seen = []
        async for state in call:
            seen.append(state.status)
            if len(seen) == 2:
                break
            await flip()
    assert seen == [health_pb.HealthCheckResponse.SERVING, health_pb.HealthCheckResponse.NOT_SERVING]


async def _ask_reflection(channel: Channel, service: str) -> None:
    method = replace(reflection_pb.ServerReflection.ServerReflectionInfo, service=service)
    async with channel.call(method, timeout=_PATIENCE) as call:
        await call.send(reflection_pb.ServerReflectionRequest(list_services=""))
        listed = await call.receive()
        assert listed is not None
        names = sorted(each.name for each in listed.list_services_response.service)
        assert names == [_HEALTH, *_REFLECTION]
        await call.send(reflection_pb.ServerReflectionRequest(file_containing_symbol=_HEALTH))
        described = await call.receive()
        assert described is not None
        assert _methods_of(described) == list(methods.service(_HEALTH).methods)


def _methods_of(described: reflection_pb.ServerReflectionResponse) -> list[str]:
    """The methods of the first service of the first file, as the official .proto has them, sorted."""
    from google.protobuf.descriptor_pb2 import FileDescriptorProto  # noqa: PLC0415 - only this test needs it

    file = FileDescriptorProto.FromString(described.file_descriptor_response.file_descriptor_proto[0])
    return sorted(method.name for method in file.service[0].method)


def _in_thread(sockets: Path, state: HealthState, ask: Callable[[Any], _T]) -> _T:
    """What a grpcio client finds, in a thread beside our server."""
    grpc = pytest.importorskip("grpc", reason="grpcio is not installed")
    found: list[_T] = []

    def client(path: str) -> _T:
        with grpc.insecure_channel(f"unix:{path}") as channel:
            return ask(channel)

    async def main() -> None:
        async with _served(sockets, health_routes(state), "auto") as path:
            found.append(await asyncio.to_thread(client, path))

    _run(main())
    return found[0]


def test_a_grpcio_client_checks_health(sockets: Path) -> None:
    missing = "grpcio-health-checking is not installed"
    health_pb2 = pytest.importorskip("grpc_health.v1.health_pb2", reason=missing)
    health_pb2_grpc = pytest.importorskip("grpc_health.v1.health_pb2_grpc", reason=missing)

    def ask(channel: Any) -> list[int]:
        stub = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest(service="a.B")
        watched = next(stub.Watch(health_pb2.HealthCheckRequest(service="unknown"), timeout=20))
        return [stub.Check(request, timeout=20).status, watched.status]

    assert _in_thread(sockets, HealthState({"a.B": True}), ask) == [1, 3]


def test_a_grpcio_client_builds_our_descriptors(sockets: Path) -> None:
    database = pytest.importorskip(
        "grpc_reflection.v1alpha.proto_reflection_descriptor_database",
        reason="grpcio-reflection is not installed",
    )
    from google.protobuf.descriptor_pool import DescriptorPool  # noqa: PLC0415 - only this test needs it

    def ask(channel: Any) -> tuple[list[str], list[str]]:
        described = database.ProtoReflectionDescriptorDatabase(channel)
        health = DescriptorPool(described).FindServiceByName(_HEALTH)
        return sorted(described.get_services()), [method.name for method in health.methods]

    services, found = _in_thread(sockets, HealthState(), ask)
    assert services == [_HEALTH, *_REFLECTION]
    assert found == ["Check", "List", "Watch"]
