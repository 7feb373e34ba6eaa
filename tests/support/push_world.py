"""The server's half of push over a real connection, on a real index."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

from finial.core.bundle import Bundle
from finial.core.entry import RegistrationEntry
from finial.core.ids import SpiffeID, TrustDomain
from finial.core.selectors import Selector
from finial.core.setdigest import mark_of, to_bytes
from finial.rpc import Channel, Limits, Peer, Server
from finial.server.api import chain
from finial.server.api.chain import Caller
from finial.server.api.push import PushService
from finial.server.index.index import Index
from finial.server.policy import Role
from finial.server.push.delivery import Deliveries, Observers
from finial.server.push.failover import Failover
from finial.server.push.ground import Ground
from finial.server.push.hub import Hub
from finial.server.push.turns import AT_ONCE, LARGE, Turns
from finial.server.store.records import (
    BundleRecord,
    Change,
    ChangeKind,
    EntryRecord,
    NodeRecord,
)
from finial.server.store.snapshot import Snapshot
from finial.server.store.writer import Store
from finial.wire import bundles, entryframes
from finial.wire.gen import finial_api_server_push_v1 as push_pb
from finial.wire.status import error_from
from finial.wire.statuses import Denial, denied
from support.clock import FixedChance, ManualClock
from support.push_agent import DOMAIN, Agent
from support.rpc import eventually, socket_path

AGENT = "spiffe://example.org/spire/agent/join_token/a"
OTHER = "spiffe://example.org/spire/agent/join_token/b"
SERVER = "spiffe://example.org/spire/server"

T = TypeVar("T")


def a_record(name: str, *, seq: int, parent: str = AGENT, **more: object) -> EntryRecord:
    """An entry as the index has it; its id and its path are its name."""
    values: dict[str, Any] = {
        "id": name,
        "spiffe_id": SpiffeID(f"spiffe://example.org/{name}"),
        "parent_id": SpiffeID(parent),
        "selectors": (Selector("unix", "uid:0"),),
        "created_at": datetime(2026, 1, 1, tzinfo=UTC),
        **more,
    }
    entry = RegistrationEntry(**values)
    kept = entryframes.keep(entry)
    return EntryRecord(
        seq=seq,
        id=name,
        spiffe_id=entry.spiffe_id.text,
        parent_id=parent,
        data=kept.data,
        masked=kept.masked,
        revision=entry.revision,
        created_at=1,
        expires_at=0 if entry.expires_at is None else int(entry.expires_at.timestamp()),
        admin=False,
        downstream=False,
        federates=tuple(domain.name for domain in entry.federates_with),
    )


def a_node(agent_id: str = AGENT, *, seq: int = 1, serial: str = "1", selectors: str = "") -> NodeRecord:
    """A node as the index has it; without a serial number it is banned."""
    found = (Selector.parse(selectors),) if selectors else ()
    return NodeRecord(
        seq=seq, id=agent_id, attestation_type="join_token", serial=serial, expires_at=0, selectors=found
    )


def a_bundle(name: str = "example.org", *, sequence: int = 1) -> BundleRecord:
    """A bundle as the index has it."""
    bundle = Bundle(trust_domain=TrustDomain(name), sequence=sequence)
    return BundleRecord(seq=sequence, bundle=bundle, data=bundles.encode(bundle))


@dataclass
class FakeFleet:
    """Notes what it is told."""

    streams: dict[str, int] = field(default_factory=dict)
    sequences: list[tuple[str, int]] = field(default_factory=list)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)

    def joined(self, agent_id: str) -> None:
        self.streams[agent_id] = self.streams.get(agent_id, 0) + 1

    def left(self, agent_id: str) -> None:
        self.streams[agent_id] -= 1

    def has_bundle(self, agent_id: str, sequence: int) -> None:
        self.sequences.append((agent_id, sequence))

    def resting(self, agent_id: str, counts: Mapping[str, int]) -> None:
        self.counts[agent_id] = dict(counts)


class FakeStore:
    """Has neighbours, unless a test says that it is alone; then it draws epochs, and may fail."""

    def __init__(self) -> None:
        self.alone = False
        self.epochs: list[str] = []
        self.error: Exception | None = None

    async def write(self, work: Callable[[Any], T]) -> T:
        if self.error is not None:
            raise self.error
        return work(self)

    @property
    def sql(self) -> Any:
        return self

    def execute(self, statement: Any) -> None:
        self.epochs.append(statement.compile().params["value"])


@dataclass
class Metric:
    """What was observed."""

    applied: list[float] = field(default_factory=list)
    signed: list[float] = field(default_factory=list)
    delivered: list[float] = field(default_factory=list)

    @property
    def observers(self) -> Observers:
        return Observers(self.applied.append, self.signed.append, self.delivered.append)


class World:
    """A server that pushes, without a store: tests change the index."""

    def __init__(self, clock: ManualClock | None = None) -> None:
        self.clock = clock or ManualClock()
        self.chance = FixedChance()
        self.index = Index(DOMAIN)
        nodes = (a_node(), a_node(OTHER, seq=2))
        self.index.load(Snapshot((), nodes, (a_bundle(),), 10, "e1"))
        self.store = FakeStore()
        self.fleet = FakeFleet()
        self.metric = Metric()
        self.hub = Hub(self.clock)
        self.deliveries = Deliveries(self.index, self.hub, clock=self.clock, observers=self.metric.observers)
        self.index.subscribe(self.deliveries.changed)
        self.ground = Ground(
            index=self.index,
            hub=self.hub,
            turns=Turns(self.clock, self.chance),
            failover=Failover(self.index, cast("Store", self.store), clock=self.clock, chance=self.chance),
            deliveries=self.deliveries,
            fleet=self.fleet,
            clock=self.clock,
            chance=self.chance,
        )
        self.agent_id = AGENT
        self.admitted = 0
        self.expires_at: datetime | None = None
        self._seq = 100

    # What a test changes.

    def change(self, *changes: Change) -> None:
        """Have something committed."""
        self.index.apply(changes, self.index.position + len(changes))

    def record(self, name: str, **more: Any) -> EntryRecord:
        """An entry that is new, or takes the place of the one with its name."""
        old = self.index.entries.get(name)
        self._seq += 1
        return a_record(name, seq=self._seq if old is None else old.seq, **more)

    def put(self, *names: str, **more: Any) -> None:
        """Have entries created or changed, in one transaction."""
        records = [self.record(name, **more) for name in names]
        self.change(*(Change(ChangeKind.ENTRY, record.id, record) for record in records))

    def remove(self, *names: str) -> None:
        """Have entries deleted."""
        self.change(*(Change(ChangeKind.ENTRY, name, None) for name in names))

    def node(self, node: NodeRecord) -> None:
        """Have a node changed."""
        self.change(Change(ChangeKind.NODE, node.id, node))

    def ban(self, agent_id: str = AGENT) -> None:
        """Have an agent banned."""
        self.node(a_node(agent_id, serial=""))

    def bundle(self, name: str = "example.org", *, sequence: int = 1) -> None:
        """Have a bundle set."""
        self.change(Change(ChangeKind.BUNDLE, name, a_bundle(name, sequence=sequence)))

    def no_bundle(self, name: str) -> None:
        """Have a bundle deleted."""
        self.change(Change(ChangeKind.BUNDLE, name, None))

    # What the server asks.

    async def admit(self, peer: Peer, path: str) -> Caller:
        """Admit the agent that a test is."""
        agent_id = self.agent_id
        self.admitted += 1

        def recheck() -> None:
            node = self.index.nodes.get(agent_id)
            if node is None or node.banned:
                raise denied(Denial.AGENT_BANNED, "banned")
            if self.expires_at is not None and self.clock.now() >= self.expires_at:
                raise denied(Denial.AGENT_EXPIRED, "expired")

        return Caller(
            Role.AGENT, "192.0.2.1", SpiffeID(agent_id), recheck=recheck, expires_at=self.expires_at
        )

    @property
    def truth(self) -> dict[str, bytes]:
        """Marks of what the agent may serve now."""
        now = self.clock.now().timestamp()
        records = self.index.authorized(self.agent_id, now)
        return {record.id: to_bytes(mark_of(record.data)) for record in records}


class Site:
    """A server that runs, and agents that call it."""

    def __init__(self, world: World, server: Server, channel: Channel, stack: AsyncExitStack) -> None:
        self.world = world
        self.server = server
        self.channel = channel
        self._stack = stack

    async def agent(self, agent_id: str = AGENT) -> Agent:
        """A stream that has said nothing yet; it lasts as long as the test."""
        self.world.agent_id = agent_id
        before = self.world.admitted
        call = await self._stack.enter_async_context(self.channel.call(push_pb.Push.Subscribe))
        await eventually(lambda: self.world.admitted > before)
        return Agent(call)

    async def synced(self, agent_id: str = AGENT) -> Agent:
        """A stream of an agent that has everything, which the server knows."""
        agent = await self.agent(agent_id)
        await agent.hello()
        await agent.change()
        stream = self.world.hub.stream(agent_id)
        assert stream is not None
        await eventually(lambda: stream.behind_since is None)
        return agent

    @asynccontextmanager
    async def all_turns(self) -> AsyncIterator[None]:
        """Others have all the turns for large transfers."""
        async with AsyncExitStack() as stack:
            for _ in range(AT_ONCE):
                await stack.enter_async_context(self.world.ground.turns.turn(LARGE + 1))
            yield


@asynccontextmanager
async def pushing(world: World | None = None, *, limits: Limits | None = None) -> AsyncIterator[Site]:
    """A server that pushes, over a Unix socket."""
    world = world or World()
    routes = chain.routes(PushService(world.ground).endpoints(), world)
    address = socket_path()
    async with (
        Server(routes, translate=error_from) as server,
        Channel(address, limits=limits) as channel,
        AsyncExitStack() as stack,
    ):
        await server.listen(address)
        yield Site(world, server, channel, stack)
