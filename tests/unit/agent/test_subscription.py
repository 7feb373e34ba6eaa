"""One call of the push service, between a newer call and a line that breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

import pytest

from finial.agent.book import Book
from finial.agent.cache import Cache
from finial.agent.intake import Intake
from finial.agent.link import Lease
from finial.agent.progress import Progress, Stage, Step
from finial.agent.push import Subscription
from finial.agent.pushed import Pushed
from finial.agent.report import Reporter
from finial.core.bundle import Bundle
from finial.core.x509cert import Certificate
from finial.rpc import RpcError, StatusCode
from finial.wire.gen import finial_api_server_push_v1 as pb
from support.clock import ManualClock, settle
from support.fake_push import FakePush, item
from support.fake_server import FakeServer
from support.rpc import run


class Node:
    authority: Certificate | None = None

    def trust(self, bundle: Bundle) -> None:
        """There is no line that it would matter to."""


@dataclass
class Line:
    """A channel, and the one call on it."""

    sent: list[pb.SubscribeRequest] = field(default_factory=list)
    coming: asyncio.Queue[pb.SubscribeResponse | RpcError | None] = field(default_factory=asyncio.Queue)
    broken: RpcError | None = None

    def __post_init__(self) -> None:
        self.leaving: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @asynccontextmanager
    async def call(self, method: object) -> AsyncIterator[Line]:
        yield self

    async def send(self, request: pb.SubscribeRequest) -> None:
        if self.broken is not None:
            raise self.broken
        self.sent.append(request)

    async def receive(self) -> pb.SubscribeResponse | None:
        found = await self.coming.get()
        if isinstance(found, RpcError):
            raise found
        return found

    def cancel(self) -> None:
        self.coming.put_nowait(RpcError(StatusCode.CANCELLED, "cancelled here"))

    @property
    def steps(self) -> list[str | None]:
        return [each.WhichOneof("step") for each in self.sent]


@dataclass
class Desk:
    clock: ManualClock
    server: FakePush
    cache: Cache
    pushed: Pushed
    progress: Progress
    reporter: Reporter

    def subscribe(self) -> tuple[Line, asyncio.Task[None]]:
        line = Line()
        lease = Lease(cast("Any", line), None)
        made = Subscription(lease, self.pushed, self.reporter, clock=self.clock)
        return line, asyncio.ensure_future(made.run())

    def everything(self, number: int = 1, **what: Any) -> pb.SubscribeResponse:
        entries = [item(each) for each in self.server.entries().values()]
        bundles = self.server.bundles().values()
        state = self.server.state()
        return pb.SubscribeResponse(
            number=number, reset=True, entries=entries, bundles=bundles, state=state, **what
        )


def desk() -> Desk:
    clock, progress = ManualClock(), Progress()
    server = FakeServer(clock)
    server.add("e1", "/web", "unix:uid:1")
    cache = Cache(Book(server.bundle), clock, progress)
    node = cast("Any", Node())
    pushed = Pushed(Intake(node, cache, clock=clock), clock=clock)
    reporter = Reporter(node, cache.book, progress, clock=clock)
    return Desk(clock, server.push, cache, pushed, progress, reporter)


def test_what_comes_behind_a_newer_call_counts_no_more() -> None:
    async def main() -> None:
        it = desk()
        line, old = it.subscribe()
        line.coming.put_nowait(it.everything())
        await settle()
        assert line.steps == ["hello", "applied"]
        assert set(it.cache.book.entries) == {"e1"}
        it.pushed.begin(object())
        line.coming.put_nowait(pb.SubscribeResponse(number=2, gone=["e1"], state=it.server.state()))
        await old
        assert set(it.cache.book.entries) == {"e1"}

    run(main())


def test_a_page_that_is_read_while_a_newer_call_takes_over_counts_no_more() -> None:
    async def main() -> None:
        it = desk()
        for number in range(500):
            it.server.server.add(f"n{number}", f"/n{number}", "unix:uid:1")
        line, old = it.subscribe()
        line.coming.put_nowait(it.everything())
        await it.pushed.live.wait()
        it.pushed.begin(object())
        await old
        assert "applied" not in line.steps
        assert not it.cache.synced.is_set()

    run(main())


def test_a_report_that_cannot_be_sent_is_of_no_interest() -> None:
    async def main() -> None:
        it = desk()
        line, task = it.subscribe()
        line.coming.put_nowait(it.everything())
        await settle()
        assert it.cache.synced.is_set()
        line.broken = RpcError(StatusCode.UNAVAILABLE, "the line is broken")
        it.progress.note(Step("e1", 0, Stage.SIGNED))
        await it.clock.advance(timedelta(seconds=1))
        assert not it.progress.some.is_set()  # it was taken to be told
        assert not task.done()
        line.coming.put_nowait(RpcError(StatusCode.INTERNAL, "how it ended"))
        with pytest.raises(RpcError, match="how it ended"):
            await task

    run(main())


def test_what_breaks_inside_is_not_hidden() -> None:
    async def main() -> None:
        it = desk()

        async def broken(send: object) -> None:
            raise ZeroDivisionError

        it.reporter.run = broken  # type: ignore[method-assign]
        line, task = it.subscribe()
        line.coming.put_nowait(it.everything())
        with pytest.raises(ZeroDivisionError):
            await task

    run(main())
