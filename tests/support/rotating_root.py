"""The root is rotated by force, again and again, under workloads that talk; nobody may notice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from pathlib import Path

from finial.runtime.clock import SystemClock
from finial.sdk import X509Source
from finial.wire.gen import spire_api_server_localauthority_v1 as authority_pb
from support import rotating_probe
from support.daemon import Daemon
from support.finial_process import FINIAL, FinialAgent, FinialServer
from support.interop_process import Answer
from support.rotating_probe import Probe
from support.rotating_workloads import Half, Workload, register, seats, talking
from support.site import AgentDaemon, ServerDaemon
from support.spire_process import SpireAgent

_ORDER = timedelta(seconds=30)
_MORE_CALLS = 2  # of each of its callees that a workload makes before and after each rotation
_PROMPTLY = 20.0  # seconds from the end of the command until every agent has told its workloads
_PAUSE = timedelta(milliseconds=100)
_TEST_PACE = 'experimental { sync_interval = "1s" }'


@dataclass(frozen=True)
class Plan:
    """What is to be shown.

    Args:
        rotations: How many, one after the other.
        rotation_seconds: How long one may take.
        spiffepeer: The program of a third of the workloads; None to do without.
        spire_agent: Serves half of the workloads; None to have them all behind our agent.
        stock_pace: Whether SPIRE's agent asks as seldom as it does by default, each five seconds.
    """

    rotations: int
    rotation_seconds: float
    spiffepeer: Path | None = None
    spire_agent: Path | None = None
    stock_pace: bool = False


class _SeldomAgent(SpireAgent):
    """SPIRE's agent with the pace that it has by default."""

    def make_command(self) -> list[str | Path]:
        command = super().make_command()
        config = Path(command[-1])
        text = config.read_text()
        assert _TEST_PACE in text
        config.write_text(text.replace(_TEST_PACE, ""))
        return command


async def rotate(folder: Path, plan: Plan) -> None:
    """Rotate as planned, and print how it went; no handshake may fail, on no side."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(FinialServer(folder / "s", "--log-level=info"))
        halves = await _halves(server, folder, plan)
        places = seats(halves, folder / "programs", plan.spiffepeer)
        await register(server, [*chain(*places)])
        for node in dict.fromkeys(half.node for half in halves):
            await rotating_probe.register(server, node)
        sources = []
        for agent in {half.agent.name: half.agent for half in halves}.values():
            await stack.enter_async_context(agent)
            sources.append(await stack.enter_async_context(rotating_probe.source(agent.socket)))
        workloads = await stack.enter_async_context(talking(places))
        await _call_more(workloads)
        for number in range(plan.rotations):
            kept = [Probe(each, each.svid) for each in sources]
            await kept[0].everywhere(workloads, accepted=True)
            new = await _once(server, f"rotation {number + 1}", plan.rotation_seconds)
            await _check_ends(workloads, new)
            await _check_trust(workloads, sources, kept, new)
            await _call_more(workloads)
        await _check_calls(workloads, plan.rotations + 1)


async def _halves(server: ServerDaemon, folder: Path, plan: Plan) -> list[Half]:
    """Both halves, on agents that have not started yet."""
    bundle = await server.bundle_file()
    ours: AgentDaemon = FinialAgent(
        folder / "a",
        "--log-level=info",
        server=server,
        token=await server.control.token(agent="/ours"),
        bundle=bundle,
    )
    if plan.spire_agent is None:
        return [Half("one", "/ours", ours), Half("other", "/ours", ours)]
    kind = _SeldomAgent if plan.stock_pace else SpireAgent
    token = await server.control.token(agent="/stock")
    stock = kind(plan.spire_agent, folder / "b", server=server, token=token, bundle=bundle)
    return [Half("ours", "/ours", ours), Half("stock", "/stock", stock, together=False)]


async def _once(server: ServerDaemon, name: str, patience: float) -> str:
    """One rotation, by the command that operators use; the authority that signs afterwards."""
    clock, old = SystemClock(), await _active(server)
    began = clock.monotonic()
    async with Daemon(name, [*FINIAL, "server", "authority", "rotate", "--socket", server.socket]) as command:
        code = await command.ended(patience)
    print(f"{name}: {clock.monotonic() - began:.1f} s", *command.lines, sep="\n    ", flush=True)
    assert code == 0
    new = await _active(server)
    assert new != old
    return new


async def _active(server: ServerDaemon) -> str:
    """The id of the authority that signs."""
    method = authority_pb.LocalAuthority.GetX509AuthorityState
    request = authority_pb.GetX509AuthorityStateRequest()
    reply = await server.control.channel.unary(method, request, timeout=_ORDER)
    return reply.active.authority_id


async def _check_ends(workloads: Sequence[Workload], new: str) -> None:
    """Every workload shows an SVID that the new authority has signed."""
    signers: dict[str, str] = {}
    for found in await asyncio.gather(*(each.ends() for each in workloads)):
        signers |= found
    assert signers == dict.fromkeys((each.id for each in workloads), new)


async def _check_trust(
    workloads: Sequence[Workload], sources: Sequence[X509Source], kept: Sequence[Probe], new: str
) -> None:
    """The new authority is the only one in every bundle: nobody believes an SVID of the one before."""
    async with asyncio.timeout(_PROMPTLY):
        while any(rotating_probe.authorities(each) != [new] for each in sources):
            await SystemClock().sleep(_PAUSE)
    for each in kept:
        await each.everywhere(workloads, accepted=False)
    await Probe(sources[0], sources[0].svid).everywhere(workloads, accepted=True)


async def _call_more(workloads: Sequence[Workload]) -> None:
    """Wait until each has called each of its callees some more times."""

    async def wait(caller: Workload, callee: Workload) -> None:
        now = await caller.called(callee)
        await caller.called(callee, count=now["ok"] + now["failed"] + _MORE_CALLS)

    await asyncio.gather(*(wait(each, callee) for each in workloads for callee in each.callees))


async def _check_calls(workloads: Sequence[Workload], authorities: int) -> None:
    """No connection has failed, on neither side, and there were some with each authority."""
    # Calls end before what they are made to.
    called = await _stopped(each.stop_calling for each in workloads)
    served = await _stopped(each.stop_serving for each in workloads)
    for what, tasks in (("called", called), ("served", served)):
        count, failed = (sum(found[kind] for found in tasks) for kind in ("ok", "failed"))
        print(f"{what}: {count} connections in {len(tasks)} tasks, {failed} failed", flush=True)
    wrong = {found["task"]: found["errors"] for found in [*called, *served] if found["failed"]}
    assert not wrong, wrong
    assert {found["authorities"] for found in called} == {authorities}
    assert sum(found["ok"] for found in called) <= sum(found["ok"] for found in served)


async def _stopped(stops: Iterable[Callable[[], Awaitable[list[Answer]]]]) -> list[Answer]:
    return [*chain(*await asyncio.gather(*(stop() for stop in stops)))]
