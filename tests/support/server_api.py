"""The Entry and Bundle services of a server on a real store, called over a real connection."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from finial.core.ids import SpiffeID
from finial.core.selectors import Selector
from finial.rpc import Channel, Method, Peer, RpcError, Server, StatusCode
from finial.server.api import chain
from finial.server.api.bundle import BundleService
from finial.server.api.chain import Caller
from finial.server.api.entry import EntryService
from finial.server.policy import Role
from finial.server.store import nodes
from finial.server.store.records import NodeRecord
from finial.wire.status import error_from
from support.clock import FixedChance, ManualClock
from support.rpc import socket_path
from support.server_store import Stored, opened

Request = TypeVar("Request")
Reply = TypeVar("Reply")

AGENT = SpiffeID("spiffe://example.org/spire/agent/join_token/t")


@dataclass
class Doorman:
    """Admits everybody as whom a test says."""

    caller: Caller

    async def admit(self, peer: Peer, path: str) -> Caller:
        return self.caller


@dataclass
class Served:
    """What a test works with."""

    world: Stored
    channel: Channel
    doorman: Doorman

    async def call(self, method: Method[Request, Reply], request: Request) -> Reply:
        """The reply to a unary call."""
        return await self.channel.unary(method, request)

    async def refused(self, method: Method[Request, Reply], request: Request) -> tuple[StatusCode, str]:
        """The status and the text that a unary call is refused with."""
        try:
            reply = await self.channel.unary(method, request)
        except RpcError as error:
            return error.code, error.message
        raise AssertionError(f"not refused: {reply}")

    async def attest(self, *selectors: str) -> None:
        """Have the agent attested, with these selectors, and be it from now on."""
        found = tuple(map(Selector.parse, selectors))
        node = NodeRecord(
            seq=0, id=AGENT.text, attestation_type="join_token", serial="1", expires_at=0, selectors=found
        )
        await self.world.store.write(lambda tx: nodes.put(tx, node))
        self.doorman.caller = Caller(Role.AGENT, "192.0.2.1", AGENT)


@asynccontextmanager
async def served(path: Path, *, clock: ManualClock | None = None) -> AsyncIterator[Served]:
    """Both services, with this file as their database."""
    async with opened(path, clock=clock) as world:
        entries = EntryService(world.index, world.store, clock=world.clock, chance=FixedChance())
        bundles = BundleService(world.index, world.store)
        doorman = Doorman(Caller(Role.LOCAL, "unix:1"))
        routes = chain.routes([*entries.endpoints(), *bundles.endpoints()], doorman)
        address = socket_path()
        async with Server(routes, translate=error_from) as server, Channel(address) as channel:
            await server.listen(address)
            yield Served(world, channel, doorman)
