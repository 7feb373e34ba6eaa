"""A peer that misbehaves costs the server little, and others nothing."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from finial.rpc import Channel, Tcp, Unix
from support.interop_certs import CLIENT_ID, SERVER_ID
from support.interop_process import Answer, PeerProcess
from support.interop_service import UNARY
from support.interop_world import WAIT, World, case

ROOT = Path(__file__).parents[2]
MIB = 1 << 20
GROWTH = 48 * MIB
"""What one hostile connection may make the server hold at its worst; unread messages alone may be 32 MiB."""

CALM, PROTOCOL_ERROR = 0xB, 0x1


@dataclass
class Victim:
    """A server process of ours, watched."""

    process: PeerProcess
    target: str
    resident: int = 0

    def memory(self, what: str) -> int:
        """Bytes, from the kernel's books: VmRSS is now, VmHWM the most there ever was."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(what):
                return int(line.split()[1]) * 1024
        raise AssertionError(what)


async def victim(world: World) -> Victim:
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])
    tls = world.pki.go_tls(world.pki.server, CLIENT_ID)
    where = json.dumps(tls) if world.secure else f"unix:{world.folder}/v.sock"
    script = Path(__file__).with_name("server_process.py")
    process = PeerProcess(
        "env", f"PYTHONPATH={paths}", sys.executable, script, world.engine, where, hello=True
    )
    await world.stack.enter_async_context(process)
    found = Victim(process, process.hello["address"])
    found.resident = found.memory("VmRSS")
    return found


async def bystander(world: World, target: str) -> Channel:
    if not world.secure:
        return await world.channel(Unix(target.removeprefix("unix:")))
    host, _, port = target.rpartition(":")
    return await world.channel(Tcp(host, int(port)))


async def flood(world: World, found: Victim, kind: str, **how: object) -> Answer:
    """Flood the server while somebody else, connected before, makes calls; then once more from anew."""
    client = await world.go_process()
    other = await bystander(world, found.target)
    assert await other.unary(UNARY, b"echo:before", timeout=WAIT) == b"before"
    attack = asyncio.get_running_loop().create_task(
        client.order("flood", target=found.target, kind=kind, **how)
    )
    while not attack.done():
        assert await other.unary(UNARY, b"echo:during", timeout=WAIT) == b"during"
    late = await bystander(world, found.target)
    assert await late.unary(UNARY, b"echo:after", timeout=WAIT) == b"after"
    assert found.process.alive
    assert found.memory("VmHWM") - found.resident < GROWTH
    return await attack


@pytest.mark.parametrize("transport", ["unix"])
@pytest.mark.parametrize("read", [True, False], ids=["reading", "deaf"])
@pytest.mark.parametrize(
    ("kind", "count"),
    [
        ("rapid-reset", 100_000),
        ("settings", 200_000),
        ("ping", 200_000),
        ("empty-data", 200_000),
        ("continuation", 100_000),
        ("header-bomb", 2_000),
    ],
)
@case
async def test_a_flood_is_ended(world: World, kind: str, count: int, read: bool) -> None:
    found = await victim(world)
    seen = await flood(world, found, kind, count=count, read=read)
    assert seen["sent"] < count, "the server took it all"
    if read:
        assert seen["closed"]
        # The GOAWAY may be lost with the connection that the flood's unread bytes reset.
        assert seen["goaway"] in {CALM, PROTOCOL_ERROR, -1}, seen


@pytest.mark.parametrize("transport", ["unix"])
@pytest.mark.parametrize("kind", ["window-update", "priority"])
@case
async def test_cheap_frames_are_ended_or_ignored(world: World, kind: str) -> None:
    found = await victim(world)
    await flood(world, found, kind, count=300_000, read=True)
    assert found.memory("VmRSS") - found.resident < GROWTH // 4


@case
async def test_half_open_handshakes_are_closed_in_time(world: World) -> None:
    found = await victim(world)
    tls = world.pki.go_tls(world.pki.client, SERVER_ID) if world.secure else None
    seen = await flood(world, found, "half-open", count=400, timeout_ms=8_000, tls=tls)
    assert seen["closed"] == 400
