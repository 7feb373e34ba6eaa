"""The foreign workloads, go-spiffe and py-spiffe, as processes that take orders."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.interop_process import Answer, PeerProcess
from support.site import AgentDaemon, ServerDaemon

NODE = "/node1"
"""The alias of the node that the workloads run on."""

_PYTHON_PEER = Path(__file__).with_name("pyspiffe_peer.py")
_PATIENCE = 90.0  # seconds for what they are told to wait for


@dataclass
class Workload:
    """A running foreign workload.

    Args:
        name: What its entry calls it, as a path.
        process: Takes the orders.
        executable: What tells it apart at the agent.
        hint: What its entry says, or None if its library does not tell.
    """

    name: str
    process: PeerProcess
    executable: Path
    hint: str | None

    @property
    def selector(self) -> str:
        """Selects this program and no other."""
        return f"unix:path:{self.executable}"

    async def order(self, op: str, agent: AgentDaemon, **fields: Any) -> Answer:
        """An order that needs the agent's Workload API."""
        return await self.process.order(op, socket=str(agent.socket), **fields)

    async def attempt(self, op: str, agent: AgentDaemon, **fields: Any) -> Answer:
        """The same, whatever comes of it."""
        return await self.process.attempt(op, socket=str(agent.socket), **fields)

    async def watch(self, agent: AgentDaemon) -> Answer:
        """Follow the Workload API under the name `x509`; the first update."""
        await self.order("watch", agent, name="x509")
        return await self.update(1)

    async def update(self, number: int) -> Answer:
        """The update of this number, waited for."""
        return await self.process.order("update", name="x509", number=number)

    async def failure(self, number: int) -> Answer:
        """The failure of this number, waited for."""
        return await self.process.order("failure", name="x509", number=number)

    async def watched(self) -> tuple[int, int]:
        """How many updates and failures there were."""
        answer = await self.process.order("watched", name="x509")
        return answer["updates"], answer["failures"]


@dataclass
class Pair:
    """One workload of each kind."""

    go: Workload
    py: Workload

    @property
    def both(self) -> tuple[Workload, Workload]:
        """Both of them."""
        return self.go, self.py


@asynccontextmanager
async def workloads(spiffepeer: Path) -> AsyncIterator[Pair]:
    """Both workloads, running until the block's end."""
    async with AsyncExitStack() as stack:
        go = await stack.enter_async_context(PeerProcess(spiffepeer, patience=_PATIENCE))
        py = await stack.enter_async_context(PeerProcess(sys.executable, _PYTHON_PEER, patience=_PATIENCE))
        yield Pair(
            Workload("/go", go, Path(os.path.realpath(spiffepeer)), "gopher"),
            Workload("/py", py, Path(os.path.realpath(sys.executable)), None),
        )


async def register(server: ServerDaemon, *members: Workload, ttl: int = 0) -> dict[str, str]:
    """Entries for these workloads on `NODE`; the entries' ids by the workloads' names."""
    control = server.control
    entries = [
        control.entry(each.name, parent=NODE, selectors=[each.selector], ttl=ttl, hint=each.hint or "")
        for each in members
    ]
    ids = await control.create(*entries)
    return {each.name: id_ for each, id_ in zip(members, ids, strict=True)}
