"""The push half of the fake server: answers as a real one does, and says whatever else a test wants."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from finial.core.setdigest import SetDigest, mark_of, to_bytes
from finial.rpc import RpcError, ServerCall
from finial.wire.bundles import bundle_message
from finial.wire.gen import finial_api_server_push_v1 as pb
from finial.wire.gen import spire_api_types as types

if TYPE_CHECKING:
    from support.fake_server import FakeServer

Call = ServerCall[pb.SubscribeRequest, pb.SubscribeResponse]
Script = Callable[["PushStream"], Awaitable[None]]


def mark(message: types.Entry | types.Bundle) -> bytes:
    """What a server says over a message."""
    return to_bytes(mark_of(message.SerializeToString()))


def item(entry: types.Entry) -> pb.Item:
    return pb.Item(mark=mark(entry), entry=entry)


def total(marks: Iterable[bytes]) -> SetDigest:
    found = SetDigest()
    for each in marks:
        found = found.plus(int.from_bytes(each, "big"))
    return found


@dataclass
class FakePush:
    """Its fields are its state; what changes on the server is told when a test says `tell`."""

    server: FakeServer
    epoch: str = "epoch-1"
    seq: int = 10
    silence_ms: int = 30_000
    spread_ms: int = 0
    clock_ahead_ms: int = 0
    page: int = 500
    script: Script | None = None  # in place of the conversation, from behind the hello
    streams: list[PushStream] = field(default_factory=list)

    @property
    def live(self) -> list[PushStream]:
        """The streams that have not ended."""
        return [stream for stream in self.streams if not stream.call.finished]

    @property
    def last(self) -> PushStream:
        """The newest stream."""
        return self.streams[-1]

    def entries(self) -> dict[str, types.Entry]:
        return self.server.entries

    def bundles(self) -> dict[str, types.Bundle]:
        """The own one, and those that entries name."""
        own = bundle_message(self.server.bundle)
        named = {name for entry in self.server.entries.values() for name in entry.federates_with}
        foreign = {name: each for name, each in self.server.foreign.items() if name in named}
        return foreign | {own.trust_domain: own}

    def state(self) -> pb.State:
        entries = total(mark(each) for each in self.entries().values())
        bundles = total(mark(each) for each in self.bundles().values())
        return pb.State(
            epoch=self.epoch,
            seq=self.seq,
            count=entries.count,
            digest=entries.digest,
            bundles=bundles.digest,
        )

    def tell(self) -> None:
        """Something has changed: every stream is told, when it has acknowledged what it was told before."""
        self.seq += 1
        self.beat()

    def beat(self) -> None:
        """Send every stream what differs, or a change with nothing in it."""
        for stream in self.live:
            stream.dirty.set()

    def end(self, error: RpcError) -> None:
        """End all streams."""
        for stream in self.live:
            stream.call.end(error)

    async def subscribe(self, call: Call) -> None:
        agent_id = await self.server._admit(call)
        said = await call.receive()
        assert said is not None
        assert said.WhichOneof("step") == "hello"
        stream = PushStream(self, call, agent_id, said.hello)
        self.streams.append(stream)
        listening = asyncio.ensure_future(stream.listen())
        try:
            await (self.script or PushStream.converse)(stream)
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


@dataclass(eq=False)
class PushStream:
    """One call, and what came in it."""

    push: FakePush
    call: Call
    agent_id: str
    hello: pb.Hello
    number: int = 0
    applied: list[int] = field(default_factory=list)
    reports: list[pb.Report] = field(default_factory=list)
    marks: dict[str, bytes] = field(default_factory=dict)  # as the agent said
    held_pages: list[int] = field(default_factory=list)
    dirty: asyncio.Event = field(default_factory=asyncio.Event)
    said: asyncio.Event = field(default_factory=asyncio.Event)
    told: dict[str, bytes] = field(default_factory=dict)  # what the agent holds
    bundles: dict[str, bytes] = field(default_factory=dict)

    # What scripts use.

    async def send(self, **what: Any) -> None:
        """One message, with what every message says of time."""
        now = int(self.push.server.clock.now().timestamp() * 1_000)
        pace = {
            "server_time_ms": now + self.push.clock_ahead_ms,
            "silence_ms": self.push.silence_ms,
            "spread_ms": self.push.spread_ms,
        }
        await self.call.send(pb.SubscribeResponse(**{**pace, **what}))

    async def change(self, **what: Any) -> None:
        """A complete change, and its acknowledgement."""
        self.number += 1
        await self.send(**{"number": self.number, "state": self.push.state(), **what})
        await self.until(lambda: self.number in self.applied)

    async def heartbeat(self) -> None:
        """That nothing has changed, which nobody acknowledges."""
        await self.send(state=self.push.state())

    async def whole(self, **what: Any) -> None:
        """Everything, in one message."""
        self.told = {entry_id: mark(each) for entry_id, each in self.push.entries().items()}
        self.bundles = {name: mark(each) for name, each in self.push.bundles().items()}
        everything = {
            "reset": True,
            "entries": [item(each) for each in self.push.entries().values()],
            "bundles": self.push.bundles().values(),
        }
        await self.change(**{**everything, **what})

    async def until(self, true: Callable[[], bool]) -> None:
        while not true():
            self.said.clear()
            await self.said.wait()

    async def listen(self) -> None:
        async for request in self.call:
            match request.WhichOneof("step"):
                case "applied":
                    self.applied.append(request.applied.number)
                case "report":
                    self.reports.append(request.report)
                case "held":
                    self.marks |= {each.id: each.mark for each in request.held.entries}
                    self.held_pages.append(len(request.held.entries))
                    if not request.held.more:
                        self.held_pages.append(-1)
                case other:
                    raise AssertionError(other)
            self.said.set()

    @property
    def resting(self) -> dict[str, int]:
        """What it said last of what rests on whom."""
        told = [report.resting for report in self.reports if report.resting]
        return {each.authority_id: each.svids for each in told[-1]} if told else {}

    @property
    def progress(self) -> list[tuple[str, int, int]]:
        return [(each.entry_id, each.revision, each.stage) for r in self.reports for each in r.progress]

    # What a server does.

    async def compare(self) -> None:
        """Ask what is held."""
        self.held_pages, self.marks = [], {}
        await self.send(compare=True)
        await self.until(lambda: self.held_pages[-1:] == [-1])
        self.told = dict(self.marks)

    async def converse(self) -> None:
        here = self.push.state()
        if not self.hello.HasField("state"):
            await self._pages(reset=True)
        else:
            held = self.hello.state
            if held.bundles == here.bundles:
                self.bundles = {name: mark(each) for name, each in self.push.bundles().items()}
            if (held.count, held.digest) == (here.count, here.digest):
                self.told = {entry_id: mark(each) for entry_id, each in self.push.entries().items()}
            else:
                await self.compare()
            await self._pages(reset=False)
        while True:
            await self.dirty.wait()
            self.dirty.clear()
            await self._pages(reset=False)

    async def _pages(self, *, reset: bool) -> None:
        entries, current = self.push.entries(), self.push.bundles()
        told, self.told = self.told, {entry_id: mark(each) for entry_id, each in entries.items()}
        had, self.bundles = self.bundles, {name: mark(each) for name, each in current.items()}
        came = [each for entry_id, each in entries.items() if told.get(entry_id) != mark(each)]
        gone = [entry_id for entry_id in told if entry_id not in entries]
        bundles = [each for name, each in current.items() if had.get(name) != mark(each)]
        bundles_gone = [name for name in had if name not in current]
        while len(came) > self.push.page:
            portion, came = came[: self.push.page], came[self.push.page :]
            await self.send(entries=[item(each) for each in portion], reset=reset, more=True)
            reset = False
        await self.change(
            entries=[item(each) for each in came],
            gone=gone,
            bundles=bundles,
            bundles_gone=bundles_gone,
            reset=reset,
        )
