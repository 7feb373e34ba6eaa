"""A Workload API whose state a test bends, served by our own RPC layer over a Unix socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from cryptography.hazmat.primitives.asymmetric import ec

from finial.core import jwk
from finial.core.token_authority import TokenAuthority
from finial.core.x509svid import X509SVID
from finial.rpc import (
    Metadata,
    Method,
    Route,
    RpcError,
    Server,
    ServerCall,
    StatusCode,
    Unix,
    server_stream,
    unary,
)
from finial.runtime.clock import SystemClock
from finial.wire.gen import workload as pb
from support import forge, tokens
from support.rpc import socket_path

SVIDCall = ServerCall[pb.X509SVIDRequest, pb.X509SVIDResponse]
BundlesCall = ServerCall[pb.X509BundlesRequest, pb.X509BundlesResponse]

Call = ServerCall[Any, Any]

Message = TypeVar("Message")
Reply = TypeVar("Reply", pb.JWTSVIDResponse, pb.ValidateJWTSVIDResponse)

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


def one_jwt(token: str = "", uri: str = forge.WEB, *, hint: str = "") -> pb.JWTSVID:
    """A sound token for the audience of `tokens`, unless another one is given."""
    return pb.JWTSVID(spiffe_id=uri, svid=token or tokens.jwt(sub=uri), hint=hint)


def jwts(*each: pb.JWTSVID) -> pb.JWTSVIDResponse:
    return pb.JWTSVIDResponse(svids=each)


def key_set(*authorities: TokenAuthority) -> bytes:
    """A plain JWK Set, as agents send it."""
    keys = [{**jwk.write_public(each.key), "kid": each.key_id} for each in authorities]
    return json.dumps({"keys": keys}).encode()


def jwt_keys(**bundles: bytes) -> pb.JWTBundlesResponse:
    """Key sets of `a` for a.test, and so on."""
    return pb.JWTBundlesResponse(bundles={f"spiffe://{name}.test": keys for name, keys in bundles.items()})


def one_wit(token: str = "", uri: str = forge.WEB, *, hint: str = "") -> pb.WITSVID:
    """A sound WIT-SVID with the key of `tokens.holder`, unless another one is given."""
    key = tokens.holder()
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return pb.WITSVID(
        spiffe_id=uri,
        wit_svid=token or tokens.wit(sub=uri),
        wit_svid_key=json.dumps(jwk.write_private(key)),
        hint=hint,
    )


def wits(*each: pb.WITSVID) -> pb.WITSVIDResponse:
    return pb.WITSVIDResponse(svids=each)


def wit_keys(**bundles: bytes) -> pb.WITBundlesResponse:
    """As `jwt_keys`, for WIT-SVIDs."""
    return pb.WITBundlesResponse(
        bundles={f"spiffe://{name}.test": keys.decode() for name, keys in bundles.items()}
    )


@dataclass
class Feed(Generic[Message]):
    """One stream of the API: what each new call begins with, and what is pushed to those that are open.

    An RpcError among the messages ends the stream with it, and None ends it with OK.
    """

    answers: list[Message | RpcError | None] = field(default_factory=list)
    open: list[asyncio.Queue[Message | RpcError | None]] = field(default_factory=list)

    def push(self, message: Message | RpcError | None) -> None:
        for queue in self.open:
            queue.put_nowait(message)

    async def serve(self, send: Callable[[Message], Awaitable[None]]) -> None:
        queue: asyncio.Queue[Message | RpcError | None] = asyncio.Queue()
        for answer in self.answers:
            queue.put_nowait(answer)
        self.open.append(queue)
        try:
            while (message := await queue.get()) is not None:
                if isinstance(message, RpcError):
                    raise message
                await send(message)
        finally:
            self.open.remove(queue)


@dataclass
class FakeWorkloadAPI:
    """Sends what it is told to, and notes what it was asked. A profile that is left out is not served.

    `answers` is what a new stream of X.509-SVIDs begins with; `push` adds to every one that is open.
    """

    answers: list[pb.X509SVIDResponse | RpcError | None] = field(default_factory=list)
    bundles: list[pb.X509BundlesResponse | RpcError | None] = field(default_factory=list)
    jwt: pb.JWTSVIDResponse | RpcError | None = None
    validated: pb.ValidateJWTSVIDResponse | RpcError | None = None
    jwt_bundles: Feed[pb.JWTBundlesResponse] | None = None
    wits: Feed[pb.WITSVIDResponse] | None = None
    wit_bundles: Feed[pb.WITBundlesResponse] | None = None
    seen: list[Metadata] = field(default_factory=list)
    asked: list[object] = field(default_factory=list)
    """The requests, in the order of `seen`."""
    _svids: Feed[pb.X509SVIDResponse] = field(default_factory=Feed)

    @property
    def streams(self) -> int:
        """How many FetchX509SVID streams are open."""
        return len(self._svids.open)

    @property
    def calls(self) -> int:
        """How many calls of any kind there were."""
        return len(self.seen)

    def push(self, message: pb.X509SVIDResponse | RpcError | None) -> None:
        self._svids.push(message)

    def routes(self) -> Iterator[Route]:
        api = pb.SpiffeWorkloadAPI
        yield server_stream(api.FetchX509SVID, self._fetch_svids)
        yield server_stream(api.FetchX509Bundles, self._fetch_bundles)
        if self.jwt is not None:
            yield unary(api.FetchJWTSVID, self._fetch_jwt)
        if self.validated is not None:
            yield unary(api.ValidateJWTSVID, self._validate)
        for method, feed in (
            (api.FetchJWTBundles, self.jwt_bundles),
            (api.FetchWITSVID, self.wits),
            (api.FetchWITBundles, self.wit_bundles),
        ):
            if feed is not None:
                yield self._stream(method, feed)

    def _stream(self, method: Method[Any, Any], feed: Feed[Any]) -> Route:
        async def serve(request: object, call: ServerCall[Any, Any]) -> None:
            self._admit(request, call.metadata)
            await feed.serve(call.send)

        return server_stream(method, serve)

    def _admit(self, request: object, metadata: Metadata) -> None:
        self.seen.append(metadata)
        self.asked.append(request)
        if [value for name, value in metadata if name == "workload.spiffe.io"] != ["true"]:
            raise RpcError(StatusCode.INVALID_ARGUMENT, "security header missing from request")

    async def _fetch_svids(self, request: pb.X509SVIDRequest, call: SVIDCall) -> None:
        self._admit(request, call.metadata)
        self._svids.answers = self.answers  # a test may have replaced the list
        await self._svids.serve(call.send)

    async def _fetch_bundles(self, request: pb.X509BundlesRequest, call: BundlesCall) -> None:
        self._admit(request, call.metadata)
        await Feed(self.bundles).serve(call.send)

    def _fetch_jwt(self, request: pb.JWTSVIDRequest, call: Call) -> pb.JWTSVIDResponse:
        self._admit(request, call.metadata)
        return _answered(self.jwt)

    def _validate(self, request: pb.ValidateJWTSVIDRequest, call: Call) -> pb.ValidateJWTSVIDResponse:
        self._admit(request, call.metadata)
        return _answered(self.validated)


def _answered(answer: Reply | RpcError | None) -> Reply:
    assert answer is not None
    if isinstance(answer, RpcError):
        raise answer
    return answer


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
