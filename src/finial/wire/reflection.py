"""`grpc.reflection`, v1 and v1alpha: describes what is served, to clients without .proto files.

Only files that a mounted service needs are shown, whatever else the process has loaded.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Final, TypeVar

from google.protobuf.descriptor import (
    Descriptor,
    EnumDescriptor,
    FieldDescriptor,
    FileDescriptor,
    ServiceDescriptor,
)

from finial.rpc.method import Route, bidi
from finial.rpc.servercall import ServerCall
from finial.rpc.status import RpcError, StatusCode
from finial.wire import pool
from finial.wire.gen import grpc_reflection_v1 as pb
from finial.wire.gen import grpc_reflection_v1alpha as alpha

MAX_REQUEST_BYTES: Final = 4096
"""A longer request, which the reply would repeat, ends the stream."""

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")

_Call = ServerCall[pb.ServerReflectionRequest, pb.ServerReflectionResponse]


class NotDescribedError(LookupError):
    """There is no such file, symbol or extension among those that are shown."""


class Catalog:
    """Descriptors by the names that clients ask for.

    Args:
        files: What is shown, together with all that these files need.
    """

    def __init__(self, files: Iterable[FileDescriptor]) -> None:
        self._files: dict[str, FileDescriptor] = {}
        for file in files:
            self._files |= {each.name: each for each in _with_needs(file)}

    @cached_property
    def _file_of_symbol(self) -> dict[str, FileDescriptor]:
        return {symbol: file for file in self._files.values() for symbol in _symbols(file)}

    @cached_property
    def _file_of_extension(self) -> dict[str, dict[int, FileDescriptor]]:
        """By the extended message, then by number; every message that is shown has its place."""
        found: dict[str, dict[int, FileDescriptor]] = {
            message.full_name: {} for file in self._files.values() for message in _messages(file)
        }
        for file in self._files.values():
            for extension in _extensions(file):
                assert extension.containing_type is not None  # the message that it extends
                found[extension.containing_type.full_name][extension.number] = file
        return found

    def by_name(self, name: str) -> FileDescriptor:
        """The file with this name; the methods below raise as this one does.

        Raises:
            NotDescribedError: It is not shown.
        """
        return _found(self._files, name)

    def by_symbol(self, symbol: str) -> FileDescriptor:
        """The file that declares this full name."""
        return _found(self._file_of_symbol, symbol)

    def by_extension(self, message: str, number: int) -> FileDescriptor:
        """The file that declares this extension of a message."""
        return _found(_found(self._file_of_extension, message), number)

    def extension_numbers(self, message: str) -> list[int]:
        """The numbers of all extensions of a message."""
        return sorted(_found(self._file_of_extension, message))


class _Conversation:
    """One stream: what is asked, and which files the client has been sent already."""

    def __init__(self, catalog: Catalog, services: Iterable[str]) -> None:
        self._catalog = catalog
        self._services = services
        self._sent: set[str] = set()

    def answer(self, request: pb.ServerReflectionRequest) -> pb.ServerReflectionResponse:
        reply = pb.ServerReflectionResponse(valid_host=request.host, original_request=request)
        try:
            self._fill(reply, request)
        except NotDescribedError as error:
            reply.error_response.error_code = StatusCode.NOT_FOUND
            reply.error_response.error_message = str(error)
        return reply

    def _fill(self, reply: pb.ServerReflectionResponse, request: pb.ServerReflectionRequest) -> None:
        match request.WhichOneof("message_request"):
            case "file_by_filename":
                self._send(reply, self._catalog.by_name(request.file_by_filename))
            case "file_containing_symbol":
                self._send(reply, self._catalog.by_symbol(request.file_containing_symbol))
            case "file_containing_extension":
                wanted = request.file_containing_extension
                file = self._catalog.by_extension(wanted.containing_type, wanted.extension_number)
                self._send(reply, file)
            case "all_extension_numbers_of_type":
                name = request.all_extension_numbers_of_type
                numbers = self._catalog.extension_numbers(name)
                reply.all_extension_numbers_response.base_type_name = name
                reply.all_extension_numbers_response.extension_number.extend(numbers)
            case "list_services":
                listed = [pb.ServiceResponse(name=name) for name in self._services]
                reply.list_services_response.service.extend(listed)
            case _:
                reply.error_response.error_code = StatusCode.INVALID_ARGUMENT
                reply.error_response.error_message = "nothing is asked"

    def _send(self, reply: pb.ServerReflectionResponse, wanted: FileDescriptor) -> None:
        """The file, and of those that it needs the ones that the client has not got yet."""
        for file in _with_needs(wanted):
            if file.name == wanted.name or file.name not in self._sent:
                self._sent.add(file.name)
                reply.file_descriptor_response.file_descriptor_proto.append(file.serialized_pb)


def reflection_routes(routes: Iterable[Route]) -> tuple[Route, ...]:
    """Routes that describe these and themselves; a service without a descriptor of ours is listed only."""
    both = (pb.ServerReflection.name, alpha.ServerReflection.name)
    services = sorted({*(route.method.service for route in routes), *both})
    catalog = Catalog(_files_of(services))

    async def describe(call: _Call) -> None:
        conversation = _Conversation(catalog, services)
        async for request in call:
            if request.ByteSize() > MAX_REQUEST_BYTES:
                text = f"the request is longer than {MAX_REQUEST_BYTES} bytes"
                raise RpcError(StatusCode.INVALID_ARGUMENT, text)
            await call.send(conversation.answer(request))

    # The messages of both versions are the same on the wire, so the classes of one serve for the other.
    method = pb.ServerReflection.ServerReflectionInfo
    return tuple(bidi(replace(method, service=service), describe) for service in both)


def _files_of(services: Iterable[str]) -> Iterator[FileDescriptor]:
    for name in services:
        try:
            yield pool.service_descriptor(name).file
        except KeyError:
            continue


def _found(table: Mapping[_K, _V], key: _K) -> _V:
    try:
        return table[key]
    except KeyError:
        raise NotDescribedError(f"{key} is not described here") from None


def _with_needs(file: FileDescriptor) -> Iterable[FileDescriptor]:
    """The file, then all that it needs, each once."""
    found = {file.name: file}
    waiting = [file]
    while waiting:
        for needed in waiting.pop().dependencies:
            if needed.name not in found:
                found[needed.name] = needed
                waiting.append(needed)
    return found.values()


def _messages(file: FileDescriptor) -> Iterator[Descriptor]:
    waiting = list(file.message_types_by_name.values())
    while waiting:
        message = waiting.pop()
        yield message
        waiting += message.nested_types


def _extensions(file: FileDescriptor) -> Iterator[FieldDescriptor]:
    yield from file.extensions_by_name.values()
    for message in _messages(file):
        yield from message.extensions


def _symbols(file: FileDescriptor) -> Iterator[str]:
    """Every full name that a file declares."""
    for service in file.services_by_name.values():
        yield from _service_symbols(service)
    for enum in file.enum_types_by_name.values():
        yield from _enum_symbols(enum)
    for extension in _extensions(file):
        yield extension.full_name
    for message in _messages(file):
        yield message.full_name
        yield from (f"{message.full_name}.{field.name}" for field in message.fields)
        yield from (f"{message.full_name}.{oneof.name}" for oneof in message.oneofs)
        for enum in message.enum_types:
            yield from _enum_symbols(enum)


def _service_symbols(service: ServiceDescriptor) -> Iterator[str]:
    yield service.full_name
    for method in service.methods:
        yield f"{service.full_name}.{method.name}"


def _enum_symbols(enum: EnumDescriptor) -> Iterator[str]:
    """The enum and its values, which stand beside it, not inside."""
    yield enum.full_name
    scope = enum.full_name.rpartition(".")[0]
    for value in enum.values:
        yield f"{scope}.{value.name}" if scope else value.name
