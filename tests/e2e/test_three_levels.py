"""Machine, cluster, workload: identities that hold only where a node is what its attestor saw."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from finial.rpc import StatusCode
from support import pyspiffe_peer
from support.interop_process import Answer, PeerProcess
from support.racked import RackedAgent, rack_server
from support.site import ServerDaemon
from support.stream import Stream

_SECONDS = 90.0  # for the whole test; reached only by a bug
_AGENT_TTL = "--agent-ttl=6s"  # so that a node attests again every three seconds
_SVID_TTL = 6
_WORKLOAD = "spiffe://example.org/web"


@pytest.mark.usefixtures("rack_attestor")
def test_a_selector_taken_from_a_node_takes_the_identities_below_it(sockets: Path) -> None:
    async def main() -> None:
        async with asyncio.timeout(_SECONDS), AsyncExitStack() as stack:
            await _two_nodes(sockets, stack)

    asyncio.run(main())


async def _two_nodes(folder: Path, stack: AsyncExitStack) -> None:
    server = await stack.enter_async_context(rack_server(folder / "s", _AGENT_TTL))
    await _register(server)
    bundle = await server.bundle_file()
    one, other = (
        RackedAgent(folder / name, name, "room:cellar", "disk:fast", server=server, bundle=bundle)
        for name in ("one", "other")
    )
    for agent in (one, other):
        await stack.enter_async_context(agent)
    peer = await stack.enter_async_context(PeerProcess(sys.executable, pyspiffe_peer.__file__))
    mine, neighbours = Stream(one.socket), Stream(other.socket)
    for agent, stream in ((one, mine), (other, neighbours)):
        await stack.enter_async_context(stream)
        await stream.identified(_WORKLOAD)
        await peer.order("watch", name=agent.name, socket=str(agent.socket))
        assert [svid["id"] for svid in (await _update(peer, agent, 1))["svids"]] == [_WORKLOAD]

    one.take("disk:fast")
    assert (await mine.revoked()).why.reason.id == "workload-denied"
    failure = await peer.order("failure", name=one.name, number=1)
    assert failure["code"] == StatusCode.PERMISSION_DENIED
    assert {node.id.path: len(node.selectors) for node in await server.control.agents()} == {
        "/spire/agent/rack/one": 1,
        "/spire/agent/rack/other": 2,
    }

    await neighbours.rotated(neighbours.serial)
    assert neighbours.ids == (_WORKLOAD,)
    assert neighbours.revocations == 0
    assert (await peer.order("watched", name=other.name))["failures"] == 0

    one.give("disk:fast")
    await mine.identified(_WORKLOAD)


async def _register(server: ServerDaemon) -> None:
    control = server.control
    await control.create(
        control.entry("/storage", parent="/spire/server", selectors=["rack:room:cellar", "rack:disk:fast"]),
        control.entry("/cluster/db", parent="/storage", selectors=["cluster:name:db"]),
        control.entry("/web", parent="/cluster/db", selectors=[f"unix:uid:{os.getuid()}"], ttl=_SVID_TTL),
    )


async def _update(peer: PeerProcess, agent: RackedAgent, number: int) -> Answer:
    return await peer.order("update", name=agent.name, number=number)
