"""What a gRPC method is: its path, its kind, and how its messages become bytes."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from enum import Enum
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from finial.rpc.servercall import ServerCall

Request = TypeVar("Request")
Reply = TypeVar("Reply")


class MethodKind(Enum):
    """Which side sends how many messages."""

    UNARY = "unary"
    SERVER_STREAM = "server stream"
    CLIENT_STREAM = "client stream"
    BIDI = "bidi"

    @property
    def one_request(self) -> bool:
        """Whether the client sends exactly one message."""
        return self is MethodKind.UNARY or self is MethodKind.SERVER_STREAM

    @property
    def one_reply(self) -> bool:
        """Whether the server answers with exactly one message."""
        return self is MethodKind.UNARY or self is MethodKind.CLIENT_STREAM


@dataclass(frozen=True, slots=True)
class Method(Generic[Request, Reply]):
    """One method of a service, as both sides know it.

    Args:
        service: Full service name, `package.Service`.
        name: Method name.
        kind: Which side sends how many messages.
        encode_request: Message to bytes.
        decode_request: Bytes to message; raises ValueError on bytes that are no such message.
        encode_reply: Message to bytes.
        decode_reply: Bytes to message; raises ValueError on bytes that are no such message.
    """

    service: str
    name: str
    kind: MethodKind
    encode_request: Callable[[Request], bytes]
    decode_request: Callable[[bytes], Request]
    encode_reply: Callable[[Reply], bytes]
    decode_reply: Callable[[bytes], Reply]

    @property
    def path(self) -> str:
        """The `:path` on the wire."""
        return f"/{self.service}/{self.name}"


UnaryHandler = Callable[[Request, "ServerCall[Request, Reply]"], Reply | Coroutine[Any, Any, Reply]]
ServerStreamHandler = Callable[[Request, "ServerCall[Request, Reply]"], Coroutine[Any, Any, None]]
ClientStreamHandler = Callable[["ServerCall[Request, Reply]"], Coroutine[Any, Any, Reply]]
BidiHandler = Callable[["ServerCall[Request, Reply]"], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Route:
    """A method with the function that serves it; made by `unary` and its neighbours.

    The handler's form follows the method's kind, which the makers check and this type no longer knows.
    """

    method: Method[Any, Any]
    handler: Callable[..., Any]
    plain: bool
    """Whether the handler is a plain function, which is called at once, rather than an `async def`."""
    guarded: bool = False
    """Whether the handler is given no request, and takes it from the call."""
    most: int | None = None
    """Longest request in bytes, after inflating; None for as long as the server takes any."""


def _route(
    method: Method[Any, Any], kind: MethodKind, handler: Callable[..., Any], most: int | None
) -> Route:
    if method.kind is not kind:
        raise ValueError(f"{method.path} is a {method.kind.value} method, not {kind.value}")
    plain = not iscoroutinefunction(handler)
    if plain and kind is not MethodKind.UNARY:
        raise ValueError(f"the handler of {method.path} has to be an `async def`")
    return Route(method, handler, plain, most=most)


def unary(
    method: Method[Request, Reply], handler: UnaryHandler[Request, Reply], *, most: int | None = None
) -> Route:
    """Serve a unary method: `handler(request, call)`, plain or an `async def`, returns the reply.

    A plain function is the fast form: it is called where the bytes arrive and costs no task. As with its
    neighbours, `most` is the longest request in bytes, if it is to be shorter than the server's limit: a few
    bytes of gzip can become a request as long as that, which has to be decoded.

    Raises:
        ValueError: The method is not unary.
    """
    return _route(method, MethodKind.UNARY, handler, most)


def guarded(
    method: Method[Request, Reply], handler: ClientStreamHandler[Request, Reply], *, most: int | None = None
) -> Route:
    """Serve a unary method that not everybody may call: `handler(call)` first decides about the caller.

    Then it takes the request with `call.request()`. Until it does, what came is neither inflated nor decoded.

    Raises:
        ValueError: The method is not unary, or the handler no `async def`.
    """
    if not iscoroutinefunction(handler):
        raise ValueError(f"the handler of {method.path} has to be an `async def`")
    return replace(_route(method, MethodKind.UNARY, handler, most), guarded=True)


def server_stream(
    method: Method[Request, Reply], handler: ServerStreamHandler[Request, Reply], *, most: int | None = None
) -> Route:
    """Serve a server-streaming method: `handler(request, call)` sends with `call.send`, then returns."""
    return _route(method, MethodKind.SERVER_STREAM, handler, most)


def client_stream(
    method: Method[Request, Reply], handler: ClientStreamHandler[Request, Reply], *, most: int | None = None
) -> Route:
    """Serve a client-streaming method: `handler(call)` receives from `call` and returns the reply."""
    return _route(method, MethodKind.CLIENT_STREAM, handler, most)


def bidi(
    method: Method[Request, Reply], handler: BidiHandler[Request, Reply], *, most: int | None = None
) -> Route:
    """Serve a bidirectional method: `handler(call)` starts with the headers, receives and sends."""
    return _route(method, MethodKind.BIDI, handler, most)
