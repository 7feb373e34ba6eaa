"""Fifty workloads that open new mTLS connections with each other all the time, behind one agent or two.

Each has an entry and an open stream of its own. It serves one of its own node and one of the other half, and
calls two such. A few share a process where processes are costly; no two processes get the same identities.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from support.interop_process import Answer, PeerProcess
from support.rotating_programs import GO, OURS, PY, Command, command
from support.site import TRUST_DOMAIN, AgentDaemon, ServerDaemon

WORKLOADS = 50
PROBE = f"spiffe://{TRUST_DOMAIN}/probe"
"""Whom every workload serves besides."""

_PATIENCE = 90.0  # seconds, for an answer of a peer
_TOGETHER = {GO: 1, PY: 5, OURS: 5}  # workloads in a process, where the agent can serve that
# Ours begins a connection at each beat; the others wait between the end of one and the beginning of the next.
_PAUSES_MS = {GO: 1000, PY: 3000, OURS: 3000}
_TELLING = frozenset({GO, PY})  # whose programs make one connection when told to, and tell what they saw


@dataclass(frozen=True)
class Half:
    """Where half of the workloads run.

    Args:
        name: Of the half.
        node: The alias of the node.
        agent: Which serves them.
        together: Whether a process may have several identities. SPIRE's agent takes those of a tainted root
            from its processes before it has others; only one that is left with none is told of nothing.
    """

    name: str
    node: str
    agent: AgentDaemon
    together: bool = True


@dataclass(frozen=True)
class Seat:
    """What a workload is going to be.

    Args:
        half: Where.
        number: Which of its half.
        kind: The library that it uses.
        command: Starts its program.
    """

    half: Half
    number: int
    kind: str
    command: Command

    @property
    def path(self) -> str:
        """Of its SPIFFE ID."""
        return f"/{self.half.name}/{self.number}"

    @property
    def id(self) -> str:
        """Its SPIFFE ID."""
        return f"spiffe://{TRUST_DOMAIN}{self.path}"


@dataclass
class Workload:
    """A running one.

    Args:
        seat: What it is.
        process: Takes its orders.
    """

    seat: Seat
    process: PeerProcess
    targets: dict[str, str] = field(default_factory=dict)
    """Where it serves whom, by the callers' IDs."""
    callees: list[Workload] = field(default_factory=list)

    @property
    def id(self) -> str:
        """Its SPIFFE ID."""
        return self.seat.id

    async def serve(self, caller: str) -> None:
        """Begin to serve a caller."""
        order = {"target": "127.0.0.1:0", "name": self._serving(caller), **self._order(caller)}
        self.targets[caller] = (await self.process.order("serve", **order))["address"]

    async def call(self, other: Workload) -> None:
        """Begin to call another one, again and again."""
        self.callees.append(other)
        order = {"target": other.targets[self.id], "name": self._calling(other), **self._order(other.id)}
        await self.process.order("dial", every_ms=_PAUSES_MS[self.seat.kind], **order)

    async def called(self, other: Workload, count: int = 0) -> Answer:
        """How its calls of another one stand, once there are so many."""
        return await self.process.order("dialled", name=self._calling(other), count=count)

    async def ends(self) -> dict[str, str]:
        """Who signed for the two ends of a connection made now to each of its callees, by the ends' IDs."""
        found: dict[str, str] = {}
        for other in self.callees if self.seat.kind in _TELLING else ():
            order = {"target": other.targets[self.id], **self._order(other.id)}
            seen = await self.process.order("call", **order)
            found |= {self.id: seen["own"]["authority"], other.id: seen["peer"]["authority"]}
        return found

    async def stop_calling(self) -> list[Answer]:
        """Call nobody any more; the last figures of each task."""
        return [
            await self.process.order("stop", name=self._calling(other)) | {"task": self._calling(other)}
            for other in self.callees
        ]

    async def stop_serving(self) -> list[Answer]:
        """Serve nobody any more; the last figures of each task but that for the probe."""
        names = [self._serving(caller) for caller in self.targets if caller != PROBE]
        return [await self.process.order("stop", name=name) | {"task": name} for name in names]

    def _order(self, other: str) -> dict[str, str]:
        return {"socket": str(self.seat.half.agent.socket), "as": self.id, "expect": other}

    def _serving(self, caller: str) -> str:
        return f"{self.id} ({self.seat.kind}) serves {caller}"

    def _calling(self, other: Workload) -> str:
        return f"{self.id} ({self.seat.kind}) calls {other.id}"


def seats(halves: Sequence[Half], folder: Path, spiffepeer: Path | None = None) -> list[list[Seat]]:
    """Who sits where: every library calls every other one across the halves, both ways.

    Args:
        halves: Two, which may be served by one agent.
        folder: For their executables.
        spiffepeer: The program on go-spiffe; None to do without.
    """
    kinds = [GO, PY, OURS] if spiffepeer else [PY, OURS]
    count = WORKLOADS // len(halves)
    turns = [kinds[number % len(kinds)] for number in range(count)]
    rows = [kinds[number * len(kinds) // count] for number in range(count)]
    return [
        [*_half(half, mix, folder / half.name, spiffepeer)]
        for half, mix in zip(halves, (turns, rows), strict=True)
    ]


def _half(half: Half, mix: Sequence[str], folder: Path, spiffepeer: Path | None) -> Iterator[Seat]:
    made: Counter[str] = Counter()
    commands: dict[tuple[str, int], Command] = {}
    for number, kind in enumerate(mix):
        process = kind, made[kind] // (_TOGETHER[kind] if half.together else 1)
        made[kind] += 1
        if process not in commands:
            commands[process] = command(kind, folder / f"{kind}-{process[1]}", spiffepeer)
        yield Seat(half, number, kind, commands[process])


async def register(server: ServerDaemon, all_seats: Sequence[Seat]) -> None:
    """An entry for each."""
    control = server.control
    await control.create(
        *(
            control.entry(each.path, parent=each.half.node, selectors=[f"unix:path:{each.command[0]}"])
            for each in all_seats
        )
    )


@asynccontextmanager
async def talking(halves: Sequence[Sequence[Seat]]) -> AsyncIterator[list[Workload]]:
    """All of them, running and calling each other until the block's end.

    Args:
        halves: Who sits where.
    """
    async with AsyncExitStack() as stack:
        processes: dict[Command, PeerProcess] = {}
        for seat in (seat for half in halves for seat in half):
            if seat.command not in processes:
                process = PeerProcess(*seat.command, patience=_PATIENCE)
                processes[seat.command] = await stack.enter_async_context(process)
        one, other = ([Workload(seat, processes[seat.command]) for seat in half] for half in halves)
        pairs = [*_pairs(one, other)]
        everybody = [*one, *other]
        await asyncio.gather(*(callee.serve(caller.id) for caller, callee in pairs))
        await asyncio.gather(*(each.serve(PROBE) for each in everybody))
        await asyncio.gather(*(caller.call(callee) for caller, callee in pairs))
        yield everybody


def _pairs(one: list[Workload], other: list[Workload]) -> Iterator[tuple[Workload, Workload]]:
    """Who calls whom: each its counterpart of the other half, and one of its own."""
    step = len(other) // len({each.seat.kind for each in other}) + 1  # from each library to the next
    for number, each in enumerate(one):
        yield each, other[number]
        yield each, one[(number + 1) % len(one)]
    for number, each in enumerate(other):
        yield each, one[number]
        yield each, other[(number + step) % len(other)]
