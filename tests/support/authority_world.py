"""A server's authorities with all that orders about them go through, and agents that a test plays."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from finial.core.bundle import Bundle
from finial.core.keys import KeyType
from finial.core.x509cert import Certificate
from finial.rpc import Channel, Method, RpcError, Server, StatusCode
from finial.runtime.clock import SystemClock
from finial.server.api import chain
from finial.server.api.authority_desk import Desk, Desks
from finial.server.api.bundle import BundleService
from finial.server.api.chain import Caller
from finial.server.api.entry import EntryService
from finial.server.api.fleet import Delivered, FleetService
from finial.server.api.localauthority import LocalAuthorityService
from finial.server.ca.issue import Authority
from finial.server.ca.kinds import JWT, WIT, A, authority_id_of
from finial.server.ca.offices import AuthorityPlan, KeyOffice, Office, RootOffice
from finial.server.ca.rotate import Rotation
from finial.server.ca.tokens import JWTSigner, WITSigner
from finial.server.fleet import Fleet
from finial.server.identity import ServerIdentity
from finial.server.policy import Role
from finial.server.store import nodes
from finial.server.store.authorities import SQLJournal
from finial.server.store.records import NodeRecord
from finial.wire.force import FORCE
from finial.wire.gen import spire_api_server_localauthority_v1 as authority_pb
from finial.wire.status import error_from
from support.clock import FixedChance, ManualClock
from support.fake_keys import MemoryKeyManager
from support.rpc import PATIENCE_SECONDS, socket_path
from support.server_api import Doorman
from support.server_store import DOMAIN, Stored, opened

Request = TypeVar("Request")
Reply = TypeVar("Reply")
T = TypeVar("T")

SERVICE = authority_pb.LocalAuthority

_HOUR = timedelta(hours=1)
_FASTER = 20


class HastyClock(ManualClock):
    """Goes by itself, and waits for one twentieth of what it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self._real = SystemClock()
        self._began = self._real.monotonic(), self._real.now()

    def now(self) -> datetime:
        return self._began[1] + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return (self._real.monotonic() - self._began[0]) * _FASTER

    async def sleep(self, duration: timedelta) -> None:
        await self._real.sleep(duration / _FASTER)


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """How far an entry has come, as a test says."""

    agent_id: str
    connected: bool = True
    revision: int = 0
    applied: float | None = None
    signed: float | None = None
    delivered: float | None = None
    current: bool = False
    trouble: str = ""


@dataclass
class FakeDeliveries:
    """Says of entries what a test says."""

    found: list[Delivery] = field(default_factory=list)
    more: int = 0

    def of(self, entry_id: str) -> tuple[Sequence[Delivered], int]:
        return self.found, len(self.found) + self.more


