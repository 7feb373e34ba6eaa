"""What happens in a simulation, step by step: values that are drawn, shrink, and print as a script."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from hypothesis import strategies as st

from finial.agent import pages as agent_pages
from finial.agent import push as agent_push
from finial.runtime.clock import Clock
from finial.server.index import audience, interest, reach, subscriptions
from finial.server.push import conversation, draft, session, teller, turns
from support import sim_ops
from support.sim_ops import Op
from support.sim_world import World


class Step:
    """Something that happens."""

    async def run(self, world: World) -> None:
        raise NotImplementedError


@dataclass(frozen=True)
class Do(Step):
    """Operators do things at a server, in one transaction; it may die between the commit and the rest."""

    server: int
    ops: tuple[Op, ...]
    dies: bool = False

    async def run(self, world: World) -> None:
        await world.do(self.server, self.ops, dies=self.dies)
        if world.calm and not self.dies:
            await world.prompt(self.ops)


@dataclass(frozen=True)
class Pass(Step):
    seconds: float

    async def run(self, world: World) -> None:
        await world.clock.advance(timedelta(seconds=self.seconds))


@dataclass(frozen=True)
class Jump(Step):
    """The wall clock is set."""

    seconds: int

    async def run(self, world: World) -> None:
        world.calm = False
        world.clock.jump(timedelta(seconds=self.seconds))


@dataclass(frozen=True)
class Follow(Step):
    server: int

    async def run(self, world: World) -> None:
        await world.follow(self.server)


@dataclass(frozen=True)
class Cut(Step):
    """All that is under way on an agent's line is lost; an end that is not told finds out in a minute."""

    agent: int
    tell_client: bool = True
    tell_server: bool = True

    async def run(self, world: World) -> None:
        world.calm = False
        for connection in list(world.lines[self.agent].connections):
            connection.cut(tell_client=self.tell_client, tell_server=self.tell_server)


@dataclass(frozen=True)
class Stall(Step):
    """Nothing gets through on an agent's line, and nothing is lost; or it does again."""

    agent: int
    on: bool = True

    async def run(self, world: World) -> None:
        world.calm = False
        world.lines[self.agent].stall(on=self.on)


@dataclass(frozen=True)
class Failover(Step):
    """An agent gets to the other server from now on."""

    agent: int
    cut: bool = True

    async def run(self, world: World) -> None:
        world.calm = False
        line = world.lines[self.agent]
        if world.several:
            line.to = 1 - line.to
        for connection in list(line.connections):
            if self.cut:
                connection.cut(tell_client=True, tell_server=True)
            else:
                connection.drain()


@dataclass(frozen=True)
class StopAgent(Step):
    """An agent's process ends, and all that it held is lost."""

    agent: int

    async def run(self, world: World) -> None:
        world.calm = False
        await world.kill_agent(self.agent)


@dataclass(frozen=True)
class StartAgent(Step):
    agent: int

    async def run(self, world: World) -> None:
        world.start_agent(self.agent)


@dataclass(frozen=True)
class StopServer(Step):
    server: int

    async def run(self, world: World) -> None:
        await world.kill_server(self.server)


@dataclass(frozen=True)
class StartServer(Step):
    server: int
    pushes: bool = True

    async def run(self, world: World) -> None:
        await world.start_server(self.server)
        server = world.servers[self.server]
        if server is not None and not self.pushes:
            world.calm = False
            server.pushes = False


@dataclass(frozen=True)
class Copy(Step):
    """The database is copied."""

    async def run(self, world: World) -> None:
        world.copy()


@dataclass(frozen=True)
class Restore(Step):
    """The copy is put back while no server runs; one is alone from now on."""

    async def run(self, world: World) -> None:
        await world.restore()


@dataclass(frozen=True)
class Share(Step):
    """From now on two servers have the file, once everybody holds what is so."""

    async def run(self, world: World) -> None:
        await world.quiet()
        await world.share()


@dataclass(frozen=True)
class Quiet(Step):
    """Everything is mended, and comes to rest; then everybody holds what is so."""

    heartbeats: bool = False

    async def run(self, world: World) -> None:
        await world.quiet()
        if self.heartbeats:
            await world.heartbeats()


# How they are drawn.

