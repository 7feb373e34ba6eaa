"""What a JWT-SVID costs at the Workload API and at the administration socket.

Method: a server, an agent that has joined by token, one entry for this user. A Go program with go-spiffe's
stubs calls from eight connections at once for some seconds, without a pause: FetchJWTSVID with one audience
(answered from the agent's cache), with another audience each time (signed by the server), and
ValidateJWTSVID. Sides take turns, each twice; shown is the better one of each, and the processor time of the
processes that answered, divided by the calls. The caller has its share of the machine with both.

MintJWTSVID is called by this process over the administration socket, eight calls at a time: its rate is
bounded by the caller, its processor time is the server's.
"""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.kernel import Meter
from bench.run import Bench, run
from bench.sides import Side
from bench.table import Row
from bench.watch import Watch
from finial.rpc import Channel, Unix
from finial.wire.gen import spire_api_server_svid_v1 as svid_pb
from interop.peers import build
from support.interop_process import PeerProcess
from support.site import AgentDaemon, ServerDaemon

_NODE, _PATH = "/node", "/checkout"
_AUDIENCE = "spiffe://example.org/stock"
_CLIENTS: Final = 8
_VISITS: Final = 2

CACHED, NEW, VALIDATE, MINT = "cached", "new", "validate", "mint"
_WHAT = {
    CACHED: "FetchJWTSVID, cached, 8 clients",
    NEW: "FetchJWTSVID, new audiences, 8 clients (agent and server)",
    VALIDATE: "ValidateJWTSVID, 8 clients",
    MINT: "MintJWTSVID, administration socket",
}
_GOALS = {CACHED: (6_000, 0.15), NEW: (1_800, 0.8), VALIDATE: (4_000, 0.25), MINT: (5_000, 0.2)}


@dataclass(frozen=True)
class Figure:
    """What came of one kind of call.

    Args:
        rate: Calls a second.
        cpu_ms: Processor time of those who answered, for each call.
    """

    rate: float
    cpu_ms: float


@dataclass
class Place:
    """A running pair, and who calls."""

    server: ServerDaemon
    agent: AgentDaemon
    caller: PeerProcess
    seconds: float
    orders: int = 0

    async def load(self, what: str, token: str = "") -> Figure:
        """Calls of one kind, after a few that do not count."""
        await self._calls(what, token, 0.3)
        meters = [Meter(self.agent.pid), Meter(self.server.pid)]
        calls, seconds = await self._calls(what, token, self.seconds)
        return Figure(calls / seconds, 1_000 * sum(meter.cpu for meter in meters) / calls)

    async def token(self) -> str:
        """A token for the audience that is used here."""
        answer = await self.caller.order("tokens", socket=str(self.agent.socket), audience=[_AUDIENCE])
        return str(answer["svids"][0]["token"])

    async def mint(self) -> Figure:
        """Minting, eight calls at a time."""
        request = svid_pb.MintJWTSVIDRequest(id=self.server.control.id("/minted"), audience=[_AUDIENCE])
        async with Channel(Unix(str(self.server.socket))) as channel:
            await channel.unary(svid_pb.SVID.MintJWTSVID, request)
            meter, count = Meter(self.server.pid), 0

            async def call() -> None:
                nonlocal count
                while meter.seconds < self.seconds:
                    await channel.unary(svid_pb.SVID.MintJWTSVID, request)
                    count += 1

            await asyncio.gather(*(call() for _ in range(_CLIENTS)))
            return Figure(count / meter.seconds, 1_000 * meter.cpu / count)

    async def _calls(self, what: str, token: str, seconds: float) -> tuple[int, float]:
        self.orders += 1
        answer = await self.caller.order(
            "load",
            socket=str(self.agent.socket),
            text=what,
            audience=[_AUDIENCE],
            token=token,
            count=_CLIENTS,
            every_ms=round(1_000 * seconds),
            number=self.orders,
        )
        return int(answer["calls"]), float(answer["seconds"])


@asynccontextmanager
async def _place(bench: Bench, side: Side, program: Path) -> AsyncIterator[Place]:
    """Everything started, with an identity for this process and its children."""
    async with bench.server(side) as server:
        token, bundle = await server.control.token(agent=_NODE), await server.bundle_file()
        entry = server.control.entry(_PATH, parent=_NODE, selectors=[f"unix:uid:{os.getuid()}"])
        await server.control.create(entry)
        agent = side.agent(bench.place(), server=server, token=token, bundle=bundle)
        async with agent, PeerProcess(program) as caller:
            async with Watch(agent.socket) as watch:
                await watch.seen(f"spiffe://{server.trust_domain}{_PATH}")
            yield Place(server, agent, caller, 0.5 if bench.quick else 4.0)


async def _visit(bench: Bench, side: Side, program: Path) -> dict[str, Figure]:
    async with _place(bench, side, program) as place:
        found = {CACHED: await place.load(CACHED), NEW: await place.load(NEW)}
        found[VALIDATE] = await place.load(VALIDATE, await place.token())
        found[MINT] = await place.mint()
        return found


async def measure(bench: Bench) -> list[Row]:
    """The rows."""
    program = build("spiffepeer")
    found: dict[str, dict[str, list[Figure]]] = defaultdict(lambda: defaultdict(list))
    for number in range(1 if bench.quick else _VISITS):
        for side in bench.sides:
            bench.say(f"tokens: {side.name}, visit {number + 1}")
            for what, figure in (await _visit(bench, side, program)).items():
                found[side.name][what].append(figure)
    return [row for what in _WHAT for row in _rows(what, found)]


def _rows(what: str, found: dict[str, dict[str, list[Figure]]]) -> list[Row]:
    rate, cpu = _GOALS[what]
    theirs, ours = found.get("SPIRE", {}).get(what, []), found["Finial"][what]
    return [
        Row(
            _WHAT[what],
            "/s",
            max((each.rate for each in theirs), default=None),
            max((each.rate for each in ours), default=None),
            goal=rate,
            more=True,
        ),
        Row(
            "the same, processor time",
            "ms",
            min((each.cpu_ms for each in theirs), default=None),
            min((each.cpu_ms for each in ours), default=None),
            goal=cpu,
        ),
    ]


if __name__ == "__main__":
    run(measure, __doc__)
