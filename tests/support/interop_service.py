"""The test service `finial.test.Peer` in Python; peers/grpcpeer/steps.go is its twin and lists the steps."""

from __future__ import annotations

import asyncio
import base64
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError
from google.protobuf.wrappers_pb2 import BytesValue

from finial.rpc import (
    Method,
    MethodKind,
    Route,
    RpcError,
    ServerCall,
    StatusCode,
    bidi,
    client_stream,
    server_stream,
    unary,
)

SERVICE = "finial.test.Peer"

Call = ServerCall[bytes, bytes]
Emit = Callable[[bytes], Awaitable[None]]
Pairs = Iterable[tuple[str, str | bytes]]


def encode(value: bytes) -> bytes:
    """A BytesValue."""
    return BytesValue(value=value).SerializeToString()


def decode(data: bytes) -> bytes:
    """What a BytesValue holds; ValueError for anything else."""
    try:
        return BytesValue.FromString(data).value
    except DecodeError as error:
        raise ValueError(str(error)) from error


def method(name: str, kind: MethodKind, service: str = SERVICE) -> Method[bytes, bytes]:
    """A method whose messages are BytesValues."""
    return Method(service, name, kind, encode, decode, encode, decode)


UNARY = method("Unary", MethodKind.UNARY)
PLAIN = method("Plain", MethodKind.UNARY)
SERVER_STREAM = method("ServerStream", MethodKind.SERVER_STREAM)
CLIENT_STREAM = method("ClientStream", MethodKind.CLIENT_STREAM)
BIDI = method("Bidi", MethodKind.BIDI)


def pattern(size: int) -> bytes:
    """A message that compresses and still shows where bytes went missing."""
    return (bytes(range(251)) * (size // 251 + 1))[:size]


def status_bytes(code: int, message: str) -> bytes:
    """A serialised google.rpc.Status with one BytesValue `detail`; all lengths are below 128."""
    detail = AnyMessage()
    detail.Pack(BytesValue(value=b"detail"))
    packed, text = detail.SerializeToString(), message.encode()
    return bytes([0x08, code, 0x12, len(text)]) + text + bytes([0x1A, len(packed)]) + packed


def lines(metadata: Pairs) -> list[str]:
    """The x-... entries as sorted `k=v`, binary ones in base64."""
    return sorted(
        f"{key}={base64.b64encode(value).decode() if isinstance(value, bytes) else value}"
        for key, value in metadata
        if key.startswith("x-")
    )


class PeerService:
    """The handlers, and what they have seen.

    Args:
        name: What the step `name` emits.
    """

    def __init__(self, name: str = "finial") -> None:
        self.name = name
        self.progress = 0
        self.began: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.ended: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    def routes(self) -> list[Route]:
        """What a server is given."""
        return [
            unary(UNARY, self._unary),
            unary(PLAIN, self._plain),
            server_stream(SERVER_STREAM, self._server_stream),
            client_stream(CLIENT_STREAM, self._client_stream),
            bidi(BIDI, self._bidi),
        ]

    async def _unary(self, request: bytes, call: Call) -> bytes:
        _prepare(call)
        replies = [b""]

        async def emit(data: bytes) -> None:
            replies.append(data)

        await self._run(request, call, emit)
        return replies[-1]

    def _plain(self, request: bytes, call: Call) -> bytes:
        """The fast form of a unary handler, which knows two steps."""
        _prepare(call)
        if request.startswith(b"fail:"):
            _, code, message = request.decode().split(":", 2)
            raise RpcError(StatusCode(int(code)), message)
        return request.removeprefix(b"echo:")

    async def _server_stream(self, request: bytes, call: Call) -> None:
        _prepare(call)
        await self._run(request, call, call.send)

    async def _client_stream(self, call: Call) -> bytes:
        sizes: list[int] = []

        async def emit(data: bytes) -> None:
            sizes.append(len(data))

        async for request in call:
            if await self._run(request, call, emit):
                break
        return f"{len(sizes)},{sum(sizes)}".encode()

    async def _bidi(self, call: Call) -> None:
        _prepare(call)
        async for request in call:
            if await self._run(request, call, call.send):
                return

    async def _run(self, request: bytes, call: Call, emit: Emit) -> bool:
        """Do the steps of one request; whether `return` was among them."""
        rest = request
        while rest:
            if rest.startswith(b"echo:"):
                await emit(rest[5:])
                return False
            step, _, rest = rest.partition(b";")
            if step == b"return":
                return True
            await self._step(step.decode().split(":", 2), call, emit)
        return False

    async def _step(self, words: list[str], call: Call, emit: Emit) -> None:
        match words:
            case ["size", size]:
                await emit(pattern(int(size)))
            case ["count", times, *size]:
                await self._count(int(times), [int(text) for text in size], emit)
            case ["progress"]:
                await emit(str(self.progress).encode())
            case ["fail", code, message]:
                raise RpcError(StatusCode(int(code)), message)
            case ["details", code, message]:
                details = status_bytes(int(code), message)
                raise RpcError(StatusCode(int(code)), message, details=details)
            case ["hang", name]:
                await self._hang(name)
            case ["idle"]:
                await asyncio.get_running_loop().create_future()
            case ["started", name]:
                await self.began[name].wait()
            case ["fate", name]:
                await self.ended[name].wait()
                await emit(b"ended")
            case ["metadata"]:
                await emit("\n".join(lines(call.metadata)).encode())
            case ["peer"]:
                await emit(str(call.peer.identity or "anonymous").encode())
            case ["name"]:
                await emit(self.name.encode())
            case _:
                raise RpcError(StatusCode.INVALID_ARGUMENT, f"no step {words[0]!r}")

    async def _count(self, times: int, size: list[int], emit: Emit) -> None:
        message = pattern(size[0]) if size else None
        for number in range(times):
            await emit(str(number).encode() if message is None else message)
            self.progress += 1

    async def _hang(self, name: str) -> None:
        self.began[name].set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.ended[name].set()


def _prepare(call: Call) -> None:
    if any(key == "x-reply-metadata" for key, _ in call.metadata):
        call.initial_metadata += [("x-initial", "first"), ("x-initial-bin", b"\x00\xff")]
        call.trailing_metadata += [("x-trailing", "last"), ("x-trailing-bin", b"\x01\xfe")]