_server = st.integers(0, 1)
_agent = st.integers(0, len(sim_ops.AGENTS) - 1)
_ids = st.sampled_from([f"e{number}" for number in range(10)])
_some = st.frozensets(st.integers(0, 2), min_size=1, max_size=3)
_entries = st.builds(
    sim_ops.Entry,
    id=_ids,
    path=st.integers(0, len(sim_ops.PATHS) - 1),
    parent=st.integers(0, len(sim_ops.PARENTS) - 1),
    selectors=_some,
    federates=st.just(frozenset()) | st.frozensets(st.integers(0, 1), max_size=2),
    ends=st.none() | st.sampled_from([20, 5, 60, 200, 320, -5]),
    hint=st.sampled_from(["", "a", "b", sim_ops.LONG_HINT]),
)
_bulk = st.integers(10, 40)
_parent = st.integers(0, len(sim_ops.PARENTS) - 1)
_OPS: tuple[tuple[int, st.SearchStrategy[Any]], ...] = (
    (12, st.builds(sim_ops.Create, st.lists(_entries, min_size=1, max_size=4).map(tuple))),
    (10, st.builds(sim_ops.Update, _entries)),
    (9, st.builds(sim_ops.Delete, st.lists(_ids, min_size=1, max_size=3).map(tuple))),
    (2, st.builds(sim_ops.Many, _bulk, _parent)),
    (2, st.builds(sim_ops.Fewer)),
    (4, st.builds(sim_ops.SetBundle, st.integers(0, 2), _some, st.just(frozenset()) | _some)),
    (2, st.builds(sim_ops.Unfederate, st.integers(1, 2), st.booleans())),
    (3, st.builds(sim_ops.Select, _agent, st.frozensets(st.integers(0, 2)))),
    (1, st.builds(sim_ops.Ban, _agent)),
    (2, st.builds(sim_ops.Evict, _agent)),
    (1, st.builds(sim_ops.PruneLog)),
    (1, st.builds(sim_ops.PruneEnded)),
)
ops: st.SearchStrategy[Op] = st.sampled_from([kind for weight, kind in _OPS for _ in range(weight)]).flatmap(
    lambda kind: kind
)
_ops = st.lists(ops, min_size=1, max_size=3).map(tuple)
_seconds = st.sampled_from([0.01, 0.05, 0.2, 1.0, 12.0, 70.0])
_KINDS: tuple[tuple[int, st.SearchStrategy[Any]], ...] = (
    (40, st.builds(Do, _server, _ops)),
    (15, st.builds(Pass, _seconds)),
    (3, st.builds(Do, _server, _ops, st.just(value=True))),
    (4, st.builds(Jump, st.sampled_from([300, -300, 3, -3, -7200, 4000]))),
    (5, st.builds(Follow, _server)),
    (6, st.builds(Cut, _agent, st.booleans(), st.booleans())),
    (5, st.builds(Stall, _agent, st.booleans())),
    (6, st.builds(Failover, _agent, st.booleans())),
    (2, st.builds(StopAgent, _agent)),
    (2, st.builds(StartAgent, _agent)),
    (3, st.builds(StopServer, _server)),
    (3, st.builds(StartServer, _server)),
    (1, st.builds(StartServer, _server, st.just(value=False))),
    (3, st.builds(Copy)),
    (2, st.builds(Restore)),
    (1, st.builds(Share)),
    (4, st.builds(Quiet)),
    (1, st.builds(Quiet, st.just(value=True))),
)
steps: st.SearchStrategy[Step] = st.sampled_from(
    [kind for weight, kind in _KINDS for _ in range(weight)]
).flatmap(lambda kind: kind)


class _ShortSlices:
    """In place of the server's slices: after every third step others have their turn."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._steps = 0

    def over(self) -> bool:
        self._steps += 1
        return self._steps % 3 == 0

    async def turn(self) -> None:
        await self._clock.sleep(timedelta(milliseconds=15))


@contextmanager
def small_bounds() -> Iterator[None]:
    """Let a few dozen entries be as many as thousands are otherwise."""
    changes: list[tuple[Any, str, object]] = [
        *((module, "MOST_DIRTY", 12) for module in (reach, interest, audience, subscriptions)),
        (reach, "_SPARE", 4),
        (conversation, "_SLACK", 6),
        *((module, "PAGE_ITEMS", 4) for module in (draft, teller)),
        (draft, "PAGE_BYTES", 2_000),
        (turns, "LARGE", 5),
        (turns, "AT_ONCE", 1),
        (session, "Slices", _ShortSlices),
        (agent_push, "_HELD_AT_ONCE", 3),
        (agent_push, "_TURN", timedelta(milliseconds=10)),
        (agent_pages, "_SLICE", 2),
    ]
    with ExitStack() as stack:
        for module, name, value in changes:
            stack.enter_context(patch.object(module, name, value))
        yield
