"""Reflection: what is served is described, and nothing else."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from hypothesis import given
from hypothesis import strategies as st

from finial.rpc import Channel, ClientCall, Method, RpcError, Server, StatusCode, Unix, unary
from finial.wire import pool
from finial.wire.gen import grpc_health_v1
from finial.wire.gen import grpc_reflection_v1 as pb
from finial.wire.health import HealthState, health_routes
from finial.wire.reflection import (
    MAX_REQUEST_BYTES,
    Catalog,
    NotDescribedError,
    _Conversation,
    reflection_routes,
)

_PATIENCE = timedelta(seconds=20)
_HEALTH = "grpc.health.v1.Health"
_V1 = "grpc.reflection.v1.ServerReflection"
_ALPHA = "grpc.reflection.v1alpha.ServerReflection"

_Call = ClientCall[pb.ServerReflectionRequest, pb.ServerReflectionResponse]


def _run(main: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(_PATIENCE.total_seconds()):
            await main

    asyncio.run(bounded())


@asynccontextmanager
async def _stream(version: str = _V1) -> AsyncIterator[_Call]:
    undescribed = Method("not.Ours", "Call", grpc_health_v1.Health.Check.kind, bytes, bytes, bytes, bytes)
    routes = [*health_routes(HealthState()), unary(undescribed, lambda request, _: request)]
    method = replace(pb.ServerReflection.ServerReflectionInfo, service=version)
    with tempfile.TemporaryDirectory() as folder:
        async with Server([*routes, *reflection_routes(routes)]) as server:
            address = await server.listen(Unix(str(Path(folder) / "s")))
            async with Channel(address) as channel, channel.call(method, timeout=_PATIENCE) as call:
                yield call


async def _ask(call: _Call, request: pb.ServerReflectionRequest) -> pb.ServerReflectionResponse:
    await call.send(request)
    reply = await call.receive()
    assert reply is not None
    assert reply.original_request == request
    return reply


def _file_names(reply: pb.ServerReflectionResponse) -> list[str]:
    files = reply.file_descriptor_response.file_descriptor_proto
    return [FileDescriptorProto.FromString(file).name for file in files]


@pytest.mark.parametrize("version", [_V1, _ALPHA])
def test_both_versions_list_what_is_served(version: str) -> None:
    async def main() -> None:
        async with _stream(version) as call:
            reply = await _ask(call, pb.ServerReflectionRequest(host="h", list_services=""))
            assert reply.valid_host == "h"
            names = [service.name for service in reply.list_services_response.service]
            assert names == [_HEALTH, _V1, _ALPHA, "not.Ours"]
            await call.half_close()
            assert await call.receive() is None

    _run(main())


@pytest.mark.parametrize(
    "symbol",
    [
        _HEALTH,
        "grpc.health.v1.Health.Watch",
        "grpc.health.v1.HealthCheckRequest",
        "grpc.health.v1.HealthCheckRequest.service",
        "grpc.health.v1.HealthCheckResponse.ServingStatus",
        "grpc.health.v1.HealthCheckResponse.SERVING",
        "grpc.health.v1.HealthListResponse.StatusesEntry.key",
    ],
)
def test_a_symbol_brings_its_file(symbol: str) -> None:
    async def main() -> None:
        async with _stream() as call:
            reply = await _ask(call, pb.ServerReflectionRequest(file_containing_symbol=symbol))
            assert _file_names(reply) == ["grpc/health/v1/health.proto"]

    _run(main())


def test_a_file_is_found_by_its_name() -> None:
    async def main() -> None:
        name = "grpc/reflection/v1alpha/reflection.proto"
        async with _stream() as call:
            for _ in range(2):
                reply = await _ask(call, pb.ServerReflectionRequest(file_by_filename=name))
                assert _file_names(reply) == [name]

    _run(main())


def _extension(message: str, number: int) -> pb.ServerReflectionRequest:
    wanted = pb.ExtensionRequest(containing_type=message, extension_number=number)
    return pb.ServerReflectionRequest(file_containing_extension=wanted)


@pytest.mark.parametrize(
    "request_",
    [
        pb.ServerReflectionRequest(file_by_filename="google/rpc/status.proto"),  # loaded, but not served
        pb.ServerReflectionRequest(file_containing_symbol="google.rpc.Status"),
        pb.ServerReflectionRequest(file_containing_symbol="not.Ours"),
        pb.ServerReflectionRequest(file_containing_symbol=""),
        pb.ServerReflectionRequest(all_extension_numbers_of_type="a.B"),
        _extension("a.B", 1),
        _extension("grpc.health.v1.HealthCheckRequest", 7),
    ],
    ids=lambda request: str(request.WhichOneof("message_request")),
)
def test_what_is_not_served_is_not_found(request_: pb.ServerReflectionRequest) -> None:
    pool.load("google.rpc")

    async def main() -> None:
        async with _stream() as call:
            reply = await _ask(call, request_)
            assert reply.error_response.error_code == StatusCode.NOT_FOUND
            assert reply.error_response.error_message
            await _ask(call, pb.ServerReflectionRequest(list_services="the stream goes on"))

    _run(main())


def test_a_message_without_extensions_has_none() -> None:
    async def main() -> None:
        name = "grpc.health.v1.HealthCheckRequest"
        async with _stream() as call:
            reply = await _ask(call, pb.ServerReflectionRequest(all_extension_numbers_of_type=name))
            assert reply.all_extension_numbers_response.base_type_name == name
            assert not reply.all_extension_numbers_response.extension_number

    _run(main())


def test_asking_nothing_is_an_error() -> None:
    async def main() -> None:
        async with _stream() as call:
            reply = await _ask(call, pb.ServerReflectionRequest())
            assert reply.error_response.error_code == StatusCode.INVALID_ARGUMENT

    _run(main())


def test_a_request_that_is_too_long_ends_the_stream() -> None:
    async def main() -> None:
        async with _stream() as call:
            longest = pb.ServerReflectionRequest(file_by_filename="a" * (MAX_REQUEST_BYTES - 3))
            await _ask(call, longest)
            longest.file_by_filename += "a"
            with pytest.raises(RpcError) as refused:
                await _ask(call, longest)
            assert refused.value.code is StatusCode.INVALID_ARGUMENT

    _run(main())


def _own_files() -> list[FileDescriptor]:
    """Two files with a diamond of needs and extensions, as nothing of ours has them."""
    own = DescriptorPool()
    base = FileDescriptorProto(name="base.proto", syntax="proto2")
    extended = base.message_type.add(name="Base")
    extended.extension_range.add(start=100, end=200)
    top_level = base.enum_type.add(name="E")
    top_level.value.add(name="ZERO", number=0)
    left = FileDescriptorProto(name="left.proto", package="p", syntax="proto2", dependency=["base.proto"])
    left.extension.add(name="outer", number=150, type=5, label=1, extendee=".Base")
    nesting = left.message_type.add(name="Nesting")
    nesting.extension.add(name="inner", number=120, type=5, label=1, extendee=".Base")
    choice = nesting.oneof_decl.add(name="choice")
    nesting.field.add(name="a", number=1, type=5, label=1, oneof_index=0)
    assert choice.name == "choice"
    right = FileDescriptorProto(name="right.proto", syntax="proto2", dependency=["left.proto", "base.proto"])
    for file in (base, left, right):
        own.AddSerializedFile(file.SerializeToString())
    return [own.FindFileByName("right.proto"), own.FindFileByName("left.proto")]


def test_extensions_are_found_by_number() -> None:
    catalog = Catalog(_own_files())
    assert catalog.extension_numbers("Base") == [120, 150]
    assert catalog.by_extension("Base", 120).name == "left.proto"
    assert catalog.extension_numbers("p.Nesting") == []
    with pytest.raises(NotDescribedError):
        catalog.by_extension("Base", 121)


@pytest.mark.parametrize("symbol", ["p.outer", "p.Nesting.inner", "p.Nesting.choice", "p.Nesting.a"])
def test_extensions_and_oneofs_are_symbols(symbol: str) -> None:
    assert Catalog(_own_files()).by_symbol(symbol).name == "left.proto"


@pytest.mark.parametrize("symbol", ["ZERO", "E", "Base"])
def test_symbols_without_a_package_are_found(symbol: str) -> None:
    assert Catalog(_own_files()).by_symbol(symbol).name == "base.proto"


def test_needed_files_are_sent_once_to_each_client() -> None:
    catalog = Catalog(_own_files())
    conversation = _Conversation(catalog, [])
    answers = [
        conversation.answer(request)
        for request in (
            pb.ServerReflectionRequest(file_containing_symbol="p.Nesting"),
            pb.ServerReflectionRequest(file_by_filename="right.proto"),
            _extension("Base", 150),
        )
    ]
    assert [_file_names(answer) for answer in answers] == [
        ["left.proto", "base.proto"],
        ["right.proto"],
        ["left.proto"],
    ]
    numbers = conversation.answer(pb.ServerReflectionRequest(all_extension_numbers_of_type="Base"))
    assert list(numbers.all_extension_numbers_response.extension_number) == [120, 150]


_REQUESTS: list[Callable[[str], pb.ServerReflectionRequest]] = [
    lambda text: pb.ServerReflectionRequest(file_by_filename=text),
    lambda text: pb.ServerReflectionRequest(file_containing_symbol=text),
    lambda text: pb.ServerReflectionRequest(all_extension_numbers_of_type=text),
    lambda text: pb.ServerReflectionRequest(list_services=text),
    lambda text: _extension(text, len(text)),
]


@given(st.sampled_from(_REQUESTS), st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_every_question_is_answered(make: Callable[[str], pb.ServerReflectionRequest], text: str) -> None:
    reply = _Conversation(Catalog(_own_files()), [_HEALTH]).answer(make(text))
    assert reply.WhichOneof("message_response") is not None
