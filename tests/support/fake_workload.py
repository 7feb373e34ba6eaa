"""A Workload API whose state a test bends, served by our own RPC layer over a Unix socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric import ec

from finial.core.x509svid import X509SVID
from finial.rpc import Metadata, Route, RpcError, Server, ServerCall, StatusCode, Unix, server_stream
from finial.runtime.clock import SystemClock
from finial.wire.gen import workload as pb
from support import forge
from support.rpc import socket_path

SVIDCall = ServerCall[pb.X509SVIDRequest, pb.X509SVIDResponse]
BundlesCall = ServerCall[pb.X509BundlesRequest, pb.X509BundlesResponse]

Message = TypeVar("Message", pb.X509SVIDResponse, pb.X509BundlesResponse)

TODAY = SystemClock().now()
ROOT_A = forge.root("root a", forge.A, not_before=TODAY - forge.DAY, not_after=TODAY + 3650 * forge.DAY)
ROOT_B = forge.root("root b", forge.B, not_before=TODAY - forge.DAY, not_after=TODAY + 3650 * forge.DAY)


def fresh_leaf(
    issuer: forge.Made = ROOT_A,
    uri: str = forge.WEB,
    *,
    not_after: datetime = TODAY + forge.DAY,
    own_key: ec.EllipticCurvePrivateKey | None = None,
) -> forge.Made:
    """A leaf with a key of its own, valid on the machine's clock."""
    return forge.leaf(
        issuer,
        uri,
        own_key=own_key or ec.generate_private_key(ec.SECP256R1()),
        not_before=TODAY - forge.DAY,
        not_after=not_after,
    )


def svid_of(leaf: forge.Made, *, hint: str = "") -> X509SVID:
    return X509SVID.from_der([leaf.der], leaf.key_der, hint=hint)


def one_svid(
    leaf: forge.Made, uri: str = forge.WEB, *, root: forge.Made = ROOT_A, hint: str = ""
) -> pb.X509SVID:
    return pb.X509SVID(
        spiffe_id=uri, x509_svid=leaf.der, x509_svid_key=leaf.key_der, bundle=root.der, hint=hint
    )


def svids(*each: pb.X509SVID, federated: Mapping[str, bytes] | None = None) -> pb.X509SVIDResponse:
    return pb.X509SVIDResponse(svids=each, federated_bundles=federated or {})


@dataclass
class FakeWorkloadAPI:
    """Sends what it is told to, and notes what it was asked.

    `answers` is what a new stream begins with; `push` adds to every stream that is open. An RpcError among
    the messages ends the stream with it, and None ends it with OK.
    """

    answers: list[pb.X509SVIDResponse | RpcError | None] = field(default_factory=list)
    bundles: list[pb.X509BundlesResponse | RpcError | None] = field(default_factory=list)
    seen: list[Metadata] = field(default_factory=list)
    _open: list[asyncio.Queue[pb.X509SVIDResponse | RpcError | None]] = field(default_factory=list)

    @property
    def streams(self) -> int:
        """How many FetchX509SVID streams are open."""
        return len(self._open)

    @property
    def calls(self) -> int:
        """How many calls of any kind there were."""
        return len(self.seen)

    def push(self, message: pb.X509SVIDResponse | RpcError | None) -> None:
        for queue in self._open:
            queue.put_nowait(message)

    def routes(self) -> tuple[Route, ...]:
        api = pb.SpiffeWorkloadAPI
        return (
            server_stream(api.FetchX509SVID, self._svids),
            server_stream(api.FetchX509Bundles, self._bundles),
        )

    def _admit(self, metadata: Metadata) -> None:
        self.seen.append(metadata)
        if [value for name, value in metadata if name == "workload.spiffe.io"] != ["true"]:
            raise RpcError(StatusCode.INVALID_ARGUMENT, "security header missing from request")

    async def _svids(self, request: pb.X509SVIDRequest, call: SVIDCall) -> None:
        self._admit(call.metadata)
        queue: asyncio.Queue[pb.X509SVIDResponse | RpcError | None] = asyncio.Queue()
        for answer in self.answers:
            queue.put_nowait(answer)
        self._open.append(queue)
        try:
            await _send_all(queue.get, call.send)
        finally:
            self._open.remove(queue)

    async def _bundles(self, request: pb.X509BundlesRequest, call: BundlesCall) -> None:
        self._admit(call.metadata)
        queue: asyncio.Queue[pb.X509BundlesResponse | RpcError | None] = asyncio.Queue()
        for answer in self.bundles:
            queue.put_nowait(answer)
        await _send_all(queue.get, call.send)


async def _send_all(
    get: Callable[[], Awaitable[Message | RpcError | None]], send: Callable[[Message], Awaitable[None]]
) -> None:
    while (message := await get()) is not None:
        if isinstance(message, RpcError):
            raise message
        await send(message)


@asynccontextmanager
async def serving(
    api: FakeWorkloadAPI, address: Unix | None = None, more: Iterable[Route] = ()
) -> AsyncIterator[Unix]:
    """Serve it; the block's value is where."""
    server = Server([*api.routes(), *more])
    try:
        bound = await server.listen(address or socket_path())
        assert isinstance(bound, Unix)
        yield bound
    finally:
        await server.stop(timedelta(milliseconds=50))  # the streams never end by themselves
