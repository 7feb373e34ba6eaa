"""The agents of `bench.fleet` and `bench.flood`: a thousand in one process, each on a connection of its own.

They attest and connect by our agent's code, and then do what agents do when there is nothing to sign: poll as
SPIRE's do, or follow our push. What comes is counted and thrown away. Orders come as lines of JSON on
standard input, each is answered by one; the program ends with its input.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from finial.agent.attest_node import JOIN_TOKEN, Proof, TokenSource, attest
from finial.agent.bootstrap import read_trust
from finial.agent.identity import new_key
from finial.agent.link import Link
from finial.plugin.node import NodeAttestorAgent
from finial.rpc import Channel, Method, MethodKind, RpcError, StatusCode, Tcp
from finial.runtime.clock import SystemClock
from finial.wire.gen import finial_api_server_push_v1 as push_pb
from finial.wire.gen import spire_api_server_bundle_v1 as bundle_pb
from finial.wire.gen import spire_api_server_entry_v1 as entry_pb
from finial.wire.masks import agent_mask

_CALL = timedelta(seconds=60)
_AT_ONCE = 16  # that attest, or connect

Order = dict[str, Any]
Answer = dict[str, Any]


def _raw(service: str, name: str, kind: MethodKind) -> Method[bytes, bytes]:
    """A method whose messages stay bytes."""
    return Method(
        service,
        name,
        kind,
        encode_request=bytes,
        decode_request=bytes,
        encode_reply=bytes,
        decode_reply=bytes,
    )


_SYNC = _raw("spire.api.server.entry.v1.Entry", "SyncAuthorizedEntries", MethodKind.BIDI)
_BUNDLE = _raw("spire.api.server.bundle.v1.Bundle", "GetBundle", MethodKind.UNARY)
_SUBSCRIBE = _raw("finial.api.server.push.v1.Push", "Subscribe", MethodKind.BIDI)
_ASKED = entry_pb.SyncAuthorizedEntriesRequest(output_mask=agent_mask()).SerializeToString()
_BUNDLE_ASKED = bundle_pb.GetBundleRequest().SerializeToString()


class _Rack:
    """The agent's half of the attestor in `tests/support/rack.py`."""

    def __init__(self, *lines: str) -> None:
        self._lines = lines

    async def payload(self) -> bytes:
        return json.dumps(self._lines).encode()

    async def respond(self, challenge: bytes) -> bytes:
        return challenge[::-1]


def _proof(lines: Sequence[str]) -> tuple[str, NodeAttestorAgent]:
    """A join token, or what a node of a rack says of itself."""
    if len(lines) == 1:
        return JOIN_TOKEN, TokenSource(lines[0], None)
    return "rack", _Rack(*lines)


@dataclass(eq=False)
class Agent:
    """One of them.

    Args:
        link: To the server.
    """

    link: Link
    channel: Channel = field(init=False)
    received: int = 0
    changes: int = 0
    state: push_pb.State | None = None
    compared: int = 0
    current: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    async def join(self, lines: Sequence[str]) -> None:
        """Attest; from then on the link shows who it is."""
        name, attestor = _proof(lines)
        async with self.link.anonymous() as channel:
            self.link.show(await attest(channel, Proof(name, attestor), new_key()))

    async def connect(self) -> None:
        """Open the connection of the agent."""
        async with self.link.use() as lease:
            self.channel = lease.channel
            await self.channel.connect()

    async def round(self) -> None:
        """What an agent asks every few seconds, until it has been answered."""
        async with self.channel.call(_SYNC, timeout=_CALL) as call:
            await call.send(_ASKED)
            more = True
            while more and (reply := await call.receive()) is not None:
                self.received += len(reply)
                more = entry_pb.SyncAuthorizedEntriesResponse.FromString(reply).more
            await call.half_close()
            await call.receive()
        bundle = await self.channel.unary(_BUNDLE, _BUNDLE_ASKED, timeout=_CALL)
        self.received += len(bundle)
        self.changes += 1

    async def poll(self, first: float, every: float) -> None:
        """Ask again and again, the first time after so many seconds."""
        await asyncio.sleep(first)
        while True:
            await self.round()
            if not self.current.done():
                self.current.set_result(None)
            await asyncio.sleep(every)

    async def follow(self, state: push_pb.State | None) -> None:
        """Follow the push, and acknowledge each change; `current` is done when the first is in force.

        Args:
            state: What it says that it holds; None for nothing.
        """
        try:
            async with self.channel.call(_SUBSCRIBE) as call:
                await call.send(_said(push_pb.SubscribeRequest(hello=push_pb.Hello(state=state))))
                async for reply in call:
                    answer = self._take(reply)
                    if answer is not None:
                        await call.send(_said(answer))
                    if self.state is not None and not self.current.done():
                        self.current.set_result(None)
        except RpcError as error:
            if not self.current.done():
                self.current.set_exception(error)
                return
            raise

    def _take(self, reply: bytes) -> push_pb.SubscribeRequest | None:
        """What to answer to a message."""
        self.received += len(reply)
        message = push_pb.SubscribeResponse.FromString(reply)
        if message.compare:
            self.compared += 1
            return push_pb.SubscribeRequest(held=push_pb.Held())  # it holds nothing, whatever it said
        if message.more:
            return None
        self.state = message.state
        self.changes += 1
        if not message.number:
            return None  # a heartbeat
        return push_pb.SubscribeRequest(applied=push_pb.Applied(number=message.number))


