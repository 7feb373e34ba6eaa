"""New mTLS connections, both ways between two libraries, while authorities and SVIDs rotate under them."""

from __future__ import annotations

import os
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from finial.runtime.clock import SystemClock
from support import finial_peer, pyspiffe_peer
from support.finial_process import FinialAgent, FinialServer
from support.interop_process import Answer, PeerProcess
from support.site import ServerDaemon

_NODE = "/node"
_PATIENCE = 90.0  # seconds, for an answer of a peer; for an activation beside what is planned
_AFTERWARDS = 200  # connections that each side makes after the last activation
_SERVING, _CALLING = "serving", "calling"
# py-spiffe shows the first SVID that an agent names; agents name them by the ids of their entries.
_PY, _OURS = "a-py-spiffe", "b-finial"
_PROGRAMS = {_PY: pyspiffe_peer.__file__, _OURS: finial_peer.__file__}
# A connection every 50 ms: ours begins one at each beat, the other one waits between the end of one and the
# beginning of the next, each of which takes it about 40.
_PAUSES_MS = {_PY: 10, _OURS: 50}


@dataclass(frozen=True)
class Plan:
    """How fast all turns.

    Args:
        ca_seconds: Life of an authority.
        svid_seconds: Life of the SVIDs of workloads.
        activations: How many authorities have to take over by themselves.
    """

    ca_seconds: int
    svid_seconds: int
    activations: int


@dataclass
class Side:
    """One of the two workloads: it serves the other one, and calls it all the time."""

    name: str
    socket: Path
    process: PeerProcess

    async def serve(self, other: str) -> str:
        """Begin to serve; where."""
        order = {"target": "127.0.0.1:0", **self._order(_SERVING, other)}
        return str((await self.process.order("serve", **order))["address"])

    async def call(self, other: str, target: str) -> None:
        """Begin to call."""
        order = {"target": target, **self._order(_CALLING, other)}
        await self.process.order("dial", every_ms=_PAUSES_MS[self.name], **order)

    def _order(self, task: str, other: str) -> dict[str, str]:
        return {"name": task, "socket": str(self.socket), "as": _id(self.name), "expect": _id(other)}

    async def figures(self, **wanted: int) -> Answer:
        """How its calls stand, once there are so many and so many certificates were seen on them."""
        return await self.process.order("dialled", name=_CALLING, **wanted)

    async def renewed(self) -> None:
        """Wait until there is another SVID on both ends of its calls, and many calls with it."""
        now = await self.figures()
        now = await self.figures(own=now["own"] + 1, peer=now["peer"] + 1)
        await self.figures(count=now["ok"] + now["failed"] + _AFTERWARDS)

    async def stop(self) -> dict[str, Answer]:
        """End; the last figures."""
        return {task: await self.process.order("stop", name=task) for task in (_CALLING, _SERVING)}


def _id(name: str) -> str:
    return f"spiffe://example.org/{name}"


async def rotate(folder: Path, plan: Plan) -> None:
    """Run until so many authorities have taken over, and print it; no handshake may fail, on no side."""
    async with AsyncExitStack() as stack:
        options = (f"--ca-ttl={plan.ca_seconds}s", "--agent-ttl=1m", "--log-level=info")
        server = await stack.enter_async_context(FinialServer(folder / "s", *options))
        token, bundle = await server.control.token(agent=_NODE), await server.bundle_file()
        await _register(server, plan.svid_seconds)
        agent = FinialAgent(folder / "a", server=server, token=token, bundle=bundle)
        await stack.enter_async_context(agent)
        sides = []
        for name, program in _PROGRAMS.items():
            process = PeerProcess(sys.executable, program, patience=_PATIENCE)
            sides.append(Side(name, agent.socket, await stack.enter_async_context(process)))
        one, other = sides
        targets = await one.serve(other.name), await other.serve(one.name)
        await other.call(one.name, targets[0])
        await one.call(other.name, targets[1])
        await _activations(server, plan, sides)
        for side in sides:
            await side.renewed()
        # Calls end before what they are made to.
        for side in sides:
            await side.process.order("stop", name=_CALLING)
        for side in sides:
            for task, found in (await side.stop()).items():
                print(f"{side.name} {task}: {_told(found)}")
                assert found["failed"] == 0, found["errors"]
                assert found["ok"] >= _AFTERWARDS
                assert found["authorities"] > plan.activations


async def _register(server: ServerDaemon, ttl: int) -> None:
    control = server.control
    entries = []
    for name in _PROGRAMS:
        entry = control.entry(f"/{name}", parent=_NODE, selectors=[f"unix:uid:{os.getuid()}"], ttl=ttl)
        entry.id = name
        entries.append(entry)
    await control.create(*entries)


async def _activations(server: ServerDaemon, plan: Plan, sides: list[Side]) -> None:
    clock = SystemClock()
    begin, at = clock.monotonic(), 0
    for _ in range(plan.activations):
        words = ("authority activated", "kind=x509", "its time has come")
        at = await server.line(*words, after=at, patience=plan.ca_seconds + _PATIENCE)
        print(f"after {clock.monotonic() - begin:.0f} s: {server.lines[at - 1]}", flush=True)
        for side in sides:
            print(f"    {side.name}: {_told(await side.figures())}", flush=True)


def _told(found: Answer) -> str:
    return (
        f"{found['ok']} connections, {found['failed']} failed; {found['own']} own SVIDs, "
        f"{found['peer']} of the peer, {found['authorities']} authorities"
    )
