"""How long changes take to arrive during a flood of them, while one agent reads nothing at all.

Method: our server, five agents of ours with a workload each, whose stream has twenty identities, and one
agent that has subscribed to the push, has been told everything, and is stopped by SIGSTOP: it takes nothing
from its connection any more. Twenty times a second a BatchUpdateEntry gives fifty entries another hint. One
in twenty of these is an identity that is in use; the others belong to the agent that does not read. Counted
is, for every change of an identity in use, from the call (its commit included), and from the answer, until
its hint, or a later one of the same entry, is on the stream. Batches are not put off while earlier ones are
unanswered, unless there are twenty of those.

Units: milliseconds, MiB of the server's resident memory, per cent of one core. There is no yardstick beside
it: what SPIRE does with a change is what `bench.propagation` shows.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta

from bench.fleet import agents, join
from bench.kernel import Meter, peak_mib, reset_peak, resident_mib
from bench.run import Bench, run
from bench.table import Row, percentile
from bench.watch import Watch
from finial.wire.gen import spire_api_server_entry_v1 as entry_pb
from finial.wire.gen import spire_api_types as types
from finial.wire.gen import workload
from finial.wire.statuses import error_of
from support.interop_process import PeerProcess
from support.site import ServerDaemon

_BATCH = 50
_BATCHES_A_SECOND = 20
_IN_USE = 20  # one entry in so many that are changed
_MOST_IN_FLIGHT = 20
_CALL = timedelta(seconds=60)
_TAIL_SECONDS, _LOOK_SECONDS = 15.0, 0.05
_MS = 1000


@dataclass(frozen=True)
class Plan:
    """How much of everything.

    Args:
        seconds: Of the flood.
        readers: Agents with a workload.
        identities: Of each workload.
        unread: Entries of the agent that does not read.
    """

    seconds: float = 60.0
    readers: int = 5
    identities: int = 20
    unread: int = 8_000


_QUICK = Plan(seconds=2.0, readers=1, identities=5, unread=200)


@dataclass(frozen=True)
class Seen:
    """A change that has arrived.

    Args:
        version: Of the batch that it came with.
        called: When the batch was sent.
        at: When it was on the stream.
    """

    version: int
    called: float
    at: float


@dataclass
class Ledger:
    """What was changed in one agent's identities, and when it was seen."""

    seen: list[Seen] = field(default_factory=list)
    waiting: dict[str, deque[tuple[int, float]]] = field(default_factory=lambda: defaultdict(deque))

    def changed(self, spiffe_id: str, version: int, at: float) -> None:
        """An identity is about to be changed."""
        self.waiting[spiffe_id].append((version, at))

    def look(self, at: float, message: workload.X509SVIDResponse) -> None:
        """A message has come on the stream."""
        for svid in message.svids:
            shown = int(svid.hint.rpartition("/")[2] or 0)
            waiting = self.waiting[svid.spiffe_id]
            while waiting and waiting[0][0] <= shown:
                version, called = waiting.popleft()
                self.seen.append(Seen(version, called, at))

    @property
    def missing(self) -> int:
        """How many changes have not been seen."""
        return sum(map(len, self.waiting.values()))

    def all_seen(self) -> list[Seen]:
        """All changes; one that has not been seen counts as if it came now."""
        now = time.perf_counter()
        missing = [each for waiting in self.waiting.values() for each in waiting]
        return [*self.seen, *(Seen(version, called, now) for version, called in missing)]


@dataclass(frozen=True)
class Target:
    """An entry that is changed.

    Args:
        id: Of the entry.
        spiffe_id: Of the identity.
        ledger: Of its agent; None for one that does not read.
    """

    id: str
    spiffe_id: str
    ledger: Ledger | None = None


@dataclass
class Flood:
    """Changes entries.

    Args:
        server: Whose.
        used: Those in use.
        unused: The others.
    """

    server: ServerDaemon
    used: list[Target]
    unused: list[Target]
    calls: list[float] = field(default_factory=list)
    """How long each call took."""
    answered: dict[int, float] = field(default_factory=dict)
    """When each was answered, by version."""

    async def run(self, seconds: float) -> None:
        """Change entries at an even rate for so long."""
        used, unused = itertools.cycle(self.used), itertools.cycle(self.unused)
        in_flight = asyncio.Semaphore(_MOST_IN_FLIGHT)
        began = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for number in itertools.count():
                if time.perf_counter() - began >= seconds:
                    break
                # Two and three in turn: one in twenty of fifty.
                fresh = _BATCH * (number + 1) // _IN_USE - _BATCH * number // _IN_USE
                batch = [next(used) for _ in range(fresh)]
                batch += [next(unused) for _ in range(_BATCH - fresh)]
                pause = began + number / _BATCHES_A_SECOND - time.perf_counter()
                await asyncio.sleep(max(pause, 0))
                await in_flight.acquire()
                call = tasks.create_task(self._change(batch, number + 1))
                call.add_done_callback(lambda _: in_flight.release())

    async def _change(self, batch: list[Target], version: int) -> None:
        began = time.perf_counter()
        for target in batch:
            if target.ledger is not None:
                target.ledger.changed(target.spiffe_id, version, began)
        request = entry_pb.BatchUpdateEntryRequest(
            entries=[types.Entry(id=each.id, hint=f"{each.id}/{version}") for each in batch],
            input_mask=types.EntryMask(hint=True),
            output_mask=types.EntryMask(),
        )
        method = entry_pb.Entry.BatchUpdateEntry
        reply = await self.server.control.channel.unary(method, request, timeout=_CALL)
        for each in reply.results:
            error = error_of(each.status)
            if error is not None:
                raise error
        self.answered[version] = time.perf_counter()
        self.calls.append(self.answered[version] - began)


