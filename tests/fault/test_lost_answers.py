"""A kill between what the server has done and the agent's hearing of it: the next start makes it good."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest

from support.finial_process import FinialAgent, FinialServer
from support.racked import RackedAgent, rack_server
from support.site import AgentDaemon
from support.stream import Stream
from support.valve import Valve

_SECONDS = 60.0  # for a test; reached only by a bug
_NODE, _WORKLOAD = "/node", "spiffe://example.org/web"
_MYSELF = f"unix:uid:{os.getuid()}"
_AGENT_TTL = "--agent-ttl=10s"  # so that an agent renews at five


@pytest.mark.parametrize("killed", ["agent", "server", "agent and server"])
def test_a_token_that_was_used_and_brought_no_svid(sockets: Path, killed: str) -> None:
    async def main() -> None:
        async with asyncio.timeout(_SECONDS), AsyncExitStack() as stack:
            server = await stack.enter_async_context(FinialServer(sockets / "s"))
            await _register(server)

            async def joined() -> bool:
                return bool(await server.control.agents())

            valve = await stack.enter_async_context(Valve(server.port, joined))
            token, bundle = await server.control.token(agent=_NODE), await server.bundle_file()
            agent = FinialAgent(sockets / "a", valve.option, server=server, token=token, bundle=bundle)
            stack.push_async_callback(agent.stop)
            await agent.launch()
            await valve.held.wait()
            for name, daemon in (("agent", agent), ("server", server)):
                if name in killed:
                    await daemon.kill()
            if "server" in killed:
                await server.start()
            if "agent" in killed:
                await agent.launch()
            await agent.ready()
            assert [each.id for each in await server.control.agents()] == [server.control.id(agent.id)]
            stream = await stack.enter_async_context(Stream(agent.socket))
            await stream.identified(_WORKLOAD)

    asyncio.run(main())


@pytest.mark.usefixtures("rack_attestor")
def test_a_renewed_svid_that_never_came(sockets: Path) -> None:
    async def main() -> None:
        async with asyncio.timeout(_SECONDS), asyncio.TaskGroup() as group:
            group.create_task(_renewal(sockets / "renewal"))
            group.create_task(_attestation(sockets / "attestation"))

    asyncio.run(main())


async def _renewal(folder: Path) -> None:
    """Of an agent that has used its token: the SVID from before is still good."""
    folder.mkdir()
    async with FinialServer(folder / "s", _AGENT_TTL) as server, AsyncExitStack() as stack:
        await _register(server)
        file = server.folder / "data" / "server.db"
        valve = await stack.enter_async_context(
            Valve(server.port, lambda: asyncio.to_thread(_is_pending, file))
        )
        token, bundle = await server.control.token(agent=_NODE), await server.bundle_file()
        agent = FinialAgent(folder / "a", valve.option, server=server, token=token, bundle=bundle)
        await _killed_and_started(agent, valve, stack, word="identity renewed")


def _is_pending(file: Path) -> bool:
    """Whether there is an SVID that its agent has not used yet, which only the database tells."""
    with closing(sqlite3.connect(file)) as database:
        [count] = database.execute("SELECT count(*) FROM nodes WHERE pending_serial != ''").fetchone()
        return bool(count)


async def _attestation(folder: Path) -> None:
    """Of a node that attests again instead: the SVID from before is good no more."""
    folder.mkdir()
    async with rack_server(folder / "s", _AGENT_TTL) as server, AsyncExitStack() as stack:
        await _register(server, "/spire/agent/rack/one")
        serials: set[str] = set()

        async def attested_again() -> bool:
            serials.update(node.x509svid_serial_number for node in await server.control.agents())
            return len(serials) > 1

        valve = await stack.enter_async_context(Valve(server.port, attested_again))
        bundle, way = await server.bundle_file(), (valve.option,)
        agent = RackedAgent(folder / "a", "one", server=server, bundle=bundle, options=way)
        await _killed_and_started(agent, valve, stack, word="node attested")


async def _killed_and_started(agent: AgentDaemon, valve: Valve, stack: AsyncExitStack, *, word: str) -> None:
    await stack.enter_async_context(agent)
    await valve.held.wait()
    await agent.kill()
    mark = len(agent.lines)
    await agent.start()
    await agent.line(word, after=mark)
    stream = await stack.enter_async_context(Stream(agent.socket))
    await stream.identified(_WORKLOAD)


async def _register(server: FinialServer, parent: str = _NODE) -> None:
    control = server.control
    await control.create(control.entry("/web", parent=parent, selectors=[_MYSELF]))
