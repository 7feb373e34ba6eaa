"""An agent of a simulation: standing, book, polling and push are real; disk, attestor and line are not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Protocol, cast

from finial.agent.attest_node import Proof
from finial.agent.book import Book
from finial.agent.cache import Cache
from finial.agent.disk import Disk
from finial.agent.feed import Feed
from finial.agent.identity import Key, NodeIdentity
from finial.agent.intake import Intake
from finial.agent.link import Lease, Link
from finial.agent.node import Node, persist
from finial.agent.polling import Polling
from finial.agent.progress import Progress, Stage, Step
from finial.agent.pushed import Pushed
from finial.agent.replica import Replica, State, Taken
from finial.agent.report import Reporter
from finial.agent.sync import Sync
from finial.core.bundle import Bundle
from finial.core.errors import FinialError
from finial.core.ids import SpiffeID
from finial.rpc import Channel, Tcp
from finial.rpc.peer import Peer
from support import sim_authority
from support.dice import Dice
from support.sim_channel import SimChannel
from support.sim_clock import SimClock
from support.sim_net import Line, Net
from support.sim_server import ATTEST, RENEW
from support.sim_truth import DOMAIN

INTERVAL = timedelta(seconds=5)


class Looking(Protocol):
    """Looks at an agent whenever something has been put in force there."""

    def put_in_force(self, agent: SimAgent, state: State) -> None: ...
    def polled(self, agent: SimAgent) -> None: ...


class _NoDisk(Disk):
    """Keeps nothing: an agent that dies has lost everything."""

    def __init__(self) -> None: ...
    def store_identity(self, identity: NodeIdentity) -> None: ...
    def forget_identity(self) -> None: ...
    def store_bundle(self, bundle: Bundle) -> None: ...
    def attest_key(self) -> Key:
        return sim_authority.key("agent")


class _SimLink(Link):
    """The real link over simulated channels."""

    def __init__(self, net: Net, line: Line, bundle: Bundle) -> None:
        self._net = net
        self._line = line
        super().__init__(Tcp("servers", 1), bundle, net.clock)

    def _open(self, identity: NodeIdentity | None) -> Lease:
        shown = None if identity is None else sim_authority.proof(identity)
        peer = Peer(f"{self._line.name}:1", None, (), shown)
        channel = SimChannel(self._net, self._line, peer)
        return Lease(cast("Channel", channel), identity)


class _SimNode(Node):
    """The real node with another attestor."""

    agent_id: str

    async def _attest(self, patience: timedelta = timedelta(0)) -> None:
        async def once() -> NodeIdentity:
            async with self.link.anonymous() as channel:
                serial = await channel.unary(ATTEST, self.agent_id, timeout=timedelta(seconds=30))
            return sim_authority.identity(self.agent_id, serial, cast("SimClock", self._clock))

        fresh = await persist(once, self.link, clock=self._clock, chance=self._chance, patience=patience)
        self._adopt(fresh)

    async def _ask(self, agent_id: SpiffeID) -> NodeIdentity:
        async with self.link.use() as lease:
            serial = await lease.channel.unary(RENEW, agent_id.text, timeout=timedelta(seconds=30))
        return sim_authority.identity(self.agent_id, serial, cast("SimClock", self._clock))


class _SimIntake(Intake):
    """The real intake; what it has put in force is looked at at once."""

    looked: Callable[[State], None]
    looked_at_poll: Callable[[], None]

    def pushed(self, taken: Taken, replica: Replica) -> None:
        super().pushed(taken, replica)
        state = replica.state
        assert state is not None
        self.looked(state)

    def polled(self, *args: Any) -> None:
        super().polled(*args)
        self.looked_at_poll()


class SimAgent:
    """One agent, from one start to its end.

    Args:
        agent_id: Whole URI.
        net: Its network.
        line: Its own.
        dice: Its chance.
        looking: Is told of what it puts in force.
    """

    def __init__(self, agent_id: str, net: Net, line: Line, dice: Dice, looking: Looking) -> None:
        self.id = agent_id
        self.clock = net.clock
        self.line = line
        self.progress = Progress()
        clock = net.clock
        first = sim_authority.bundle(DOMAIN.name, frozenset({0}), frozenset(), 0)
        self.book = Book(first)
        self.cache = Cache(self.book, clock, self.progress)
        self.link = _SimLink(net, line, first)
        self.node = _SimNode(
            _NoDisk(),
            self.link,
            Proof("sim", cast("Any", None)),
            clock=clock,
            chance=dice,
            serving_until=self.book.last_end,
            drop=self.cache.wipe,
        )
        self.node.agent_id = agent_id
        intake = _SimIntake(self.node, self.cache, clock=clock)
        intake.looked = lambda state: self._looked(looking, state)
        intake.looked_at_poll = lambda: looking.polled(self)
        self.pushed = Pushed(intake, clock=clock)
        reporter = Reporter(self.node, self.book, self.progress, clock=clock)
        feed = Feed(self.link, self.pushed, reporter, clock=clock, chance=dice)
        self.sync = Sync(
            self.node,
            feed,
            Polling(intake),
            intake=intake,
            clock=clock,
            chance=dice,
            interval=INTERVAL,
        )
        self.error: FinialError | None = None
        self.fault: BaseException | None = None
        self._task = asyncio.get_running_loop().create_task(self._run())

    @property
    def running(self) -> bool:
        """Whether it has not ended, by itself or otherwise."""
        return not self._task.done()

    async def _run(self) -> None:
        try:
            await self.node.join(None)
            async with asyncio.TaskGroup() as group:
                for service in (self.node.keep(), self.sync.run(), self.cache.keep()):
                    group.create_task(service)
        except* FinialError as errors:
            self.error = next(error for error in errors.exceptions if isinstance(error, FinialError))
        except* Exception as errors:  # noqa: BLE001 - kept for the test
            self.fault = errors.exceptions[0]

    def _looked(self, looking: Looking, state: State) -> None:
        """Do as if everything had been signed, so that there is something to report."""
        for entry in list(self.book.entries.values())[:3]:
            self.progress.note(Step(entry.id, entry.revision, Stage.SIGNED))
        looking.put_in_force(self, state)

    async def kill(self) -> None:
        """End it without any goodbye; whatever it held is lost."""
        for connection in list(self.line.connections):
            connection.client_left()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self.link.close()