@dataclass
class AuthorityWorld:
    """What a test works with."""

    stored: Stored
    fleet: Fleet
    authority: Authority
    jwt: JWTSigner
    wit: WITSigner
    rotations: dict[str, Rotation[Any]]
    desks: Desks
    identity: ServerIdentity
    deliveries: FakeDeliveries
    doorman: Doorman
    channel: Channel
    socket: Path

    @property
    def clock(self) -> ManualClock:
        return self.stored.clock

    @property
    def bundle(self) -> Bundle:
        """The own one."""
        assert self.stored.index.bundle is not None
        return self.stored.index.bundle

    @property
    def sequence(self) -> int:
        """Of the own bundle."""
        return self.bundle.sequence

    @property
    def published(self) -> list[str]:
        """The IDs of the roots in the own bundle."""
        return self.keys("X509")

    def keys(self, kind: str) -> list[str]:
        """The IDs of the authorities of a kind in the own bundle."""
        return list(map(authority_id_of, self.rotations[kind].kind.published(self.bundle)))

    @property
    def signer(self) -> Certificate:
        """The root that is signed by at this moment."""
        assert self.authority.certificate is not None
        return self.authority.certificate

    def active(self, kind: str) -> str:
        """The ID of what is signed by at this moment."""
        active = self.rotations[kind].slots.active
        assert active is not None
        return active.authority_id

    async def attest(self, *names: str, ttl: timedelta = _HOUR) -> list[str]:
        """Have agents attested; their IDs."""
        ids = [f"spiffe://{DOMAIN}/spire/agent/test/{name}" for name in names]
        end = int((self.clock.now() + ttl).timestamp())
        for agent_id in ids:
            node = NodeRecord(seq=0, id=agent_id, attestation_type="test", serial="1", expires_at=end)
            await self.stored.store.write(lambda tx: nodes.put(tx, node))  # noqa: B023 - awaited at once
        return ids

    def connect(self, *agent_ids: str) -> None:
        """Let agents open their streams and be up to date, with one SVID of the active authority each."""
        for agent_id in agent_ids:
            self.fleet.joined(agent_id)
            self.fleet.has_bundle(agent_id, self.sequence)
            self.fleet.resting(agent_id, {authority_id_of(self.signer): 1})

    async def order(self, step: str, kind: str = "X509", authority_id: str = "", **more: object) -> Any:
        """Order a step of a kind; the reply."""
        request = getattr(authority_pb, f"{step}{kind}AuthorityRequest")
        named = {"authority_id": authority_id} if authority_id else {}
        return await self.call(getattr(SERVICE, f"{step}{kind}Authority"), request(**named), **more)

    async def disordered(
        self, step: str, kind: str = "X509", authority_id: str = "", **more: object
    ) -> tuple[StatusCode, str]:
        """The status and the text that the same is refused with."""
        try:
            reply = await self.order(step, kind, authority_id, **more)
        except RpcError as error:
            return error.code, error.message
        raise AssertionError(f"not refused: {reply}")

    async def state(self, kind: str = "X509") -> Any:
        """What the server says of its slots."""
        request = getattr(authority_pb, f"Get{kind}AuthorityStateRequest")()
        return await self.call(getattr(SERVICE, f"Get{kind}AuthorityState"), request)

    async def prepare(self, kind: str = "X509") -> str:
        """Order a successor; its ID."""
        found: str = (await self.order("Prepare", kind)).prepared_authority.authority_id
        return found

    async def activate(self, authority_id: str, kind: str = "X509", **more: object) -> str:
        """Order that the successor signs; its ID."""
        reply = await self.order("Activate", kind, authority_id, **more)
        found: str = reply.activated_authority.authority_id
        return found

    async def replace(self, kind: str = "X509") -> tuple[str, str]:
        """Have another authority sign, whatever the agents have; the ID of that, and of the one before."""
        old = self.active(kind)
        return await self.activate(await self.prepare(kind), kind, metadata=[FORCE]), old

    async def taint(self, authority_id: str, kind: str = "X509") -> None:
        """Order that everything is renewed that rests on an authority."""
        await self.order("Taint", kind, authority_id)

    async def revoke(self, authority_id: str, kind: str = "X509", **more: object) -> None:
        """Order that an authority is trusted no more."""
        await self.order("Revoke", kind, authority_id, **more)

    async def unrevoked(self, authority_id: str, kind: str = "X509") -> tuple[StatusCode, str]:
        """The status and the text that the same is refused with."""
        return await self.disordered("Revoke", kind, authority_id)

    async def call(self, method: Method[Request, Reply], request: Request, **more: object) -> Reply:
        """The reply to a unary call."""
        return await self.channel.unary(method, request, **more)  # type: ignore[arg-type]

    async def refused(
        self, method: Method[Request, Reply], request: Request, **more: object
    ) -> tuple[StatusCode, str]:
        """The status and the text that a unary call is refused with."""
        try:
            reply = await self.call(method, request, **more)
        except RpcError as error:
            return error.code, error.message
        raise AssertionError(f"not refused: {reply}")


def _rotation(stored: Stored, office: Office[A], chance: FixedChance) -> Rotation[A]:
    journal = SQLJournal(stored.store, DOMAIN, office.kind)
    return Rotation(office, journal=journal, keys=MemoryKeyManager(), clock=stored.clock, chance=chance)


