"""What thousands of open Workload API streams cost one agent, and how soon all of them have a new root.

Method: a real server; the real agent, in a process whose event loop tells how long its turns take; workloads
as plain sockets in other processes, with a FetchX509SVID stream on each of their connections, which are as
many as the row says. The workloads run as several users, if this is run by root, each with an entry of its
own. A root is appended to the bundle at the server; counted is until the last stream has been sent it. Then
entries are created, one after another, for one further workload, and counted is until it has each SVID.

Units: KiB of the agent's resident memory beside that of an agent with one stream; percent of a core, over the
seconds that the row says; microseconds of the agent's processor time; milliseconds. A pause is the time
between two looks of the agent's loop at its sockets, during which everybody waits; that of its own is the
processor time in it, which nobody else on the machine lengthens. SPIRE's figure for an idle stream is that of
the table of goals.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from statistics import median

from cryptography.hazmat.primitives.asymmetric import ec

from bench.kernel import Meter, resident_mib
from bench.run import Bench, run
from bench.table import Row
from finial.core.ids import TrustDomain
from finial.core.x509_profile import CARequest, Order, issue_root
from finial.runtime.chance import SystemChance, serial_number
from finial.wire.gen import spire_api_server_bundle_v1 as bundle_pb
from finial.wire.gen import spire_api_types as types
from support.interop_process import PeerProcess
from support.site import ServerDaemon

_NODE = "/node"
_SPIRE_KIB, _GOAL_KIB = 54.0, 20.0
_PER_STREAM, _OTHERS = 3, 500  # descriptors of the agent
_FIRST_USER = 21_001
_PATIENCE = 180.0
_TURN_SECONDS = 0.05  # for whoever is to wait to have begun


@dataclass(frozen=True)
class Plan:
    """How much of everything.

    Args:
        counts: Of streams; an agent for each.
        processes: Of workloads that share them.
        idle: Seconds of rest.
        entries: Created one after another.
    """

    counts: tuple[int, ...] = (500, 1_000, 5_000)
    processes: int = 5
    idle: float = 20.0
    entries: int = 20


_QUICK = Plan((50,), 2, 1.0, 2)


@dataclass
class Figures:
    """What one agent has shown."""

    streams: int
    kib: float = 0.0
    idle_percent: float = 0.0
    open_us: float = 0.0
    root_us: float = 0.0
    root_first_ms: float = 0.0
    root_all_ms: float = 0.0
    delays_ms: list[float] = field(default_factory=list)
    pauses: dict[str, dict[str, float]] = field(default_factory=dict)


@dataclass
class _Stage:
    server: ServerDaemon
    agent: PeerProcess
    crowds: list[PeerProcess]
    lone: PeerProcess
    lone_user: int


@asynccontextmanager
async def _stage(bench: Bench, plan: Plan) -> AsyncIterator[_Stage]:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(bench.server(bench.ours))
        control, root = server.control, not os.getuid()
        users = [_FIRST_USER + number if root else os.getuid() for number in range(plan.processes + 1)]
        await control.create(
            *(
                control.entry(f"/user/{user}", parent=_NODE, selectors=[f"unix:uid:{user}"])
                for user in sorted(set(users))
            )
        )
        arguments = {
            "server": server.address,
            "folder": bench.place(),
            "bundle": await server.bundle_file(),
            "token": await control.token(agent=_NODE),
        }
        command = [f"--{name}={value}" for name, value in arguments.items()]
        agent = await stack.enter_async_context(
            PeerProcess(sys.executable, "-m", "bench.streams_agent", *command, hello=True, patience=_PATIENCE)
        )
        crowds = []
        for user in users:
            of_user = [f"--socket={agent.hello['socket']}", f"--user={user}"]
            process = PeerProcess(sys.executable, "-m", "bench.streams_client", *of_user, patience=_PATIENCE)
            crowds.append(await stack.enter_async_context(process))
        yield _Stage(server, agent, crowds[:-1], crowds[-1], users[-1])


async def _measured(bench: Bench, plan: Plan, count: int) -> Figures:
    async with _stage(bench, plan) as stage:
        agent, share = stage.agent, count // plan.processes
        found = Figures(share * plan.processes)
        await _until_served(stage.lone)  # which loads what is only loaded when it is needed
        await agent.order("collect")
        before, meter = resident_mib(agent.pid), Meter(agent.pid)
        for crowd in stage.crowds:
            await crowd.order("open", count=share)
        found.open_us = meter.cpu * 1e6 / found.streams
        found.pauses["open"] = await agent.order("collect")
        found.kib = (resident_mib(agent.pid) - before) * 1024 / found.streams
        meter = Meter(agent.pid)
        await asyncio.sleep(plan.idle)
        found.idle_percent = meter.percent
        await _new_root(stage, found)
        await _new_entries(stage, plan, found)
        return found


async def _until_served(crowd: PeerProcess) -> None:
    for _ in range(100):
        answer = await crowd.attempt("open", count=1)
        if "error" not in answer:
            return
        await asyncio.sleep(0.1)
    raise AssertionError("the agent serves nobody")


async def _new_root(stage: _Stage, found: Figures) -> None:
    key, domain = ec.generate_private_key(ec.SECP256R1()), TrustDomain(stage.server.trust_domain)
    order = Order(now=datetime.now(UTC), serial=serial_number(SystemChance()), ttl=timedelta(days=1))
    root = issue_root(CARequest(trust_domain=domain, public_key=key.public_key()), order, key=key)
    waiting = [asyncio.ensure_future(crowd.order("seen", part=root.der.hex())) for crowd in stage.crowds]
    await asyncio.sleep(_TURN_SECONDS)
    await stage.agent.order("turns")
    begun, meter = time.monotonic(), Meter(stage.agent.pid)
    request = bundle_pb.AppendBundleRequest(x509_authorities=[types.X509Certificate(asn1=root.der)])
    await stage.server.control.channel.unary(bundle_pb.Bundle.AppendBundle, request)
    seen = await asyncio.gather(*waiting)
    found.root_us = meter.cpu * 1e6 / found.streams
    found.root_first_ms = (min(each["first"] for each in seen) - begun) * 1e3
    found.root_all_ms = (max(each["last"] for each in seen) - begun) * 1e3
    found.pauses["root"] = await stage.agent.order("turns")


async def _new_entries(stage: _Stage, plan: Plan, found: Figures) -> None:
    control = stage.server.control
    for number in range(plan.entries):
        path = f"/fresh/{number}"
        part = f"spiffe://{stage.server.trust_domain}{path}".encode().hex()
        waiting = asyncio.ensure_future(stage.lone.order("seen", part=part))
        await asyncio.sleep(_TURN_SECONDS)
        begun = time.monotonic()
        fresh = control.entry(path, parent=_NODE, selectors=[f"unix:uid:{stage.lone_user}"])
        await control.create(fresh)
        found.delays_ms.append(((await waiting)["last"] - begun) * 1e3)
    found.pauses["identity"] = await stage.agent.order("turns")


async def measure(bench: Bench) -> list[Row]:
    """The rows for each number of streams."""
    plan, rows = _QUICK if bench.quick else Plan(), list[Row]()
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    for count in plan.counts:
        if files < _PER_STREAM * count + _OTHERS:
            rows.append(Row(f"{count:,} streams", "", note=f"too many for {files:,} open files"))
            continue
        bench.say(f"{count:,} streams on one agent")
        rows += _rows(plan, await _measured(bench, plan, count))
    return rows


def _rows(plan: Plan, found: Figures) -> list[Row]:
    many = f"{found.streams:,} streams"
    opened, root, identity = (found.pauses[name] for name in ("open", "root", "identity"))

    def pauses(of: dict[str, float]) -> str:
        return (
            f"longest pause of the loop {of['turn_ms']:.1f} ms, of its own {of['turn_cpu_ms']:.1f} ms,"
            f" of the garbage collector {of['collection_ms']:.1f} ms; over 5 ms: {of['over_5_ms']:.0f}"
        )

    return [
        Row(f"{many}: memory of each", "KiB", _SPIRE_KIB, found.kib, _GOAL_KIB),
        Row(f"{many}: idle for {plan.idle:.0f} s", "%", ours=found.idle_percent),
        Row(f"{many}: processor time to open one", "us", ours=found.open_us, note=pauses(opened)),
        Row(f"{many}: a new root, until the first has it", "ms", ours=found.root_first_ms),
        Row(f"{many}: until all have it", "ms", ours=found.root_all_ms, note=pauses(root)),
        Row(f"{many}: processor time for each", "us", ours=found.root_us),
        Row(f"{many}: a new identity for one more, p50", "ms", ours=median(found.delays_ms), goal=20),
        Row(f"{many}: the same, longest of {plan.entries}", "ms", ours=max(found.delays_ms),
            note=pauses(identity)),
    ]  # fmt: skip


if __name__ == "__main__":
    run(measure, __doc__)
