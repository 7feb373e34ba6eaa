"""An agent that subscribes, holds what it is told, and checks every word."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from finial.core.ids import TrustDomain
from finial.core.setdigest import SetDigest, mark_of, to_bytes
from finial.rpc import ClientCall, RpcError
from finial.wire.gen import finial_api_server_push_v1 as push_pb

DOMAIN = TrustDomain("example.org")


class Holder:
    """What an agent holds, which it compares with what the server says of it."""

    def __init__(self) -> None:
        self.entries: dict[str, bytes] = {}
        self.bundles: dict[str, bytes] = {}
        self.names: dict[str, frozenset[str]] = {}  # of the bundles that an entry needs
        self.state: push_pb.State | None = None

    def copy(self, other: Holder) -> None:
        """Hold what another one holds."""
        self.entries, self.bundles = dict(other.entries), dict(other.bundles)
        self.names, self.state = dict(other.names), other.state

    def take(self, page: push_pb.SubscribeResponse) -> None:
        """Put one page in force; nothing may be named on it twice."""
        ids = [item.entry.id for item in page.entries] + list(page.gone)
        names = [bundle.trust_domain for bundle in page.bundles] + list(page.bundles_gone)
        assert len(set(ids)) == len(ids)
        assert len(set(names)) == len(names)
        assert page.ByteSize() <= 4 << 20
        if page.reset:
            self.entries, self.bundles, self.names = {}, {}, {}
        for entry_id in page.gone:
            self.entries.pop(entry_id, None)
            self.names.pop(entry_id, None)
        for item in page.entries:
            self.entries[item.entry.id] = item.mark
            self.names[item.entry.id] = frozenset(item.entry.federates_with)
        for name in page.bundles_gone:
            self.bundles.pop(name, None)
        for bundle in page.bundles:
            self.bundles[bundle.trust_domain] = to_bytes(mark_of(bundle.SerializeToString()))

    def check(self, state: push_pb.State) -> None:
        """What is held has to be what the server says that it is."""
        needed = {DOMAIN.name}.union(*self.names.values())
        self.bundles = {name: mark for name, mark in self.bundles.items() if name in needed}
        assert (state.count, state.digest) == (len(self.entries), _sum(self.entries.values()))
        assert state.bundles == _sum(self.bundles.values())
        if self.state is not None and self.state.epoch == state.epoch:
            assert state.seq >= self.state.seq
        self.state = state


_Call = ClientCall[push_pb.SubscribeRequest, push_pb.SubscribeResponse]


class Agent(Holder):
    """One stream of an agent that does everything right, unless a test has it do otherwise."""

    def __init__(self, call: _Call) -> None:
        super().__init__()
        self.call = call
        self.compared = 0

    async def say(self, **step: Any) -> None:
        """Send one message."""
        await self.call.send(push_pb.SubscribeRequest(**step))

    async def hello(self, *, like: Holder | None = None, **state: Any) -> None:
        """Begin, with what another stream of the agent holds; what a test names is told otherwise."""
        if like is not None:
            self.copy(like)
        if self.state is not None or state:
            said = push_pb.State(epoch="e1", digest=bytes(16), bundles=bytes(16))
            if self.state is not None:
                said.CopyFrom(self.state)
            for name, value in state.items():
                setattr(said, name, value)
            await self.say(hello=push_pb.Hello(state=said, version="test"))
        else:
            await self.say(hello=push_pb.Hello())

    async def page(self) -> push_pb.SubscribeResponse:
        """The next message."""
        message = await self.call.receive()
        assert message is not None, "the server has ended the call"
        assert 30_000 <= message.silence_ms <= 60_000
        assert message.server_time_ms > 0
        return message

    async def held(self, *, size: int = 2_000) -> None:
        """Say what is held."""
        marks = [push_pb.Mark(id=entry_id, mark=mark) for entry_id, mark in self.entries.items()]
        for at in range(0, max(len(marks), 1), size):
            more = at + size < len(marks)
            await self.say(held=push_pb.Held(entries=marks[at : at + size], more=more))

    async def pages(self) -> list[push_pb.SubscribeResponse]:
        """The next change, complete; what is held is told when the server asks."""
        found: list[push_pb.SubscribeResponse] = []
        while True:
            message = await self.page()
            if message.compare:
                assert not found
                assert message == push_pb.SubscribeResponse(
                    compare=True,
                    silence_ms=message.silence_ms,
                    server_time_ms=message.server_time_ms,
                    spread_ms=message.spread_ms,
                )
                self.compared += 1
                await self.held()
                continue
            found.append(message)
            if not message.more:
                return found
            assert not message.HasField("state")
            assert not message.number

    async def change(self, *, ack: bool = True) -> list[push_pb.SubscribeResponse]:
        """The next change, put in force, compared with its state, and acknowledged."""
        pages = await self.pages()
        for number, page in enumerate(pages):
            assert not (page.reset and number)
            self.take(page)
        self.check(pages[-1].state)
        if ack:
            await self.ack(pages[-1])
        return pages

    async def beat(self) -> push_pb.SubscribeResponse:
        """The next message, which says that nothing has changed, and which nobody acknowledges."""
        message = await self.page()
        self.check(message.state)
        assert message == push_pb.SubscribeResponse(
            state=message.state,
            silence_ms=message.silence_ms,
            server_time_ms=message.server_time_ms,
            spread_ms=message.spread_ms,
        )
        return message

    async def ack(self, page: push_pb.SubscribeResponse) -> None:
        """Acknowledge a change."""
        assert page.number
        await self.say(applied=push_pb.Applied(number=page.number))

    async def ends(self) -> RpcError:
        """The error that the call ends with, once all that was sent has been read."""
        try:
            while await self.call.receive() is not None:
                pass
        except RpcError as error:
            return error
        raise AssertionError("the call ended well")


def _sum(marks: Iterable[bytes]) -> bytes:
    found = SetDigest()
    for mark in marks:
        found = found.plus(int.from_bytes(mark, "big"))
    return found.digest
