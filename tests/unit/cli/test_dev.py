"""`finial dev`: a real server and a real agent in the test's own process, and as a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from finial.cli.dev.domain import Followed, Places, World, run
from finial.cli.dev.entries import Changes
from finial.cli.dev.file import Plan, PlanFile
from finial.cli.dev.machine import ThisMachine
from finial.cli.dev.run import Screen, described
from finial.core.errors import FinialError
from finial.core.ids import SpiffeID
from finial.rpc import Channel, Tcp, Unix
from finial.runtime.chance import SystemChance
from finial.runtime.clock import SystemClock
from finial.sdk import X509SVID, Revoked, Updated, WorkloadClient, X509Context
from finial.wire.gen import spire_api_server_agent_v1 as agent_pb
from finial.wire.gen import spire_api_server_entry_v1 as entry_pb
from finial.wire.gen import spire_api_types as types
from finial.wire.registry import id_message
from support.admin import Finial
from support.rpc import run as run_test

ME = f"unix:uid:{os.geteuid()}"
WEB = f'trust_domain = "example.org"\n[[identity]]\nid = "/web"\nselectors = ["{ME}"]\n'
Events = AsyncGenerator[Updated[X509Context] | Revoked, None]


class ShiftedClock(SystemClock):
    """The machine's clock, so much ahead."""

    def __init__(self, ahead: timedelta) -> None:
        self._ahead = ahead

    def now(self) -> datetime:
        return super().now() + self._ahead


@dataclass
class Heard:
    """What a listener was told; each `asyncio.Queue` holds what has not been looked at."""

    ups: asyncio.Queue[Places] = field(default_factory=asyncio.Queue)
    changes: asyncio.Queue[Changes] = field(default_factory=asyncio.Queue)
    refusals: asyncio.Queue[FinialError] = field(default_factory=asyncio.Queue)

    def up(self, places: Places, plan: Plan) -> None:
        self.ups.put_nowait(places)

    def changed(self, changes: Changes) -> None:
        self.changes.put_nowait(changes)

    def refused(self, error: FinialError) -> None:
        self.refusals.put_nowait(error)


@dataclass
class Dev:
    """A running trust domain."""

    places: Places
    heard: Heard
    admin: Channel

    async def entries(self) -> list[types.Entry]:
        reply = await self.admin.unary(entry_pb.Entry.ListEntries, entry_pb.ListEntriesRequest())
        return list(reply.entries)

    async def agents(self) -> list[str]:
        reply = await self.admin.unary(agent_pb.Agent.ListAgents, agent_pb.ListAgentsRequest())
        return [f"spiffe://{each.id.trust_domain}{each.id.path}" for each in reply.agents]

    async def evict(self, agent_id: str) -> None:
        request = agent_pb.DeleteAgentRequest(id=id_message(SpiffeID(agent_id)))
        await self.admin.unary(agent_pb.Agent.DeleteAgent, request)

    async def fetch(self) -> X509Context:
        async with WorkloadClient(f"unix://{self.places.workload_api}") as client:
            return await client.fetch_x509_context()


