"""From service descriptors to what the RPC layer calls and serves.

`service("grpc.health.v1.Health").methods["Check"]` is a Method that turns messages into bytes and back.
Code that knows the service when it is written takes it from `finial.wire.gen`, with its types.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, TypeVar

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message

from finial.rpc.method import Method, MethodKind
from finial.wire import pool

_M = TypeVar("_M", bound=Message)

_KINDS = {
    (False, False): MethodKind.UNARY,
    (False, True): MethodKind.SERVER_STREAM,
    (True, False): MethodKind.CLIENT_STREAM,
    (True, True): MethodKind.BIDI,
}


class Service:
    """A gRPC service; each of its methods is also an attribute: `Health.Check`.

    Args:
        name: Full name, `package.Service`.
        methods: By name, in the order of the .proto file.
    """

    def __init__(self, name: str, methods: Mapping[str, Method[Any, Any]]) -> None:
        self.name = name
        self.methods = MappingProxyType(dict(methods))
        self.__dict__.update(methods)

    def __repr__(self) -> str:
        return f"<Service {self.name}>"


def decoder(message: type[_M]) -> Callable[[bytes], _M]:
    """A function from bytes to this message, which raises ValueError on bytes that are no such message."""
    parse = message.FromString
    name = message.DESCRIPTOR.full_name

    def decode(data: bytes) -> _M:
        try:
            return parse(data)
        # The last two are what protobuf's pure-Python form says of bad text and of deep nesting.
        except (DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(f"the bytes are no {name}") from error

    return decode


def _method(descriptor: MethodDescriptor) -> Method[Message, Message]:
    request = pool.class_of(descriptor.input_type)
    reply = pool.class_of(descriptor.output_type)
    return Method(
        service=descriptor.containing_service.full_name,
        name=descriptor.name,
        kind=_KINDS[descriptor.client_streaming, descriptor.server_streaming],
        encode_request=request.SerializeToString,
        decode_request=decoder(request),
        encode_reply=reply.SerializeToString,
        decode_reply=decoder(reply),
    )


def service_of(descriptor: ServiceDescriptor) -> Service:
    """The service that a descriptor describes."""
    return Service(descriptor.full_name, {each.name: _method(each) for each in descriptor.methods})


@cache
def service(full_name: str) -> Service:
    """A service of ours by its full name.

    Raises:
        KeyError: There is no such service.
    """
    return service_of(pool.service_descriptor(full_name))


def method(service_name: str, name: str) -> Method[Message, Message]:
    """A method by the full name of its service and its own.

    Raises:
        KeyError: There is no such method.
    """
    return service(service_name).methods[name]
