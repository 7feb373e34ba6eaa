"""What an interoperability test stands on: peers of both kinds, on either transport, ended with it."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

from finial.rpc import Channel, Limits, Server, Tcp, Unix
from support.interop_certs import CLIENT_ID, PKI, SERVER_ID, Identity
from support.interop_process import PeerProcess
from support.interop_service import PeerService

Address = Unix | Tcp
Spec = ParamSpec("Spec")

_TEST_SECONDS = 40.0
WAIT = timedelta(seconds=15)
"""The deadline of a call that is expected to succeed."""


@dataclass
class OurServer:
    """A running server of ours."""

    server: Server
    service: PeerService
    address: Address


@dataclass
class World:
    """One engine and one transport, and whatever a test starts on them.

    Args:
        engine: HTTP/2 engine of our side.
        transport: `unix` or `mtls`.
        folder: For sockets; its path is short enough for them.
        program: The Go peer.
        pki: Certificates.
    """

    engine: str
    transport: str
    folder: Path
    program: Path
    pki: PKI
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    @property
    def secure(self) -> bool:
        """Whether TLS is spoken."""
        return self.transport == "mtls"

    async def our_server(
        self, *, limits: Limits | None = None, name: str = "finial", at: Address | None = None
    ) -> OurServer:
        """A server of ours, stopped with the test."""
        service = PeerService(name)
        server = Server(service.routes(), limits=limits, engine=self.engine)
        self.stack.push_async_callback(server.stop, timedelta(seconds=1))
        wanted = at or (Tcp("127.0.0.1", 0) if self.secure else Unix(str(self.folder / "s.sock")))
        address = await server.listen(wanted, tls=self.pki.server_tls() if self.secure else None)
        return OurServer(server, service, address)

    async def go_process(self) -> PeerProcess:
        """A Go client that has not dialled yet."""
        return await self.stack.enter_async_context(PeerProcess(self.program, "client"))

    async def go_client(self, address: Address, **dial: Any) -> PeerProcess:
        """A Go client with one connection to this server, called `main`."""
        client = await self.go_process()
        tls = self.pki.go_tls(self.pki.client, SERVER_ID) if self.secure else None
        await client.order("dial", conn="main", target=str(address), tls=tls, **dial)
        return client

    async def go_to_ours(self, *, limits: Limits | None = None, **dial: Any) -> tuple[PeerProcess, OurServer]:
        """A Go client and the server of ours that it calls."""
        server = await self.our_server(limits=limits)
        return await self.go_client(server.address, **dial), server

    async def go_server(self, *flags: str, at: Address | None = None) -> tuple[PeerProcess, Address]:
        """A Go server and its address."""
        target = str(at or ("127.0.0.1:0" if self.secure else f"unix:{self.folder}/g.sock"))
        command = [str(self.program), "serve", "-listen", target, *flags]
        if self.secure:
            command += ["-tls", json.dumps(self.pki.go_tls(self.pki.server, CLIENT_ID))]
        peer = await self.stack.enter_async_context(PeerProcess(*command, hello=True))
        bound = str(peer.hello["address"])
        if not self.secure:
            return peer, Unix(bound)
        host, _, port = bound.rpartition(":")
        return peer, Tcp(host, int(port))

    async def channel(
        self, address: Address, *, limits: Limits | None = None, show: Identity | None = None
    ) -> Channel:
        """A channel of ours, closed with the test."""
        tls = self.pki.client_tls(show=show or self.pki.client) if self.secure else None
        channel = Channel(address, tls=tls, limits=limits, engine=self.engine)
        return await self.stack.enter_async_context(channel)

    async def ours_to_go(self, *flags: str, limits: Limits | None = None) -> tuple[Channel, PeerProcess]:
        """A channel of ours and the Go server that it calls."""
        peer, address = await self.go_server(*flags)
        return await self.channel(address, limits=limits), peer


def case(test: Callable[Concatenate[World, Spec], Awaitable[None]]) -> Callable[..., None]:
    """Make a test of a coroutine whose first parameter is the world; it and all it started end in time."""

    @functools.wraps(test)
    def run(world: World, *args: Spec.args, **kwargs: Spec.kwargs) -> None:
        async def main() -> None:
            async with asyncio.timeout(_TEST_SECONDS), world.stack:
                await test(world, *args, **kwargs)

        asyncio.run(main())

    return run
