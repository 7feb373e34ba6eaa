"""What a hundred thousand entries cost a server: to create, to start with, to keep, to list.

Method: BatchCreateEntry in batches of fifty, one call after another on the administration socket, entries
with two selectors spread over a thousand parents; and all under one parent. Then the server is started again:
counted is from the start of its process to the first answer. Nothing changes for a while, and no agent is
connected: processor time and resident memory of the server process. Then one ListEntries of everything with
all fields, until the last byte of the answer is here. SPIRE's server creates ten thousand by its API, and
five thousand under one parent; the other figures of it are taken with as many entries as ours has
(`bench.registry`).

Units: entries a second, milliseconds of the server's processor time for each, seconds, per cent of one core,
MiB. The yardstick is SPIRE's server with its defaults.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import timedelta

from bench.kernel import Meter, resident_mib
from bench.registry import Created, create, multiply, requests
from bench.run import Bench, run
from bench.sides import Side
from bench.table import Row
from bench.watch import server_answers
from finial.rpc import Channel, Limits, Method, MethodKind, Unix
from finial.wire.gen import spire_api_server_entry_v1 as entry_pb
from support.site import ServerDaemon

_PARENTS = 1_000
_SETTLE_SECONDS = 5.0
_CALL = timedelta(minutes=2)
_LARGE = Limits(max_receive_bytes=1 << 30, max_buffered_bytes=1 << 30)


@dataclass(frozen=True)
class Plan:
    """How much of everything.

    Args:
        entries: With which all but the creation is measured.
        created: Of SPIRE's, by the API.
        crowded: Of SPIRE's, under one parent.
        seconds: In which nothing changes.
    """

    entries: int = 100_000
    created: int = 10_000
    crowded: int = 5_000
    seconds: float = 30.0


_QUICK = Plan(entries=1_000, created=500, crowded=200, seconds=0.5)


@dataclass(frozen=True)
class Kept:
    """What a server spent with many entries."""

    start_seconds: float
    idle_percent: float
    idle_mib: float
    list_seconds: float
    list_cpu: float
    list_mib: float


@dataclass(frozen=True)
class Figures:
    """Of one side."""

    spread: Created
    kept: Kept
    crowded: Created
    crowded_kept: Kept | None


def _same(data: bytes) -> bytes:
    return data


_LIST = Method("spire.api.server.entry.v1.Entry", "ListEntries", MethodKind.UNARY, _same, _same, _same, _same)


async def _list(server: ServerDaemon, count: int) -> tuple[float, float, float]:
    """List everything; seconds, the server's processor seconds, MiB of the answer."""
    meter = Meter(server.pid)
    async with Channel(Unix(str(server.socket)), limits=_LARGE) as channel:
        reply = await channel.unary(_LIST, entry_pb.ListEntriesRequest().SerializeToString(), timeout=_CALL)
    taken = meter.seconds, meter.cpu, len(reply) / (1 << 20)
    assert len(entry_pb.ListEntriesResponse.FromString(reply).entries) == count
    return taken


async def _kept(server: ServerDaemon, count: int, seconds: float) -> Kept:
    """Start a server that is stopped, look at it while nothing changes, and stop it again."""
    began = time.perf_counter()
    await server.launch()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(server.stop)
        ready = await server_answers(server.socket) - began
        await server.ready()
        await asyncio.sleep(min(seconds, _SETTLE_SECONDS))
        meter = Meter(server.pid)
        await asyncio.sleep(seconds)
        percent, memory = meter.percent, resident_mib(server.pid)
        return Kept(ready, percent, memory, *await _list(server, count))


async def _spread(bench: Bench, side: Side, plan: Plan) -> tuple[Created, Kept]:
    count = plan.created if side.stock else plan.entries
    bench.say(f"{count} entries created: {side.name}")
    async with bench.server(side) as server:
        created = await create(server, requests(server, count, _PARENTS))
    if side.stock:
        multiply(server, plan.entries)
    bench.say(f"{plan.entries} entries kept: {side.name}")
    return created, await _kept(server, plan.entries, plan.seconds)


async def _crowded(bench: Bench, side: Side, plan: Plan) -> tuple[Created, Kept | None]:
    count = plan.crowded if side.stock else plan.entries
    bench.say(f"{count} entries under one parent: {side.name}")
    async with bench.server(side) as server:
        created = await create(server, requests(server, count, 1))
    return created, None if side.stock else await _kept(server, count, plan.seconds / 3)


async def _figures(bench: Bench, side: Side, plan: Plan) -> Figures:
    created, kept = await _spread(bench, side, plan)
    crowded, crowded_kept = await _crowded(bench, side, plan)
    return Figures(created, kept, crowded, crowded_kept)


async def measure(bench: Bench) -> list[Row]:
    """All rows."""
    plan = _QUICK if bench.quick else Plan()
    found: dict[bool, Figures] = {side.stock: await _figures(bench, side, plan) for side in bench.sides}
    theirs, ours = found.get(True), found.get(False)
    many = f"{plan.entries:,} entries"

    def row(what: str, unit: str, of: Callable[[Figures], float], goal: float | None = None) -> Row:
        spire, finial = (None if side is None else of(side) for side in (theirs, ours))
        return Row(what, unit, spire, finial, goal, more=unit == "/s")

    rows = [
        row("BatchCreateEntry, batches of 50", "/s", lambda side: side.spread.rate, 6_000),
        row("the same", "ms of CPU", lambda side: side.spread.cpu_ms, 0.15),
        row(
            "the same, all under one parent, the last tenth", "/s", lambda side: side.crowded.last_rate, 6_000
        ),
        row(f"server ready, {many}", "s", lambda side: side.kept.start_seconds, 1.5),
        row(f"{many}, nothing changing", "% of a core", lambda side: side.kept.idle_percent, 0.2),
        row(f"{many}, nothing changing", "MiB", lambda side: side.kept.idle_mib, 150),
        row(f"ListEntries of {many}, all fields", "s", lambda side: side.kept.list_seconds, 0.5),
        row("the same", "s of CPU", lambda side: side.kept.list_cpu),
        row("the same, the answer", "MiB", lambda side: side.kept.list_mib),
    ]
    notes = {
        0: f"SPIRE's: {plan.created:,} of them",
        2: f"SPIRE's: {plan.crowded:,} of them; ours: {many}",
        3: "" if theirs is None else "SPIRE's rows were multiplied in its database, here and below",
    }
    rows = [replace(each, note=notes.get(at, "")) for at, each in enumerate(rows)]
    if ours is not None and ours.crowded_kept is not None:
        rows += _crowded_rows(many, ours.crowded_kept)
    return rows


def _crowded_rows(many: str, kept: Kept) -> list[Row]:
    where = f"{many} under one parent"
    return [
        Row(f"{where}: server ready", "s", ours=kept.start_seconds, goal=1.5),
        Row(f"{where}: nothing changing", "% of a core", ours=kept.idle_percent, goal=0.2),
        Row(f"{where}: nothing changing", "MiB", ours=kept.idle_mib, goal=150),
        Row(f"{where}: ListEntries", "s", ours=kept.list_seconds, goal=0.5),
    ]


if __name__ == "__main__":
    run(measure, __doc__)
