"""What every call passes before its handler sees it: who calls, and whether that role may.

Services declare endpoints; the chain makes routes of them. A handler is told who calls by a `Caller`. Nothing
that came is inflated or decoded before its caller is admitted: four kilobytes of gzip can become two million
messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, Protocol, TypeVar

from finial.core.ids import SpiffeID
from finial.rpc.method import Method, Route, guarded
from finial.rpc.method import bidi as bidi_route
from finial.rpc.peer import Peer
from finial.rpc.servercall import ServerCall
from finial.rpc.status import RpcError
from finial.server.policy import Role
from finial.wire.force import read_force
from finial.wire.hints import read_remaining

Request = TypeVar("Request")
Reply = TypeVar("Reply")

SMALL: Final = 64 << 10
"""Bytes of a request where its method says nothing else. Decoding the worst of so many takes about 1 ms."""
LARGE: Final = 4 << 20
"""Bytes of a request that holds as much as its caller likes, which is what SPIRE takes for every method."""


def _admitted() -> None:
    """For callers whose admission nobody takes back."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, as far as the method needs to know.

    Args:
        role: The one by which it may call.
        address: For logs and for limits: the remote host, or `unix` with the process.
        id: What its certificate proves; None without one.
        recheck: Returns while a call that has begun may go on; raises the RpcError that ends it once the
            caller would not be admitted any more. To be called after each wait.
        remaining: How much life is left to what it holds, as an agent says beside its request; it may lie.
        expires_at: When the SVID of the agent that calls ends; None for others.
        patience: How long an operator waits for the reply; None when it does not say.
        force: Whether an operator wants it done although the server advises against it.
    """

    role: Role
    address: str
    id: SpiffeID | None = None
    recheck: Callable[[], None] = _admitted
    remaining: timedelta | None = None
    expires_at: datetime | None = None
    patience: timedelta | None = None
    force: bool = False

    @property
    def agent_id(self) -> SpiffeID:
        """The ID of the agent that calls; only methods of agents ask."""
        assert self.id is not None
        return self.id


UnaryHandler = Callable[[Request, Caller], Awaitable[Reply]]
BidiHandler = Callable[["ServerCall[Request, Reply]", Caller], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A method with what serves it, before the chain has been put around it; made by `unary` and `bidi`.

    The handler's form follows the method's kind, which the two makers check and this type no longer knows.
    """

    method: Method[Any, Any]
    handler: Callable[..., Awaitable[Any]]
    stream: bool
    most: int
    """Bytes of the longest request, after inflating."""


def unary(
    method: Method[Request, Reply], handler: UnaryHandler[Request, Reply], *, most: int = SMALL
) -> Endpoint:
    """Serve a unary method, with requests of so many bytes: `await handler(request, caller)` is the reply."""
    return Endpoint(method, handler, stream=False, most=most)


def bidi(
    method: Method[Request, Reply], handler: BidiHandler[Request, Reply], *, most: int = SMALL
) -> Endpoint:
    """Serve a bidirectional method, as above: `await handler(call, caller)` receives and sends."""
    return Endpoint(method, handler, stream=True, most=most)


class Admission(Protocol):
    """Decides who a caller is and whether it may."""

    async def admit(self, peer: Peer, path: str) -> Caller:
        """The caller, in the role by which it may call.

        Raises:
            RpcError: It may not.
        """


def routes(endpoints: Iterable[Endpoint], admission: Admission) -> tuple[Route, ...]:
    """Endpoints with the chain around them."""
    return tuple(_route(endpoint, admission) for endpoint in endpoints)


def _hinted(caller: Caller, call: ServerCall[Any, Any]) -> Caller:
    """The caller with what it says beside its request; a hint that cannot be read is as good as none."""
    if caller.role is Role.ANY:
        return caller
    try:
        metadata = call.metadata
    except RpcError:
        metadata = ()
    if caller.role is not Role.AGENT:
        return replace(caller, force=read_force(metadata), patience=_patience(call))
    remaining = read_remaining(metadata)
    return caller if remaining is None else replace(caller, remaining=remaining)


def _patience(call: ServerCall[Any, Any]) -> timedelta | None:
    if call.deadline is None:
        return None
    return timedelta(seconds=max(call.deadline - asyncio.get_running_loop().time(), 0))


def _route(endpoint: Endpoint, admission: Admission) -> Route:
    method, handler = endpoint.method, endpoint.handler

    async def answer(call: ServerCall[Any, Any]) -> object:
        caller = _hinted(await admission.admit(call.peer, method.path), call)
        return await handler(call.request(), caller)

    async def converse(call: ServerCall[Any, Any]) -> None:
        caller = await admission.admit(call.peer, method.path)
        await handler(call, caller)

    if endpoint.stream:
        return bidi_route(method, converse, most=endpoint.most)
    return guarded(method, answer, most=endpoint.most)
