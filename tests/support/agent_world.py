"""An agent against the fake server in one process: real sockets between them, a clock that a test moves."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from finial.agent.app import Running
from finial.agent.app import run as run_agent
from finial.agent.config import AgentSettings
from finial.core.bundle import Bundle, BundleSet
from finial.core.errors import FinialError
from finial.core.x509cert import parse_concatenated
from finial.core.x509path import verify_x509
from finial.core.x509svid import X509SVID
from finial.rpc import Channel, ClientCall, RpcError, Unix
from finial.wire.gen import workload
from support.clock import FixedChance, ManualClock
from support.fake_server import EXAMPLE, FakeServer, serving
from support.quiet import Quiet
from support.rpc import run

HEADER = (("workload.spiffe.io", "true"),)
ME = f"unix:uid:{os.getuid()}"
"""A selector of the process that runs the tests."""
STEP = timedelta(milliseconds=250)
_PATIENCE_SECONDS = 30.0


@dataclass
class World:
    """A server, the folder of an agent, and the time that both live in."""

    clock: ManualClock
    server: FakeServer
    folder: Path
    trust: Path
    quiet: Quiet
    chance: FixedChance = field(default_factory=FixedChance)

    def settings(self, **changes: Any) -> AgentSettings:
        chosen: dict[str, Any] = {
            "server": self.server.address,
            "trust_bundle": self.trust,
            "data_dir": self.folder / "agent",
            "socket": self.folder / "agent" / "s",
            "shutdown_grace": timedelta(milliseconds=200),
            **changes,
        }
        return AgentSettings(**chosen)

    def stored(self) -> list[str]:
        """The files in the agent's data folder."""
        data = self.folder / "agent"
        return sorted(str(path.relative_to(data)) for path in data.rglob("*") if path.is_file())

    async def eventually(self, true: Callable[[], bool], step: timedelta = STEP) -> None:
        """Let time pass, on the agent's clock and for the sockets, until something holds."""
        while not true():
            await self.tick(step)

    async def tick(self, step: timedelta = STEP) -> None:
        await self.clock.advance(step)
        await self.quiet.wait()

    async def pass_time(self, duration: timedelta, step: timedelta = STEP) -> None:
        """Let so much time pass."""
        for _ in range(duration // step):
            await self.tick(step)

    async def within(self, what: Any, step: timedelta = STEP) -> Any:
        """Await something while time passes."""
        task = asyncio.ensure_future(what)
        try:
            await self.eventually(task.done, step)
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        return task.result()


@asynccontextmanager
async def world(**state: Any) -> AsyncIterator[World]:
    """A running server, and nothing else yet."""
    clock = ManualClock()
    with tempfile.TemporaryDirectory(prefix="finial") as name:
        async with serving(FakeServer(clock, **state)) as server:
            folder = Path(name)
            trust = folder / "bundle.pem"
            trust.write_bytes(b"".join(each.pem for each in server.published))
            yield World(clock, server, folder, trust, Quiet())


class Agent:
    """A running agent."""

    def __init__(self, world: World, settings: AgentSettings) -> None:
        self._world = world
        self.socket = Unix(str(settings.socket))
        self.running: Running | None = None
        self._stop = asyncio.Event()
        self._task = asyncio.ensure_future(
            run_agent(settings, clock=world.clock, chance=world.chance, stop=self._stop, ready=self._ready)
        )

    def _ready(self, running: Running) -> None:
        self.running = running

    @property
    def ended(self) -> bool:
        return self._task.done()

    async def ready(self) -> Running:
        """Wait until it has an identity; raises what it ended with."""
        await self._world.eventually(lambda: self.running is not None or self.ended)
        if self.running is None:
            await self._task
        assert self.running is not None
        return self.running

    async def synced(self) -> None:
        running = await self.ready()
        await self._world.eventually(lambda: running.synced.is_set() or self.ended)
        if self.ended:
            await self._task

    async def end(self) -> FinialError:
        """Wait for its own end, and return the error that it ended with."""
        await self._world.eventually(lambda: self.ended)
        error = self._task.exception()
        assert isinstance(error, FinialError), error
        return error

    async def stop(self) -> None:
        self._stop.set()
        await self._world.within(asyncio.wait([self._task]))
        if self._task.exception() is None:
            self._task.result()

    async def kill(self) -> None:
        """End it without any goodbye of its own."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@asynccontextmanager
async def agent(world: World, **changes: Any) -> AsyncIterator[Agent]:
    """An agent from start to stop; waits for nothing."""
    running = Agent(world, world.settings(**changes))
    try:
        yield running
    finally:
        await running.stop()


@asynccontextmanager
async def joined(world: World, **changes: Any) -> AsyncIterator[Agent]:
    """An agent that has joined by token and knows its entries."""
    changes = {"join_token": world.server.token(), **changes}
    async with agent(world, **changes) as running:
        await running.synced()
        yield running


@dataclass
class Stream:
    """A workload's open call."""

    world: World
    call: ClientCall[Any, Any]

    async def next(self) -> Any:
        """The next message, whose SVIDs all verify under the bundles that came with them."""
        return self._whole(await self.world.within(self.call.receive()))

    async def next_at_once(self) -> Any:
        """The next message, while the agent's clock stands still: nothing may be waited for."""
        return self._whole(await asyncio.wait_for(self.call.receive(), _PATIENCE_SECONDS))

    def _whole(self, message: Any) -> Any:
        assert message is not None
        if isinstance(message, workload.X509SVIDResponse):
            assert message.svids
            self._verify(message)
        return message

    def _verify(self, message: workload.X509SVIDResponse) -> None:
        for each, svid in zip(message.svids, svids(message), strict=True):
            own = Bundle(trust_domain=EXAMPLE, x509_authorities=parse_concatenated(each.bundle))
            verified = verify_x509(svid.chain_der(), BundleSet([own]), now=self.world.clock.now())
            assert verified.id.text == each.spiffe_id

    async def end(self) -> RpcError:
        """The status that it ends with; messages before that are passed over."""

        async def drain() -> RpcError:
            try:
                while await self.call.receive() is not None:
                    pass
            except RpcError as error:
                return error
            raise AssertionError("the stream ended with OK")

        error = await self.world.within(drain())
        assert isinstance(error, RpcError)
        return error

    async def quiet(self, duration: timedelta = timedelta(seconds=12)) -> None:
        """Nothing comes for so long."""
        receiving = asyncio.ensure_future(self.call.receive())
        passed = timedelta(0)
        while passed < duration:
            await self.world.tick()
            passed += STEP
            assert not receiving.done(), receiving
        receiving.cancel()
        await asyncio.gather(receiving, return_exceptions=True)


@asynccontextmanager
async def stream(
    world: World, running: Agent, method: Any = None, metadata: Any = HEADER, channel: Channel | None = None
) -> AsyncIterator[Stream]:
    """A call of this process to the Workload API, FetchX509SVID by default."""
    method = method or workload.SpiffeWorkloadAPI.FetchX509SVID
    own = channel or Channel(running.socket)
    try:
        async with own.call(method, metadata=metadata) as call:
            await call.send(method.decode_request(b""))
            await call.half_close()
            yield Stream(world, call)
    finally:
        if channel is None:
            await own.close()


def svids(message: workload.X509SVIDResponse) -> list[X509SVID]:
    """The SVIDs in a message, read back by the core, each with its key."""
    return [X509SVID.from_der(each.x509_svid, each.x509_svid_key, hint=each.hint) for each in message.svids]


def ids(message: workload.X509SVIDResponse) -> list[str]:
    return [each.spiffe_id.removeprefix("spiffe://example.org") for each in message.svids]


@asynccontextmanager
async def served(**state: Any) -> AsyncIterator[tuple[World, Agent]]:
    """A joined agent with one entry for this process."""
    async with world(**state) as w:
        w.server.add("e1", "/web", ME)
        async with joined(w) as running:
            await w.eventually(lambda: bool(w.server.batches))
            yield w, running


def on_agent(test: Callable[[World, Agent], Any]) -> Callable[[], None]:
    """Run a coroutine function as a test on a joined agent."""

    def tested() -> None:
        async def main() -> None:
            async with served() as (w, running):
                await test(w, running)

        run(main())

    tested.__name__ = test.__name__
    return tested


def on_pushed(test: Callable[[World, Agent], Any]) -> Callable[[], None]:
    """Run a coroutine function as a test on an agent that is pushed to and has one entry for this process."""

    def tested() -> None:
        async def main() -> None:
            async with served(pushes=True) as (w, running):
                await test(w, running)

        run(main())

    tested.__name__ = test.__name__
    return tested


async def pushed_again(world: World, streams: int) -> None:
    """Wait until there have been so many streams and the last is in force."""
    push = world.server.push
    await world.eventually(lambda: len(push.streams) == streams and bool(push.last.applied))