@asynccontextmanager
async def authorities(
    path: Path, *, clock: ManualClock | None = None, without: Sequence[str] = ()
) -> AsyncIterator[AuthorityWorld]:
    """Authorities that are kept, and the services that orders come by, with this file as their database.

    Args:
        path: Of the database.
        clock: Its clock.
        without: Kinds of which no SVIDs are signed.
    """
    async with opened(path, clock=clock) as stored:
        chance, plan = FixedChance(), AuthorityPlan(ttl=24 * _HOUR, key_type=KeyType.EC_P256)
        authority = Authority(DOMAIN, clock=stored.clock, chance=chance)
        jwt, wit = JWTSigner(DOMAIN, clock=stored.clock), WITSigner(DOMAIN, clock=stored.clock)
        fleet = Fleet(stored.index, clock=stored.clock)
        identity = ServerIdentity(authority, stored.index, clock=stored.clock, chance=chance, ttl=_HOUR)
        offices: dict[str, Office[Any]] = {
            "X509": RootOffice(plan, authority, chance=chance, on_activated=identity.authority_changed),
            "JWT": KeyOffice(JWT, plan, jwt),
            "WIT": KeyOffice(WIT, plan, wit),
        }
        rotations = {
            kind: _rotation(stored, each, chance) for kind, each in offices.items() if kind not in without
        }
        for each in rotations.values():
            await each.start()
        identity.start()
        desk = partial(Desk, index=stored.index, fleet=fleet, clock=stored.clock)
        made = {kind: desk(each) for kind, each in rotations.items()}
        desks, deliveries = Desks(made["X509"], made.get("JWT"), made.get("WIT")), FakeDeliveries()
        doorman = Doorman(Caller(Role.LOCAL, "unix:1"))
        services = (
            LocalAuthorityService(desks),
            FleetService(stored.index, fleet, desks=desks, deliveries=deliveries),
            BundleService(stored.index, stored.store, fleet),
            EntryService(stored.index, stored.store, clock=stored.clock, chance=chance),
        )
        routes = chain.routes([each for one in services for each in one.endpoints()], doorman)
        address = socket_path()
        work = [identity.run(), *(each.run() for each in rotations.values())]
        tasks = [asyncio.ensure_future(each) for each in work]
        async with Server(routes, translate=error_from) as server, Channel(address) as channel:
            await server.listen(address)
            try:
                yield AuthorityWorld(
                    stored, fleet, authority, jwt, wit, rotations, desks, identity, deliveries, doorman,
                    channel, Path(address.path),
                )  # fmt: skip
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)


@dataclass
class AuthorityServer:
    """A world whose loop runs in a thread of its own, as commands bring theirs."""

    world: AuthorityWorld
    loop: asyncio.AbstractEventLoop

    @property
    def socket(self) -> Path:
        return self.world.socket

    def do(self, work: Callable[[AuthorityWorld], T]) -> T:
        """Do something in the world's own thread."""

        async def run() -> T:
            return work(self.world)

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(PATIENCE_SECONDS)

    def attest(self, *names: str) -> list[str]:
        """Have agents attested; their IDs."""
        done = asyncio.run_coroutine_threadsafe(self.world.attest(*names), self.loop)
        return done.result(PATIENCE_SECONDS)


@contextlib.contextmanager
def authority_server(path: Path, *, without: Sequence[str] = ()) -> Iterator[AuthorityServer]:
    """A server's authority whose time is in haste."""
    loop, stop, ready = asyncio.new_event_loop(), asyncio.Event(), threading.Event()
    found: list[AuthorityWorld] = []

    async def serve() -> None:
        async with authorities(path, clock=HastyClock(), without=without) as world:
            found.append(world)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert ready.wait(PATIENCE_SECONDS)
        yield AuthorityServer(found[0], loop)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(PATIENCE_SECONDS)
        loop.close()