def _said(message: push_pb.SubscribeRequest) -> bytes:
    return message.SerializeToString()


class Fleet:
    """All of them, and the orders that they obey."""

    def __init__(self) -> None:
        self._agents: list[Agent] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def obey(self, order: Order) -> Answer:
        """Do what is ordered; what is to be told of it."""
        match order["op"]:
            case "join":
                return await self._join(order)
            case "connect":
                return await self._each(self._chosen(order), Agent.connect)
            case "poll":
                return await self._poll(order["every"])
            case "subscribe":
                return await self._subscribe(order)
            case "figures":
                return self._figures(self._agents)
            case "stop":
                return await self._stop()
            case other:
                raise ValueError(f"no operation {other!r}")

    def _chosen(self, order: Order) -> list[Agent]:
        return self._agents[order.get("first", 0) : order.get("end")]

    async def _join(self, order: Order) -> Answer:
        """All nodes of the order attest."""
        bundle = read_trust(Path(order["bundle"]), None)
        host, _, port = order["address"].rpartition(":")
        nodes = iter(order["nodes"])
        self._agents = [Agent(Link(Tcp(host, int(port)), bundle, SystemClock())) for _ in order["nodes"]]
        return await self._each(self._agents, lambda agent: agent.join(next(nodes)))

    async def _each(self, agents: list[Agent], do: Callable[[Agent], Awaitable[None]]) -> Answer:
        """Have something done by all of them, some at once; how long it took."""
        began, waiting = time.perf_counter(), iter(agents)

        async def work() -> None:
            for agent in waiting:
                await do(agent)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(_AT_ONCE):
                tasks.create_task(work())
        return {"seconds": time.perf_counter() - began}

    async def _poll(self, every: float) -> Answer:
        """All of them begin to poll, one after the other; answered when each has been told everything."""
        for number, agent in enumerate(self._agents):
            first = every * number / len(self._agents)
            self._tasks.append(asyncio.create_task(agent.poll(first, every)))
        await self._until_current(self._agents)
        return self._figures(self._agents)

    async def _subscribe(self, order: Order) -> Answer:
        """Some connect and subscribe; answered when each of them is current.

        They hold what the agent `like` holds, if there is one.
        """
        agents, like = self._chosen(order), order.get("like")
        state = None if like is None else self._agents[like].state
        began = time.perf_counter()

        async def begin(agent: Agent) -> None:
            await agent.connect()
            self._tasks.append(asyncio.create_task(agent.follow(state)))

        try:
            await self._each(agents, begin)
            await self._until_current(agents)
        except RpcError as error:
            if error.code is not StatusCode.UNIMPLEMENTED:
                raise
            return {"absent": error.message}
        return {"seconds": time.perf_counter() - began, **self._figures(agents)}

    async def _until_current(self, agents: list[Agent]) -> None:
        """Wait for all of them, or for the first failure."""

        async def all_current() -> None:
            await asyncio.gather(*(agent.current for agent in agents))

        waiting = asyncio.create_task(all_current())
        await asyncio.wait([waiting, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        for each in self._tasks:
            if each.done():
                each.result()
        await waiting

    def _figures(self, agents: list[Agent]) -> Answer:
        return {
            "bytes": sum(agent.received for agent in agents) / max(len(agents), 1),
            "changes": sum(agent.changes for agent in agents),
            "compared": sum(agent.compared for agent in agents),
            "ended": sum(task.done() for task in self._tasks),
        }

    async def _stop(self) -> Answer:
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        failed = [each for each in results if isinstance(each, Exception)]
        self._tasks.clear()
        return {"failed": len(failed), "first": str(failed[0]) if failed else ""}


async def main() -> None:
    """Obey until standard input ends."""
    fleet, orders = Fleet(), asyncio.StreamReader(limit=1 << 24)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    print(json.dumps({}), flush=True)
    while line := await orders.readline():
        order = json.loads(line)
        try:
            answer = await fleet.obey(order)
        except Exception as error:  # noqa: BLE001 - it goes to whoever ordered
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer | {"id": order["id"]}), flush=True)
    await fleet.obey({"op": "stop"})


if __name__ == "__main__":
    asyncio.run(main())
