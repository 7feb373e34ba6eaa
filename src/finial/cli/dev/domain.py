"""A trust domain in one process: a server, an agent that has joined it, and the file that is followed.

The server starts first; the entries are there before the agent, so that its first sync brings them. The agent
joins by a token that never leaves the process, and joins anew when it has lost its identity, which happens to
every laptop that sleeps for longer than an SVID lives.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from finial.agent import app as agent_app
from finial.agent.config import AgentSettings
from finial.cli.dev.entries import Changes, bring_about
from finial.cli.dev.file import DevSettings, Plan, check_change, node_id
from finial.cli.session import CallError, Session
from finial.core import pem
from finial.core.errors import FinialError, Kind, SpiffeIDError
from finial.core.ids import SpiffeID
from finial.rpc import Channel, Tcp, Unix
from finial.runtime import files
from finial.runtime.chance import Chance
from finial.runtime.clock import Clock
from finial.runtime.service import run_until
from finial.server import app as server_app
from finial.server.config import ServerSettings
from finial.wire.bundles import read_bundle
from finial.wire.gen import spire_api_server_agent_v1 as agent_pb
from finial.wire.gen import spire_api_server_bundle_v1 as bundle_pb
from finial.wire.registry import id_message

# Long lives, so that a laptop that was asleep for some days goes on where it was.
_CA_TTL: Final = timedelta(days=42)
_AGENT_TTL: Final = timedelta(days=7)
_TOKEN_TTL: Final = timedelta(minutes=1)
_PUBLIC_FOLDER, _PUBLIC_FILE = 0o755, 0o644

# What the agent says when it has no identity that it could go on with.
_LOST: Final = frozenset({"agent-token-missing", "agent-identity-expired", "agent-expired", "agent-expelled"})


_Result = TypeVar("_Result")


class Followed(Protocol):
    """The file, which may change."""

    def changed(self) -> bool:
        """Whether it is another than when it was last read."""

    def read(self) -> Plan:
        """What it says now; raises FinialError when it says nothing that could be carried out."""


class Listener(Protocol):
    """Is told what happens."""

    def up(self, places: Places, plan: Plan) -> None:
        """Identities can be had."""

    def changed(self, changes: Changes) -> None:
        """The file was changed, and the entries are what it says."""

    def refused(self, error: FinialError) -> None:
        """The file was changed, and cannot be carried out; what was before stays."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where things are.

    Args:
        workload_api: The socket of the Workload API, absolute.
        admin: The socket for administration, absolute.
        server: Where agents reach the server.
    """

    workload_api: Path
    admin: Path
    server: Tcp


@dataclass(frozen=True, slots=True)
class World:
    """Time, chance, and how often is looked for changes.

    Args:
        clock: Time.
        chance: Randomness.
        interval: Between two looks at the file, and between two syncs of the agent.
    """

    clock: Clock
    chance: Chance
    interval: timedelta = timedelta(seconds=1)


async def run(
    plan: Plan, followed: Followed, listener: Listener, *, world: World, stop: asyncio.Event
) -> None:
    """Be a trust domain until told to stop.

    Args:
        plan: What the file says.
        followed: The file.
        listener: Is told what happens.
        world: Time and chance.
        stop: Set when it is to end.

    Raises:
        FinialError: Something that a person can mend.
    """
    folder = files.folder(plan.settings.folder, _PUBLIC_FOLDER)
    server_stop = asyncio.Event()
    started: asyncio.Future[server_app.Running] = asyncio.get_running_loop().create_future()
    settings = ServerSettings(
        trust_domain=plan.settings.trust_domain,
        data_dir=folder / "server",
        bind=plan.settings.bind,
        socket=plan.settings.admin_socket,
        ca_ttl=_CA_TTL,
        agent_ttl=_AGENT_TTL,
    )
    server = _Process(
        server_app.run(
            settings, clock=world.clock, chance=world.chance, stop=server_stop, ready=started.set_result
        ),
        server_stop,
    )
    try:
        running = await server.until(started)
        assert isinstance(running.address, Tcp)
        places = Places(plan.settings.socket.absolute(), settings.socket.absolute(), running.address)
        async with Channel(Unix(str(settings.socket))) as channel:
            node = _Node(plan.settings, folder, Session("server", channel), places, world=world)
            await bring_about(node.session, node.alias, plan.entries)
            follow = _follow(node, plan, followed, listener)
            await run_until(stop, [server.watch(), node.run(), follow])
    finally:
        await server.end()


class _Process:
    """A server or an agent in this process, which ends in order and not by being cancelled.

    Args:
        main: What it does.
        stop: Set to end it.
    """

    def __init__(self, main: Coroutine[Any, Any, None], stop: asyncio.Event) -> None:
        self._task = asyncio.ensure_future(main)
        self._stop = stop

    async def until(self, event: asyncio.Future[_Result]) -> _Result:
        """Wait for something; raises what the process raises when it ends before that."""
        waiting: set[asyncio.Future[Any]] = {self._task, event}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            self._task.result()
        return event.result()

    async def watch(self) -> None:
        """Wait until it ends by itself; raises what it raises."""
        await asyncio.shield(self._task)

    async def end(self) -> None:
        """End it; raises what it raises."""
        self._stop.set()
        await self._task


@dataclass(eq=False, slots=True)
class _Node:
    """This machine as a node: its agent, which joins whenever it has to.

    Args:
        settings: Of `finial dev`.
        folder: The data folder.
        session: With the server.
        places: Where things are.
        world: Time and chance.
        synced: Set once workloads can be told who they are.
    """

    settings: DevSettings
    folder: Path
    session: Session
    places: Places
    world: World
    synced: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def alias(self) -> SpiffeID:
        """What it is called, whatever the ID of its agent."""
        return node_id(self.settings.trust_domain)

    async def run(self) -> None:
        """Keep an agent running; FinialError when there can be none."""
        token: str | None = None
        while True:
            joined = asyncio.Event()
            try:
                await self._agent(token, joined)
            except FinialError as error:
                if error.reason.id not in _LOST or (token is not None and not joined.is_set()):
                    raise
                await self._forget(error.subject)
                token = await self._token()

    async def _agent(self, token: str | None, joined: asyncio.Event) -> None:
        trust = self.folder / "bundle.pem"
        files.write(trust, await self._bundle(), _PUBLIC_FILE)
        settings = AgentSettings(
            server=self.places.server,
            trust_domain=self.settings.trust_domain,
            trust_bundle=trust,
            join_token=token,
            data_dir=self.folder / "agent",
            socket=self.settings.socket,
            sync_interval=self.world.interval,
            shutdown_grace=timedelta(0),  # workloads that watch never end by themselves
        )
        stop = asyncio.Event()
        ready: asyncio.Future[agent_app.Running] = asyncio.get_running_loop().create_future()
        clock, chance = self.world.clock, self.world.chance
        main = agent_app.run(settings, clock=clock, chance=chance, stop=stop, ready=ready.set_result)
        process = _Process(main, stop)
        try:
            running = await process.until(ready)
            joined.set()
            synced = asyncio.ensure_future(running.synced.wait())
            try:
                await process.until(synced)
            finally:
                synced.cancel()
            self.synced.set()
            await process.watch()
        finally:
            await process.end()

    async def _bundle(self) -> bytes:
        reply = await self.session.call(bundle_pb.Bundle.GetBundle, bundle_pb.GetBundleRequest())
        ders = [authority.der for authority in read_bundle(reply).x509_authorities]
        return pem.write(pem.CERTIFICATE, ders)

    async def _token(self) -> str:
        request = agent_pb.CreateJoinTokenRequest(
            ttl=int(_TOKEN_TTL.total_seconds()), agent_id=id_message(self.alias)
        )
        return (await self.session.call(agent_pb.Agent.CreateJoinToken, request)).value

    async def _forget(self, agent_id: str) -> None:
        """Take an agent that has lost its identity off the server, and its alias with it."""
        try:
            request = agent_pb.DeleteAgentRequest(id=id_message(SpiffeID(agent_id)))
        except SpiffeIDError:
            return  # it never had one
        try:
            await self.session.call(agent_pb.Agent.DeleteAgent, request)
        except CallError as error:
            if error.reason.kind is not Kind.MISSING:
                raise


async def _follow(node: _Node, plan: Plan, followed: Followed, listener: Listener) -> None:
    """Say when identities can be had, and carry out what becomes of the file, for ever."""
    await node.synced.wait()
    listener.up(node.places, plan)
    while True:
        await node.world.clock.sleep(node.world.interval)
        if not followed.changed():
            continue
        try:
            fresh = followed.read()
            check_change(node.settings, fresh)
            changes = await bring_about(node.session, node.alias, fresh.entries)
        except FinialError as error:
            listener.refused(error)
        else:
            listener.changed(changes)
