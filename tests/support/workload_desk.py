"""The Workload API over a cache that a test fills, without any agent or server behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from finial.agent.api.workload import X509Profile
from finial.agent.api.workload_stream import Reception
from finial.agent.attest import WorkloadAttestation
from finial.agent.book import AuthorizedEntry, Book
from finial.agent.cache import Cache
from finial.agent.identity import new_key
from finial.agent.progress import Progress
from finial.core.ids import SpiffeID
from finial.core.selectors import Selector
from finial.core.x509svid import X509SVID
from finial.plugin.workload import WorkloadProcess
from finial.rpc import Channel, Method, RpcError, Server, Unix
from finial.wire.gen import workload as pb
from support.agent_world import HEADER, Stream, World, world
from support.clock import ManualClock
from support.fake_server import FakeServer

SVIDS = pb.SpiffeWorkloadAPI.FetchX509SVID


class Says:
    """An attestor with one answer."""

    def __init__(self, value: str) -> None:
        self.answer = (Selector("test", value),)
        self.asked = 0

    async def attest(self, process: WorkloadProcess) -> tuple[Selector, ...]:
        self.asked += 1
        return self.answer


@dataclass
class Desk:
    """The Workload API over a cache that the test fills, without any server behind."""

    clock: ManualClock
    cache: Cache
    attestor: Says
    socket: Unix
    signer: FakeServer
    world: World
    stack: AsyncExitStack

    def entry(self, **changes: Any) -> AuthorizedEntry:
        settings = {
            "id": "e1",
            "spiffe_id": SpiffeID("spiffe://example.org/web"),
            "selectors": frozenset({Selector("test", "me")}),
            **changes,
        }
        return AuthorizedEntry(**settings)

    def enter(self, entry: AuthorizedEntry) -> None:
        """Put the one entry, with an SVID, into the book."""
        came = self.cache.book.replace_entries([entry])
        changes = [came]
        if self.cache.book.held(entry.id) is None:
            key = new_key()
            leaf = self.signer._sign(entry.spiffe_id, key.public_key(), timedelta(hours=1))
            svid = X509SVID((leaf,), key)
            changes.append(self.cache.book.accept(entry, svid, now=self.clock.now(), spread=0.5))
        self.cache.apply(*changes)

    @asynccontextmanager
    async def stream(
        self, method: Method[Any, Any] = SVIDS, metadata: Any = HEADER, channel: Channel | None = None
    ) -> AsyncIterator[Stream]:
        own = channel or Channel(self.socket)
        try:
            async with own.call(method, metadata=metadata) as call:
                await call.send(method.decode_request(b""))
                await call.half_close()
                yield Stream(self.world, call)
        finally:
            if channel is None:
                await own.close()

    async def end_of(self, caller: Stream) -> RpcError:
        """The status that a stream ends with, before which nothing more comes."""
        receiving = asyncio.ensure_future(caller.call.receive())
        await self.world.eventually(receiving.done)
        error = receiving.exception()
        assert isinstance(error, RpcError), receiving.result()
        return error


@asynccontextmanager
async def desk() -> AsyncIterator[Desk]:
    async with world() as w, AsyncExitStack() as stack:
        cache = Cache(Book(w.server.bundle), w.clock, Progress())
        cache.synced.set()
        attestor = Says("me")
        attestation = WorkloadAttestation({"test": attestor})
        reception = Reception(cache, attestation, clock=w.clock)
        async with Server(X509Profile(reception, cache).routes()) as server:
            socket = Unix(str(w.folder / "s"))
            await server.listen(socket)
            made = Desk(w.clock, cache, attestor, socket, w.server, w, stack)
            made.enter(made.entry())
            yield made
            await stack.aclose()
        attestation.close()