async def _targets(
    server: ServerDaemon, parent: str, count: int, *, selector: str, ledger: Ledger | None
) -> list[Target]:
    control, place = server.control, parent.rpartition("/")[2]
    paths = [f"/flood/{place}/{number}" for number in range(count)]
    ids = await control.create(*(control.entry(path, parent=parent, selectors=[selector]) for path in paths))
    return [
        Target(id_, f"spiffe://{server.trust_domain}{path}", ledger)
        for id_, path in zip(ids, paths, strict=True)
    ]


@asynccontextmanager
async def _reader(bench: Bench, server: ServerDaemon, plan: Plan) -> AsyncIterator[list[Target]]:
    """An agent with a workload that has all its identities."""
    place, ledger = bench.place(), Ledger()
    node = f"/node/{place.name}"
    used = await _targets(server, node, plan.identities, selector=f"unix:uid:{os.getuid()}", ledger=ledger)
    token, bundle = await server.control.token(agent=node), await server.bundle_file()
    async with (
        bench.ours.agent(place, server=server, token=token, bundle=bundle) as agent,
        Watch(agent.socket, ledger.look) as watch,
    ):
        await watch.until(lambda: len(watch.first_seen) == plan.identities)
        yield used


@asynccontextmanager
async def _deaf(fleet: PeerProcess, server: ServerDaemon, token: str) -> AsyncIterator[bool]:
    """An agent that has been told everything and then reads nothing; whether there is push at all."""
    await join(fleet, server, [[token]])
    told = await fleet.order("subscribe")
    os.kill(fleet.pid, signal.SIGSTOP)
    try:
        yield "absent" not in told
    finally:
        os.kill(fleet.pid, signal.SIGCONT)


@dataclass(frozen=True)
class Found:
    """What came of it."""

    push: bool
    from_call: list[float]
    from_answer: list[float]
    missing: int
    calls: list[float]
    seconds: float
    cpu_percent: float
    before_mib: float
    peak_mib: float
    after_mib: float


async def _flooded(bench: Bench, plan: Plan) -> Found:
    bench.say(f"a flood of {plan.seconds:.0f} s: Finial")
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(bench.server(bench.ours))
        readers = [_reader(bench, server, plan) for _ in range(plan.readers)]
        used = [await stack.enter_async_context(reader) for reader in readers]
        token = await server.control.token()
        unused = await _targets(
            server, f"/spire/agent/join_token/{token}", plan.unread, selector="unix:uid:1", ledger=None
        )
        fleet = await stack.enter_async_context(agents())
        push = await stack.enter_async_context(_deaf(fleet, server, token))
        # Neighbouring changes are of different agents.
        flood = Flood(server, [each for turn in zip(*used, strict=True) for each in turn], unused)
        before = resident_mib(server.pid)
        reset_peak(server.pid)
        meter = Meter(server.pid)
        await flood.run(plan.seconds)
        seconds, percent = meter.seconds, meter.percent
        ledgers = [targets[0].ledger for targets in used if targets[0].ledger is not None]
        await _all_seen(ledgers)
        seen = [each for ledger in ledgers for each in ledger.all_seen()]
        return Found(
            push,
            [each.at - each.called for each in seen],
            # What is there before its answer has taken no time.
            [max(each.at - flood.answered[each.version], 0) for each in seen],
            sum(ledger.missing for ledger in ledgers),
            flood.calls,
            seconds,
            percent,
            before,
            peak_mib(server.pid),
            resident_mib(server.pid),
        )


async def _all_seen(ledgers: Sequence[Ledger]) -> None:
    """Wait until every change has been seen, at most for so long."""
    for _ in range(int(_TAIL_SECONDS / _LOOK_SECONDS)):
        if not any(ledger.missing for ledger in ledgers):
            return
        await asyncio.sleep(_LOOK_SECONDS)


async def measure(bench: Bench) -> list[Row]:
    """All rows."""
    if all(side.stock for side in bench.sides):
        return []
    plan = _QUICK if bench.quick else Plan()
    found = await _flooded(bench, plan)
    rate, asked = len(found.calls) * _BATCH / found.seconds, _BATCH * _BATCHES_A_SECOND
    deaf = "one agent reads nothing" if found.push else "there is no push in this server: all agents poll"
    calls, cost = found.calls, found.cpu_percent / 100 * _MS / rate
    note = f"n = {len(found.from_call)}, {found.missing} not seen; {deaf}"

    def delay(what: str, delays: list[float], part: float, goal: float | None = None) -> Row:
        return Row(f"flood: {what}, p{100 * part:.0f}", "ms", ours=_MS * percentile(delays, part), goal=goal)

    return [
        replace(delay("call to stream", found.from_call, 0.5), note=note),
        delay("call to stream", found.from_call, 0.99, 200),
        delay("answer, after the commit, to stream", found.from_answer, 0.5),
        delay("answer, after the commit, to stream", found.from_answer, 0.99),
        Row("of that: BatchUpdateEntry of 50, p50", "ms", ours=_MS * percentile(calls, 0.5)),
        Row("of that: BatchUpdateEntry of 50, p99", "ms", ours=_MS * percentile(calls, 0.99)),
        Row(f"changes ({asked:,} asked for)", "/s", ours=rate, goal=0.99 * asked, more=True),
        Row("processor of the server", "% of a core", ours=found.cpu_percent),
        Row("the same for each change", "ms of CPU", ours=cost),
        Row("memory of the server before", "MiB", ours=found.before_mib),
        Row("growth at most", "MiB", ours=found.peak_mib - found.before_mib),
        Row("growth afterwards", "MiB", ours=found.after_mib - found.before_mib),
    ]


if __name__ == "__main__":
    run(measure, __doc__)
