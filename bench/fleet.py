"""What a thousand connected agents cost a server while nothing changes, and what it costs when they come.

Method: one process is all the agents (`bench.agents`): each attests with our agent's code, keeps a connection
of its own with mutual TLS, and either polls as SPIRE's agents do (SyncAuthorizedEntries and GetBundle every
five seconds, spread evenly) or follows our push and acknowledges. Each has five entries. Counted is the
server process alone: its processor time, from the kernel's books, and its resident memory. First attestation
by join token and the first connection of each agent, then a while in which nothing changes.

Then a hundred thousand entries under one alias that all thousand nodes match by a selector: twenty agents
that hold nothing get everything, the others resume with the state that the first one got, which is right for
them too. Printed are the bytes of messages that each agent received.

Units: milliseconds of processor time for each agent, per cent of one core, MiB, bytes. The yardstick is
SPIRE's server with its defaults but for rate limits.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from bench.kernel import Meter, peak_mib, reset_peak, resident_mib
from bench.run import Bench, add_to_path, run
from bench.sides import Finial, Side, leash
from bench.table import Row
from support import racked
from support.interop_process import Answer, PeerProcess
from support.site import ServerDaemon

_POLL_SECONDS = 5.0
_SETTLE_SECONDS = 10.0
_PATIENCE = 180.0
_AT_ONCE = 16
_ALIAS, _SELECTOR = "/cluster", "rack:zone"
_ABSENT = "there is no push in this server"


@dataclass(frozen=True)
class Plan:
    """How much of everything.

    Args:
        agents: How many.
        entries: Of each.
        seconds: Of polling in which nothing changes.
        push_seconds: Of push; long enough for each agent's heartbeat.
        shared: Entries under the one alias.
        whole: Agents that get all of those.
    """

    agents: int = 1_000
    entries: int = 5
    seconds: float = 30.0
    push_seconds: float = 60.0
    shared: int = 100_000
    whole: int = 20


_QUICK = Plan(agents=20, entries=2, seconds=1.0, push_seconds=1.0, shared=500, whole=2)


@dataclass
class Costs:
    """What a server spent; None where it was not seen."""

    attest_ms: float | None = None
    attests_a_second: float | None = None
    joined_ms: float | None = None
    idle_percent: float | None = None
    idle_mib: float | None = None


@asynccontextmanager
async def agents() -> AsyncIterator[PeerProcess]:
    """The process that is all agents."""
    command = [*leash(), sys.executable, "-m", "bench.agents"]
    async with PeerProcess(*command, hello=True, patience=_PATIENCE) as process:
        yield process


async def tokens(server: ServerDaemon, count: int) -> list[str]:
    """So many join tokens."""
    found: list[str] = []

    async def work() -> None:
        while len(found) < count:
            found.append("")
            at = len(found) - 1
            found[at] = await server.control.token()

    await asyncio.gather(*(work() for _ in range(_AT_ONCE)))
    return found


async def join(fleet: PeerProcess, server: ServerDaemon, nodes: Sequence[Sequence[str]]) -> Answer:
    """Let these nodes attest, by a join token each or by what a rack says of itself."""
    bundle = str(await server.bundle_file())
    return await fleet.order("join", address=server.address, bundle=bundle, nodes=nodes)


async def _register(server: ServerDaemon, parents: Sequence[str], each: int) -> None:
    control = server.control
    entries = [
        control.entry(f"/workload/{at}/{number}", parent=parent, selectors=[f"unix:uid:{10_000 + number}"])
        for at, parent in enumerate(parents)
        for number in range(each)
    ]
    await control.create(*entries)


async def _idle(server: ServerDaemon, seconds: float, costs: Costs) -> None:
    await asyncio.sleep(min(seconds, _SETTLE_SECONDS))
    meter = Meter(server.pid)
    await asyncio.sleep(seconds)
    costs.idle_percent = meter.percent
    costs.idle_mib = resident_mib(server.pid)


async def _connected(bench: Bench, side: Side, plan: Plan, *, push: bool) -> Costs:
    """Everything with a fleet that has a few entries each."""
    bench.say(f"{plan.agents} agents: {side.name}, {'push' if push else 'polling'}")
    costs = Costs()
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(bench.server(side))
        fleet = await stack.enter_async_context(agents())
        nodes = await tokens(server, plan.agents)
        await _register(server, [f"/spire/agent/join_token/{token}" for token in nodes], plan.entries)
        meter = Meter(server.pid)
        joined = await join(fleet, server, [[token] for token in nodes])
        costs.attest_ms = 1000 * meter.cpu / plan.agents
        costs.attests_a_second = plan.agents / joined["seconds"]
        await fleet.order("connect")
        costs.joined_ms = 1000 * meter.cpu / plan.agents
        if push:
            answer = await fleet.order("subscribe")
            if "absent" in answer:
                return costs
        else:
            await fleet.order("poll", every=_POLL_SECONDS)
        await _idle(server, plan.push_seconds if push else plan.seconds, costs)
        figures = await fleet.order("figures")
        assert figures["ended"] == 0, await fleet.order("stop")
        await fleet.order("stop")
    return costs


@dataclass
class Shared:
    """What it cost to bring a fleet up to date with a large set."""

    whole_bytes: float
    whole_seconds: float
    whole_cpu: float
    resume_bytes: float
    resume_seconds: float
    resume_cpu: float
    peak_mib: float
    resident_mib: float
    idle_percent: float
    compared: int


async def _shared(bench: Bench, plan: Plan) -> Shared | None:
    """Everything with one alias that all agents match; None without push."""
    bench.say(f"{plan.shared} entries under one alias of {plan.agents} agents: Finial")
    site = bench.place()
    racked.install(site)
    add_to_path(site)
    config = bench.place() / "server.toml"
    config.write_text('[plugins.node_attestors.rack]\nword = "lantern"\n')
    side = Finial((f"--config={config}", "--node-attestors=rack"))
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(bench.server(side))
        fleet = await stack.enter_async_context(agents())
        await server.control.create(
            server.control.entry(_ALIAS, parent="/spire/server", selectors=[_SELECTOR])
        )
        await _register(server, [_ALIAS], plan.shared)
        await join(fleet, server, [[f"node-{at}", "zone"] for at in range(plan.agents)])
        reset_peak(server.pid)
        meter = Meter(server.pid)
        whole = await fleet.order("subscribe", first=0, end=plan.whole)
        if "absent" in whole:
            return None
        whole_cpu, meter = meter.cpu, Meter(server.pid)
        resumed = await fleet.order("subscribe", first=plan.whole, like=0)
        resume_cpu, peak = meter.cpu, peak_mib(server.pid)
        costs = Costs()
        await _idle(server, plan.push_seconds / 2, costs)
        return Shared(
            whole["bytes"], whole["seconds"], whole_cpu, resumed["bytes"], resumed["seconds"], resume_cpu,
            peak, costs.idle_mib or 0, costs.idle_percent or 0, resumed["compared"],
        )  # fmt: skip


def _shared_rows(plan: Plan, found: Shared | None) -> list[Row]:
    where = f"{plan.shared:,} entries under one alias"
    first, others = f"{plan.whole} agents without any", f"{plan.agents - plan.whole} that resume"
    if found is None:
        return [Row(f"{where}, matched by {plan.agents:,}", "s", note=_ABSENT)]
    return [
        Row(f"{where}: to each of {first}", "bytes", ours=found.whole_bytes),
        Row(f"{first} are current after", "s", ours=found.whole_seconds),
        Row("processor of the server for each of them", "s", ours=found.whole_cpu / plan.whole),
        Row(f"to each of {others}", "bytes", ours=found.resume_bytes,
            note=f"{found.compared} of them had to compare"),
        Row(f"{others} are current after", "s", ours=found.resume_seconds, note="with their handshakes"),
        Row("processor of the server for each of them", "ms",
            ours=1000 * found.resume_cpu / (plan.agents - plan.whole)),
        Row("peak memory of the server meanwhile", "MiB", ours=found.peak_mib),
        Row("memory afterwards", "MiB", ours=found.resident_mib),
        Row("processor afterwards, nothing changing", "% of a core", ours=found.idle_percent),
    ]  # fmt: skip


async def measure(bench: Bench) -> list[Row]:
    """All rows."""
    plan = _QUICK if bench.quick else Plan()
    polled = {True: Costs(), False: Costs()}
    pushed = Costs()
    shared: Shared | None = None
    for side in bench.sides:
        polled[side.stock] = await _connected(bench, side, plan, push=False)
    if any(not side.stock for side in bench.sides):
        pushed = await _connected(bench, bench.ours, plan, push=True)
        shared = await _shared(bench, plan)
    return [*_connected_rows(plan, polled[True], polled[False], pushed), *_shared_rows(plan, shared)]


def _connected_rows(plan: Plan, theirs: Costs, ours: Costs, pushed: Costs) -> list[Row]:
    fleet, cpu, share = f"{plan.agents:,} agents", "ms of CPU", "% of a core"
    still, polling = f"{fleet}, nothing changing", f"{fleet} that poll, nothing changing"
    note = "SPIRE's agents poll, ours follow push" if pushed.idle_percent is not None else _ABSENT
    rate = "beside whoever attests, on the same cores"
    return [
        Row(f"attestation by join token, {fleet}", cpu, theirs.attest_ms, ours.attest_ms),
        Row("the same with its first own connection", cpu, theirs.joined_ms, ours.joined_ms, 2.8),
        Row(
            "attestations by join token",
            "/s",
            theirs.attests_a_second,
            ours.attests_a_second,
            300,
            more=True,
            note=rate,
        ),
        Row(still, share, theirs.idle_percent, pushed.idle_percent, 0.5, note=note),
        Row(still, "MiB", theirs.idle_mib, pushed.idle_mib, 130),
        Row(polling, share, theirs.idle_percent, ours.idle_percent),
        Row(polling, "MiB", theirs.idle_mib, ours.idle_mib),
    ]


if __name__ == "__main__":
    run(measure, __doc__)
