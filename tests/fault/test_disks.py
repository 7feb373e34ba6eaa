"""Disks that fail and fill up: errors are answered as errors, and all goes on when the disk is well again."""

from __future__ import annotations

import asyncio
import os
import secrets
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from finial.rpc import RpcError, StatusCode
from support.broken_disk import failing_fsync, require_strace, small_disk
from support.dice import Dice
from support.finial_process import FinialAgent, FinialServer
from support.ledger import Ledger
from support.load import Load
from support.racked import RackedAgent, rack_server
from support.site import AgentDaemon
from support.stream import Stream

SEED = os.environ.get("SEED") or secrets.token_hex(4)

_SECONDS = 90.0  # for a test; reached only by a bug
_SOME = 30  # calls that go well before it does
_TIMES = 3  # that a disk fails in one test
_AGENT_TTL = "--agent-ttl=12s"  # so that agents renew at six
_WORKLOAD = "spiffe://example.org/web"
_MYSELF = f"unix:uid:{os.getuid()}"


def test_a_server_whose_fsync_fails(sockets: Path) -> None:
    require_strace()
    print(f"SEED={SEED}")

    async def main() -> None:
        async with asyncio.timeout(_SECONDS), FinialServer(sockets / "s") as server:
            ledger = Ledger(server)
            load = Load(ledger, Dice(SEED))
            for every in (1, 2, 3):
                async with asyncio.TaskGroup() as group:
                    work = group.create_task(load.until_refused())
                    await ledger.more(_SOME, work)
                    async with failing_fsync(server.pid, every=every):
                        await work
                        if every == 1:
                            await _is_answered(ledger, "disk I/O error")
                if every != 2:
                    await ledger.audit()
                    await ledger.writes()
                await server.kill()
                await server.start()
                await ledger.audit()

    asyncio.run(main())


def test_a_server_whose_disk_is_full(sockets: Path) -> None:
    print(f"SEED={SEED}")

    async def main() -> None:
        with small_disk(sockets / "s") as disk:
            async with asyncio.timeout(_SECONDS), FinialServer(sockets / "s") as server:
                ledger = Ledger(server)
                load = Load(ledger, Dice(SEED))
                for _ in range(_TIMES):
                    async with asyncio.TaskGroup() as group:
                        work = group.create_task(load.until_refused())
                        await ledger.more(_SOME, work)
                        disk.fill()
                        await work
                        await _is_answered(ledger, "full")
                    disk.free()
                    await ledger.audit()
                    await ledger.writes()
                    await server.kill()
                    await server.start()
                    await ledger.audit()

    asyncio.run(main())


@pytest.mark.usefixtures("rack_attestor")
def test_agents_whose_disks_fail(sockets: Path) -> None:
    require_strace()

    async def main() -> None:
        async with asyncio.timeout(_SECONDS), AsyncExitStack() as stack:
            disk = stack.enter_context(small_disk(sockets / "full"))
            server = await stack.enter_async_context(rack_server(sockets / "s", _AGENT_TTL))
            full = await _agents(server, sockets / "full")
            bad = await _agents(server, sockets)
            async with asyncio.TaskGroup() as group:
                for agent in full + bad:
                    stack.push_async_callback(agent.stop)
                    group.create_task(agent.start())
            streams = [await stack.enter_async_context(Stream(agent.socket)) for agent in full + bad]
            for stream in streams:
                await stream.identified(_WORKLOAD)
            async with AsyncExitStack() as broken:
                disk.fill()
                for agent in bad:
                    await broken.enter_async_context(failing_fsync(agent.pid))
                for agent in full + bad:
                    await agent.line("cannot write")
            disk.free()
            async with asyncio.TaskGroup() as group:
                for agent in full + bad:
                    group.create_task(_goes_on(agent))
            assert [stream.revocations for stream in streams] == [0] * len(streams)

    asyncio.run(main())


async def _agents(server: FinialServer, folder: Path) -> list[AgentDaemon]:
    """An agent that renews and one that attests again, with their data in this folder."""
    control, bundle = server.control, await server.bundle_file()
    token = await control.token()
    renewing = FinialAgent(folder / "t", server=server, token=token, bundle=bundle)
    attesting = RackedAgent(folder / "r", folder.name, server=server, bundle=bundle)
    for parent in (renewing.id, f"/spire/agent/rack/{folder.name}"):
        await control.create(control.entry("/web", parent=parent, selectors=[_MYSELF]))
    return [renewing, attesting]


async def _goes_on(agent: AgentDaemon) -> None:
    """It gets a new identity by itself, and what it has kept is good for another start."""
    await agent.find(
        lambda line: "identity renewed" in line or "node attested" in line, after=len(agent.lines)
    )
    await agent.kill()
    await agent.start()
    async with Stream(agent.socket) as stream:
        await stream.identified(_WORKLOAD)


async def _is_answered(ledger: Ledger, why: str) -> None:
    """A write is refused with the reason, while reading goes on."""
    control = ledger.server.control
    name = f"refused-{len(ledger.entries)}"
    ledger.entry(name).may.add(0)  # until the next write a kill can still bring it back, whole
    with pytest.raises(RpcError) as caught:
        await control.create(ledger.message(name, 0))
    assert caught.value.code is StatusCode.UNAVAILABLE
    assert why in caught.value.message
    assert len(await control.entries()) > 0