@asynccontextmanager
async def running(folder: Path, file: Path | None, *, ahead: timedelta = timedelta(0)) -> AsyncIterator[Dev]:
    """`finial dev`, from start to end."""
    options = {"data_dir": str(folder / "d"), "socket": str(folder / "a.sock")}
    plans, heard, stop = PlanFile(file, options, ThisMachine()), Heard(), asyncio.Event()
    world = World(ShiftedClock(ahead), SystemChance(), timedelta(milliseconds=20))
    task = asyncio.ensure_future(run(plans.read(), plans, heard, world=world, stop=stop))
    up = asyncio.ensure_future(heard.ups.get())
    try:
        await asyncio.wait({task, up}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        places = await up
        async with Channel(Unix(str(places.admin))) as admin:
            yield Dev(places, heard, admin)
    finally:
        up.cancel()
        stop.set()
        await task


@asynccontextmanager
async def watching(dev: Dev) -> AsyncIterator[Events]:
    """A workload that is told of each change."""
    address = f"unix://{dev.places.workload_api}"
    async with WorkloadClient(address) as client, aclosing(client.watch_x509()) as events:
        yield events


def test_without_a_file_this_process_is_its_user(sockets: Path) -> None:
    async def main() -> None:
        async with running(sockets, None) as dev:
            context = await dev.fetch()
            assert context.svid.id == SpiffeID(f"spiffe://dev.local/{ThisMachine().me().name}")
            assert isinstance(dev.places.server, Tcp)
            assert dev.places.server.port
            assert not dev.heard.changes.qsize()

    run_test(main())


def test_what_is_changed_in_the_file_reaches_workloads(sockets: Path) -> None:
    async def main() -> None:
        file = sockets / "dev.toml"
        file.write_text(WEB)
        async with running(sockets, file) as dev, watching(dev) as events:
            assert (await svid(events)).leaf.names.dns == ()
            file.write_text(f'{WEB}dns_names = ["web.example.org"]\n')
            changes = await dev.heard.changes.get()
            assert [len(each) for each in (changes.created, changes.updated, changes.deleted)] == [0, 1, 0]
            assert (await svid(events)).leaf.names.dns == ("web.example.org",)

            file.write_text(f'{WEB}[[identity]]\nid = "/db"\nselectors = ["{ME}"]\nhint = "db"\n')
            changes = await dev.heard.changes.get()
            assert [len(each) for each in (changes.created, changes.updated, changes.deleted)] == [1, 1, 0]

            file.write_text('trust_domain = "example.org"\n')
            assert len((await dev.heard.changes.get()).deleted) == 2
            async for event in events:
                if isinstance(event, Revoked):
                    assert "no identity issued" in str(event.why)
                    break

    run_test(main())


async def svid(events: Events) -> X509SVID:
    event = await anext(events)
    assert isinstance(event, Updated)
    return event.value.svid


def test_a_file_with_mistakes_changes_nothing_and_all_are_told(sockets: Path) -> None:
    async def main() -> None:
        file = sockets / "dev.toml"
        file.write_text(WEB)
        async with running(sockets, file) as dev:
            before = await dev.entries()
            file.write_text(f'{WEB}ttl = "soon"\n[[identity]]\nid = "/x"\nuser = "no such user"\n')
            refusal = await dev.heard.refusals.get()
            assert "5: identity[0].ttl" in str(refusal)
            assert "(and 1 more)" in str(refusal)
            file.write_text('trust_domain = "other.example"\n')
            assert "takes effect at the next start only" in str(await dev.heard.refusals.get())
            file.unlink()
            assert "cannot read" in str(await dev.heard.refusals.get())
            assert await dev.entries() == before
            file.write_text(WEB)
            assert await dev.heard.changes.get() == Changes()

    run_test(main())


def test_entries_that_somebody_else_made_are_left_alone(sockets: Path) -> None:
    async def main() -> None:
        file = sockets / "dev.toml"
        file.write_text(WEB)
        async with running(sockets, file) as dev:
            (web,) = [each for each in await dev.entries() if each.spiffe_id.path == "/web"]
            own = types.Entry(
                spiffe_id=types.SPIFFEID(trust_domain="example.org", path="/db"),
                parent_id=web.parent_id,
                selectors=web.selectors,
            )
            request = entry_pb.BatchCreateEntryRequest(entries=[own])
            await dev.admin.unary(entry_pb.Entry.BatchCreateEntry, request)
            file.write_text(WEB.replace("/web", "/db"))  # which is there already, under another id
            assert "similar entry already exists" in str(await dev.heard.refusals.get())
            file.write_text('trust_domain = "example.org"\n')
            await dev.heard.changes.get()
            assert "/db" in {each.spiffe_id.path for each in await dev.entries()}

    run_test(main())


def test_the_next_start_goes_on_where_the_last_one_ended(sockets: Path) -> None:
    async def main() -> None:
        async with running(sockets, None) as dev:
            agents, entries = await dev.agents(), await dev.entries()
            bundles = (await dev.fetch()).bundles
        async with running(sockets, None) as dev:
            assert await dev.agents() == agents
            assert await dev.entries() == entries
            assert (await dev.fetch()).bundles == bundles

    run_test(main())


def test_a_laptop_that_slept_longer_than_its_agent_lives_joins_anew(sockets: Path) -> None:
    async def main() -> None:
        async with running(sockets, None) as dev:
            (first,) = await dev.agents()
            count = len(await dev.entries())
        async with running(sockets, None, ahead=timedelta(days=8)) as dev:
            (second,) = await dev.agents()
            assert second != first
            assert len(await dev.entries()) == count
            assert (await dev.fetch()).svid.id == SpiffeID(f"spiffe://dev.local/{ThisMachine().me().name}")

    run_test(main())


def test_an_agent_that_was_evicted_joins_anew(sockets: Path) -> None:
    async def main() -> None:
        async with running(sockets, None) as dev, watching(dev) as events:
            await svid(events)
            (first,) = await dev.agents()
            count = len(await dev.entries())
            await dev.evict(first)
            assert isinstance(await anext(events), Revoked)
            while (agents := await dev.agents()) in ([], [first]):
                pass
            assert len(agents) == 1
            assert len(await dev.entries()) == count

            async def again() -> SpiffeID | None:
                try:
                    return (await dev.fetch()).svid.id
                except FinialError:  # it is starting
                    return None

            while await again() is None:
                pass

    run_test(main())


def test_what_keeps_it_from_starting_is_raised(sockets: Path) -> None:
    async def main() -> None:
        async with running(sockets, None):
            with pytest.raises(FinialError, match="is in use by another process"):
                async with running(sockets, None):
                    pass
        (sockets / "a.sock").mkdir()
        with pytest.raises(FinialError, match=r"a\.sock"):
            async with running(sockets, None):
                pass
        file = sockets / "dev.toml"
        file.write_text(WEB)
        with pytest.raises(FinialError, match=r"dev\.local"):
            async with running(sockets, file):
                pass

    run_test(main())


def test_the_screen_says_what_to_do_next(sockets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = sockets / "dev.toml"
    file.write_text(f'{WEB}ttl = "5m"\nhint = "h"\ndns_names = ["a.example", "b.example"]\n')
    followed: Followed = PlanFile(file, {"data_dir": "/d"}, ThisMachine())
    plan = followed.read()
    assert isinstance(plan, Plan)
    line = f"spiffe://example.org/web  {ME}; ttl 5m; dns a.example, b.example; hint h"
    assert list(described(plan.entries)) == [line]
    screen = Screen(file)
    screen.up(Places(Path("/my run/a.sock"), Path("/d/server.sock"), Tcp("127.0.0.1", 1)), plan)
    said = capsys.readouterr().out
    assert "export SPIFFE_ENDPOINT_SOCKET=unix:///my%20run/a.sock\n" in said
    assert f"Identities, by {file}, which is followed:\n  {line}\n" in said
    assert "finial server entry show --socket /d/server.sock" in said
    screen.changed(Changes(created=plan.entries))
    screen.changed(Changes())
    said = capsys.readouterr().out
    assert f"  new      {line}\n" in said
    assert said.endswith("  no identity is another\n")


def test_mistakes_in_the_file_keep_the_command_from_starting(finial: Finial, sockets: Path) -> None:
    file = sockets / "dev.toml"
    file.write_text('[[identity]]\nid = "/x"\nusr = "x"\n')
    found = finial("dev", file, "--bind", "x")
    assert found.code == 1
    bind, unknown, missing = found.err.splitlines()
    assert bind == "finial: error: --bind: 'x' is not an address host:port"
    assert unknown.startswith(f"finial: error: {file}:3: identity[0].usr: unknown key; did you mean user? ")
    assert missing.startswith(f"finial: error: {file}:1: identity[0].selectors: not set: say which processes")


def test_the_command_runs_until_a_signal_and_follows_its_file(sockets: Path) -> None:
    file = sockets / "dev.toml"
    file.write_text(WEB)
    places = ["--data-dir", str(sockets / "d"), "--socket", str(sockets / "a.sock")]
    command = [sys.executable, "-m", "finial.cli.main", "dev", str(file), *places]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        until(process.stdout.readline, "finial server entry show")
        file.write_text(WEB + 'hint = "h"\n')
        until(process.stdout.readline, "hint h")
        file.write_text("[")
        until(process.stderr.readline, "dev.toml was changed and cannot be used")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert process.stdout.read() == process.stderr.read() == ""


def until(readline: object, words: str) -> None:
    """Read lines until one has these words."""
    assert callable(readline)
    while words not in (line := readline()):
        assert line, f"it ended without: {words}"
