"""How long it takes until what an operator commits is at a workload, and until programs are there.

Method: a server, agents that join by token, and this process as a workload with a FetchX509SVID stream open
at each; SPIRE's and ours take turns. Entries are created by the API over the administration socket, one at a
time, and deleted when they have been seen. The moments are drawn at random, and pollers start at even
distances over their round, so that no phase of a round is met more often than another. Counted is from the
call of BatchCreateEntry (its commit included) until the SVID is on the stream.

An agent's start is counted from the start of its process, with a new token, an empty folder, and an entry
that waits for it, made either six seconds before, or just before. A server's is counted until it answers the
first call. An agent is ready when its health check says so: SPIRE's by HTTP, ours by gRPC.

Units: milliseconds, seconds, MiB of resident memory when all of this is over. The yardstick is SPIRE with its
defaults, whose agents and whose server's cache look for changes every five seconds.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from statistics import median

from bench.kernel import resident_mib
from bench.run import Bench, run
from bench.sides import Side, health_port
from bench.table import Row, percentile
from bench.watch import Watch, agent_serves, server_answers
from finial.wire.gen import spire_api_types as types
from support.dice import Dice
from support.site import AgentDaemon, ServerDaemon

_NODE = "/node"
_STANDING = "/standing"  # begins the path of the entry that an agent finds when it starts
_SETTLE_SECONDS = 6.0  # until SPIRE's server has loaded its cache of entries once more
_EMPTY, _READY = "server ready", "agent ready"
_FIRST, _FIRST_FRESH = "agent to first SVID", "the same, of an entry that is new"
_SERVER_MIB, _AGENT_MIB = "server MiB", "agent MiB"


@dataclass(frozen=True)
class Plan:
    """How much of everything.

    Args:
        visits: Servers of each side, one after another.
        starts: Agents of each server that are started only to be looked at.
        agents: Those that work, all at once.
        apart: Seconds between their starts.
        entries: Created for each of them.
        gap: Mean seconds between two of those.
    """

    visits: int
    starts: int
    agents: int
    apart: float
    entries: int
    gap: float


_THEIRS = Plan(visits=2, starts=2, agents=4, apart=1.25, entries=3, gap=5.0)
_OURS = Plan(visits=2, starts=2, agents=1, apart=0, entries=50, gap=0.25)
_QUICK = Plan(visits=1, starts=0, agents=1, apart=0, entries=3, gap=0.05)


@dataclass
class Figures:
    """Of one side.

    Args:
        delays: From the call to the stream, in seconds.
        others: By what was measured, in seconds or MiB.
    """

    delays: list[float] = field(default_factory=list)
    others: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def middle(self, name: str) -> float | None:
        """The median of what was measured under this name."""
        return median(self.others[name]) if self.others[name] else None

    def delay(self, part: float) -> float | None:
        """A percentile of the delays in milliseconds."""
        return 1000 * percentile(self.delays, part) if self.delays else None


async def _visit(bench: Bench, side: Side, plan: Plan, figures: Figures) -> None:
    server = side.server(bench.place())
    began = time.perf_counter()
    await server.launch()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(server.stop)
        figures.others[_EMPTY].append(await server_answers(server.socket) - began)
        await server.ready()
        await stack.enter_async_context(server.control)
        settled = [await _joining(bench, side, server) for _ in range(plan.starts)]
        if settled:
            await asyncio.sleep(_SETTLE_SECONDS)
        for agent in settled:
            async with _started(agent, figures, _FIRST):
                pass
        async with asyncio.TaskGroup() as tasks:
            for number in range(plan.agents):
                if number:
                    await asyncio.sleep(plan.apart)
                tasks.create_task(_work(await _joining(bench, side, server), plan, figures))
        figures.others[_SERVER_MIB].append(resident_mib(server.pid))


async def _joining(bench: Bench, side: Side, server: ServerDaemon) -> AgentDaemon:
    """An agent that has not started, and for which everything is prepared."""
    place = bench.place()
    node = f"{_NODE}/{place.name}"
    token, bundle = await server.control.token(agent=node), await server.bundle_file()
    await server.control.create(_entry(server, f"{_STANDING}/{place.name}", node))
    return side.agent(place, server=server, token=token, bundle=bundle)


def _entry(server: ServerDaemon, path: str, node: str) -> types.Entry:
    return server.control.entry(path, parent=node, selectors=[f"unix:uid:{os.getuid()}"])


@asynccontextmanager
async def _started(agent: AgentDaemon, figures: Figures, name: str) -> AsyncIterator[Watch]:
    """A running agent with a workload, both of which have got so far; how long that took is noted."""
    standing = f"spiffe://{agent.server.trust_domain}{_STANDING}/{agent.folder.name}"
    began = time.perf_counter()
    await agent.launch()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(agent.stop)
        watch = await stack.enter_async_context(Watch(agent.socket))
        ready, seen = await asyncio.gather(
            agent_serves(agent.socket, health_port(agent)), watch.seen(standing)
        )
        figures.others[_READY].append(ready - began)
        figures.others[name].append(seen - began)
        yield watch


async def _work(agent: AgentDaemon, plan: Plan, figures: Figures) -> None:
    dice = Dice(f"propagation {agent.name} {agent.folder.name}")
    async with _started(agent, figures, _FIRST_FRESH) as watch:
        async with asyncio.TaskGroup() as tasks:
            for number in range(plan.entries):
                await asyncio.sleep(2 * plan.gap * dice.fraction())
                tasks.create_task(_create(agent, watch, figures=figures, number=number))
        figures.others[_AGENT_MIB].append(resident_mib(agent.pid))


async def _create(agent: AgentDaemon, watch: Watch, *, figures: Figures, number: int) -> None:
    server = agent.server
    path = f"/new/{agent.folder.name}/{number}"
    entry = _entry(server, path, f"{_NODE}/{agent.folder.name}")
    began = time.perf_counter()
    ids = await server.control.create(entry)
    figures.delays.append(await watch.seen(f"spiffe://{server.trust_domain}{path}") - began)
    await server.control.delete(ids)


async def measure(bench: Bench) -> list[Row]:
    """All rows."""
    found = {True: Figures(), False: Figures()}
    plans = {True: _QUICK if bench.quick else _THEIRS, False: _QUICK if bench.quick else _OURS}
    for visit in range(max(plan.visits for plan in plans.values())):
        for side in bench.sides:
            bench.say(f"propagation, visit {visit + 1}: {side.name}")
            await _visit(bench, side, plans[side.stock], found[side.stock])
    theirs, ours = found[True], found[False]
    counted = f"n = {len(theirs.delays)} and {len(ours.delays)}"

    def middle(what: str, name: str, unit: str, goal: float | None) -> Row:
        times = f"medians, n = {len(theirs.others[name])} and {len(ours.others[name])}"
        return Row(what, unit, theirs.middle(name), ours.middle(name), goal, note=times)

    return [
        Row("entry created until on a stream, p50", "ms", theirs.delay(0.5), ours.delay(0.5), 20, 50,
            note=counted),
        Row("the same, p99", "ms", theirs.delay(0.99), ours.delay(0.99), 60, note=counted),
        middle("agent started (join token) until first SVID", _FIRST, "s", 0.5),
        middle("the same, its entry made just before", _FIRST_FRESH, "s", 0.5),
        middle("agent reports ready", _READY, "s", None),
        middle("server ready, empty", _EMPTY, "s", 0.5),
        middle("memory after it, server", _SERVER_MIB, "MiB", 80),
        middle("memory after it, agent", _AGENT_MIB, "MiB", 55),
    ]  # fmt: skip


if __name__ == "__main__":
    run(measure, __doc__)
