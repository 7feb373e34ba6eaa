"""A simulation: servers over one file, agents, lines between them; what is done, and what must hold."""

from __future__ import annotations

import asyncio
import gc
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

from finial.agent.replica import State
from finial.core.errors import FinialError
from finial.server.store.writer import Tx
from support import sim_ops
from support.dice import Dice
from support.sim_agent import SimAgent
from support.sim_checks import Noting, bounds, check_index, differences, is_ahead, why_gone
from support.sim_clock import SimClock, at_rest
from support.sim_monitor import Monitor, Told
from support.sim_net import Line, Net
from support.sim_ops import AGENTS, SELECTORS, Op
from support.sim_server import SimServer
from support.sim_truth import History, Moment, read

_LONGEST_QUIET = timedelta(minutes=20)
_LOOK_EVERY = timedelta(seconds=1)
_HEARTBEATS, _PROMPT = 13, 4  # looks
_BACK = 20  # looks; an agent that is turned away twice within seconds waits for up to 15
_FIRST_SELECTORS = ((0, 1), (0,), (1, 2))


class World:
    """Everything that is simulated.

    Args:
        folder: For the file and its copies.
        seed: Draws delays and chances.
        servers: How many there are; one alone, or two that share the file.
    """

    def __init__(self, folder: Path, seed: int, *, servers: int) -> None:
        self.path = folder / "server.db"
        self.clock = SimClock()
        self.history = History()
        self.monitor = Monitor(self.clock, self.history)
        self.trace: list[str] = []
        self.servers: list[SimServer | None] = [None, None]
        self.agents: list[SimAgent | None] = [None] * len(AGENTS)
        self.calm = False
        """Whether nothing is wrong anywhere, so that a change arrives soon."""
        self._dice = Dice(f"{seed}")
        self.net = Net(self.clock, self._dice.child("net"), self.monitor)
        self.lines = [Line(f"a{number}") for number in range(len(AGENTS))]
        self.several = servers > 1
        self._copy = folder / "copy.db"
        self._selectors = {
            AGENTS[number]: tuple(SELECTORS[each] for each in given)
            for number, given in enumerate(_FIRST_SELECTORS)
        }
        self._serial = 100
        self._faults: list[str] = []
        self._at: dict[SimAgent, tuple[int, int]] = {}
        self._restarts = 0

    def abandon(self) -> None:
        """Leave no thread behind, whatever has happened, and no garbage."""
        for server in filter(None, self.servers):
            server.kill()
        gc.unfreeze()  # what an index has loaded, which a process does once and a simulated one at each start

    # What servers and agents find here.

    def selectors_of(self, agent_id: str) -> tuple[Any, ...]:
        return self._selectors[agent_id]

    def serial(self) -> int:
        self._serial += 1
        return self._serial

    def applied(self, server: SimServer) -> None:
        """An index has taken something in: it is what the rows were at that moment."""
        moment = self.history.at(server.timeline, server.index.position)
        with self._noting(f"server {server.number}"):
            check_index(server, moment)

    def put_in_force(self, agent: SimAgent, state: State) -> None:
        """An agent has applied a change: it is the truth of the moment that the state tells of."""
        told = self.monitor.told.get((agent.id, state.epoch, state.seq), [])
        with self._noting(agent.id):
            assert told, f"it stands at {state.seq}, of which no server has told it"
            wrong = [self._differs(agent, each, state.seq) for each in told]
            assert not all(wrong), f"at {state.seq}: {wrong[-1]}"
            timeline = max(each.timeline for each, why in zip(told, wrong, strict=True) if not why)
            before = self._at.get(agent, (0, 0))
            assert (timeline, state.seq) >= before, f"it went back from {before} to {timeline, state.seq}"
            self._at[agent] = timeline, state.seq
            assert not agent.pushed.mismatches.value, "its sums were others than the server's"

    def _differs(self, agent: SimAgent, told: Told, seq: int) -> str:
        moment = self.history.at(told.timeline, seq)
        found = [differences(agent, each) for each in moment.any_allowed(agent.id, told.walls)]
        return "" if "" in found else found[-1]

    def polled(self, agent: SimAgent) -> None:
        """Nothing can be said of a moment: entries and bundles are not of the same one."""
        self.monitor.count("poll")

    def _noting(self, where: str) -> Any:
        return Noting(self._faults, where)

    def note(self, text: str) -> None:
        self.trace.append(f"{self.clock.monotonic() - 1_000:9.3f} {text}")

    # Coming and going.

    async def begin(self) -> None:
        """Start everything, with bundles and a few entries."""
        await self.start_server(0)
        await self.do(0, [sim_ops.SetBundle(0, frozenset({0})), sim_ops.SetBundle(1, frozenset({0}))])
        await self.do(0, [sim_ops.Create(sim_ops.FIRST)])
        if self.several:
            await self.start_server(1)
        for number in range(len(AGENTS)):
            self.start_agent(number)

    async def end(self) -> None:
        """Stop everything; no task is left."""
        for number in range(len(AGENTS)):
            await self.kill_agent(number)
        for number in range(len(self.servers)):
            await self.kill_server(number)
        await self.clock.advance(timedelta(hours=2))  # timers run out
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"tasks are left: {left}"

    def server(self, number: int) -> SimServer | None:
        """A server that runs: this one, or the other."""
        order = (self.servers[number], self.servers[1 - number])
        return next((server for server in order if server is not None), None)

    async def start_server(self, number: int) -> None:
        if self.servers[number] is not None or (number and not self.several):
            return
        self._restarts += 1
        dice = self._dice.child(f"server {number} {self._restarts}")
        server = SimServer(self, number, dice, alone=not self.several)
        await server.open()
        self.servers[number] = server
        self.net.hosts[number] = server
        self.applied(server)

    async def kill_server(self, number: int) -> None:
        server, self.servers[number] = self.servers[number], None
        if server is None:
            return
        self.calm = False
        server.check_services()
        server.kill()
        for line in self.lines:
            for connection in list(line.connections):
                if connection.host is server:
                    connection.server_died()
        await at_rest()

    def start_agent(self, number: int) -> None:
        if self.agents[number] is None:
            self._restarts += 1
            dice = self._dice.child(f"agent {number} {self._restarts}")
            self.agents[number] = SimAgent(AGENTS[number], self.net, self.lines[number], dice, self)
            self.calm = False

    async def kill_agent(self, number: int) -> None:
        agent, self.agents[number] = self.agents[number], None
        if agent is not None:
            await agent.kill()

    # What operators do.

    async def do(self, number: int, ops: Sequence[Op], *, dies: bool = False) -> None:
        """Do things at a server, as one transaction; a server that dies has committed them and no more."""
        server = self.server(number)
        if server is None:
            return
        self._prepare(ops)
        server.deaf = dies
        tasks = [asyncio.ensure_future(server.store.write(_unit(op))) for op in ops]
        with server.store.together():
            await asyncio.sleep(0)  # noqa: TID251 - all of them ask
        if dies:
            await self.kill_server(server.number)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for op, result in zip(ops, results, strict=True):
            if isinstance(result, BaseException) and not isinstance(result, FinialError):
                raise result
            self.note(f"server {server.number}: {op}: {result}" + (", and dies" if dies else ""))

    def _prepare(self, ops: Sequence[Op]) -> None:
        for op in ops:
            if isinstance(op, sim_ops.Select):
                self._selectors[AGENTS[op.agent]] = tuple(SELECTORS[each] for each in sorted(op.selectors))

    async def follow(self, number: int) -> None:
        server = self.servers[number]
        if server is not None:
            await server.store.follow()

    def copy(self) -> None:
        """Keep a copy of the database as it is now."""
        self._copy.unlink(missing_ok=True)
        with closing(sqlite3.connect(self.path)) as source, closing(sqlite3.connect(self._copy)) as target:
            source.backup(target)

    async def restore(self) -> None:
        """Put the copy back while no server runs; then one runs, alone."""
        if not self._copy.exists():
            return
        for number in range(len(self.servers)):
            await self.kill_server(number)
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)
        shutil.copy(self._copy, self.path)
        self.history.begin_timeline()
        self.several = False
        for line in self.lines:
            line.to = 0
        await self.start_server(0)

    async def share(self) -> None:
        """Have two servers from now on."""
        if not self.several:
            await self.kill_server(0)
            self.several = True
            await self.start_server(0)
            await self.start_server(1)

    # What must hold.

    async def quiet(self) -> None:
        """Mend everything, wait, and compare: everybody holds what is so."""
        await self._mend()
        waited, complaints = timedelta(0), ["nobody has looked"]
        while complaints:
            assert waited < _LONGEST_QUIET, f"it does not come to an end: {complaints}"
            await self.clock.advance(_LOOK_EVERY)
            waited += _LOOK_EVERY
            await self._follow_all()
            await self._revive()
            self.check()
            complaints = list(self.complaints())
        self.note(f"quiet after {waited.total_seconds():g} s")
        # Some may still find out that they are cut, or move to another connection.
        every = [connection for line in self.lines for connection in line.connections]
        moving = any(len(agent.link._leases) > 1 for agent in filter(None, self.agents))
        self.calm = not moving and not any(each.up.cut or each.draining for each in every)

    async def heartbeats(self) -> None:
        """Let all streams be silent for long enough to say so."""
        calm, hellos, leases = self.calm, self.monitor.counts.get("hello", 0), self._leases()
        await self._let_pass(_HEARTBEATS, timedelta(seconds=10))
        await self._stays()
        self.check_figures()
        if calm and leases == self._leases():
            assert self.monitor.counts.get("hello", 0) == hellos, "a stream did not last"

    def _leases(self) -> list[object]:
        return [agent.link._lease for agent in filter(None, self.agents)]

    async def prompt(self, ops: Sequence[Op]) -> None:
        """Where nothing is wrong, what has been done has arrived soon."""
        await self._revive()
        evicted = any(isinstance(op, sim_ops.Evict) for op in ops)
        await self._let_pass(_BACK if evicted else _PROMPT, _LOOK_EVERY)
        await self._stays()

    async def _let_pass(self, times: int, duration: timedelta) -> None:
        """Let time pass, with servers that follow each other."""
        for _ in range(times):
            await self._follow_all()
            await self.clock.advance(duration)
            await self._follow_all()
            self.check()

    async def _follow_all(self) -> None:
        for number in range(len(self.servers)):
            await self.follow(number)

    def check_figures(self) -> None:
        """What servers say of their agents is so, where everything is at rest."""
        truth, now = self.truth(), self.clock.now().timestamp()
        for server in filter(None, self.servers):
            for entry_id in truth.entries:
                told, _ = server.deliveries.of(entry_id)
                expected = {each for each in AGENTS if entry_id in truth.allowed(each, now).rows}
                assert {each.agent_id for each in told} == expected, f"who may serve {entry_id}"
                late = [each.agent_id for each in told if each.connected and not each.current]
                assert not late, f"{late} hold {entry_id} as it is, and figures say otherwise"

    async def _stays(self) -> None:
        while self._ends_now():
            await self._let_pass(1, _LOOK_EVERY)
        complaints = list(self.complaints())
        if complaints:  # something may be under way, such as a renewal
            await self._let_pass(1, _LOOK_EVERY)
            complaints = list(self.complaints())
        assert not complaints, complaints

    def _ends_now(self) -> bool:
        """Whether an entry ends at this very moment, or has just ended, so that not everybody knows yet."""
        now = self.clock.now().timestamp()
        return any(now - 1 <= row.expires_at <= now + 0.01 for row in self.truth().entries.values())

    async def _mend(self) -> None:
        for number in range(2 if self.several else 1):
            await self.start_server(number)
        for line in self.lines:
            line.closed = False
            line.stall(on=False)
            line.to = line.to if self.servers[line.to] is not None else 0
        for server in self.servers:
            if server is not None:
                server.pushes = True

    async def _revive(self) -> None:
        """Start agents anew that have given up, and that are not banned."""
        truth = self.truth()
        for number, agent in enumerate(self.agents):
            node = truth.nodes.get(AGENTS[number])
            banned = node is not None and node.banned
            if agent is not None and not agent.running and not banned:
                assert agent.error is not None, agent.fault
                await self.kill_agent(number)
                self.start_agent(number)

    def truth(self) -> Moment:
        """What the file says now, read past all stores."""
        with closing(sqlite3.connect(self.path)) as connection:
            return read(connection)

    def complaints(self) -> Iterator[str]:
        """What is not yet as it has to be."""
        truth, now = self.truth(), self.clock.now().timestamp()
        for server in filter(None, self.servers):
            if server.index.position != truth.position:
                yield f"server {server.number} is at {server.index.position} of {truth.position}"
            else:
                check_index(server, truth)
            if server.hub.behind():
                yield f"server {server.number} waits for agents"
        for agent in filter(None, self.agents):
            if not agent.running:
                why = why_gone(agent, truth)
            elif not truth.admitted(agent.id):
                why = "it runs and is not admitted"
            elif agent.sync.polls:
                why = "it polls"
            elif not agent.pushed.live.is_set():
                why = "it is not subscribed"
            elif is_ahead(agent, truth):
                why = "it has seen what is not there any more"
            else:
                why = differences(agent, truth.allowed(agent.id, now))
            if why:
                yield f"{agent.id}: {why}"

    def check(self) -> None:
        """What holds at every moment."""
        faults = [*self.monitor.faults, *self._faults]
        for agent in filter(None, self.agents):
            if agent.fault is not None:
                raise agent.fault
        for server in filter(None, self.servers):
            server.check_services()
            faults += [*bounds(server), *self._boasts(server)]
        assert not faults, faults[0]
        for timeline, epochs in enumerate(self.history.epochs):
            most = 2 if timeline else 1
            assert len(epochs) <= most, f"timeline {timeline} has had the epochs {epochs}"

    def _boasts(self, server: SimServer) -> Iterator[str]:
        """No agent is said to have an own bundle that is not in force there."""
        for agent in filter(None, self.agents):
            known, has = server.fleet._agents.get(agent.id), agent.book.bundle.sequence
            here = self._at.get(agent, (-1, 0))[0] == server.timeline and agent.running
            if known is not None and known.streams and here and known.sequence > has:
                yield f"{agent.id} has bundle {has}, and is said to have {known.sequence}"


def _unit(op: Op) -> Callable[[Tx], object]:
    return op.run
