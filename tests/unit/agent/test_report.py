"""How much an agent reports at a time, and how often."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

from finial.agent.progress import Progress, Stage, Step
from finial.agent.report import Reporter
from finial.core.x509cert import Certificate
from finial.wire.gen import finial_api_server_push_v1 as pb
from support.clock import ManualClock
from support.fake_server import FakeServer
from support.rpc import run

FIFTY = timedelta(milliseconds=50)


@dataclass
class Node:
    authority: Certificate | None = None


@dataclass
class Book:
    resting: Mapping[str, int] = field(default_factory=dict)


@dataclass
class Desk:
    """A reporter, and what it has sent."""

    clock: ManualClock
    progress: Progress
    node: Node
    book: Book
    sent: list[tuple[float, pb.Report]]

    @property
    def last(self) -> pb.Report:
        return self.sent[-1][1]


@asynccontextmanager
async def desk(**resting: int) -> AsyncIterator[Desk]:
    clock, progress, node, book = ManualClock(), Progress(), Node(), Book(resting)
    progress.listen(on=True)
    made = Desk(clock, progress, node, book, [])

    async def send(request: pb.SubscribeRequest) -> None:
        made.sent.append((clock.monotonic(), request.report))

    reporter = Reporter(cast("Any", node), cast("Any", book), progress, clock=clock)
    running = asyncio.ensure_future(reporter.run(send))
    try:
        yield made
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def test_steps_that_follow_closely_are_one_report() -> None:
    async def main() -> None:
        async with desk(a=1) as it:
            await it.clock.advance(timedelta(0))
            for name in ("x", "y"):
                it.progress.note(Step(name, 3, Stage.SIGNED))
            await it.clock.advance(FIFTY - timedelta(milliseconds=1))
            assert len(it.sent) == 1  # what rests on whom, at the beginning
            await it.clock.advance(FIFTY)
            assert [each.entry_id for each in it.last.progress] == ["x", "y"]
            assert not it.last.resting
            it.progress.note(Step("x", 3, Stage.FAILED, "t" * 1_000))
            await it.clock.advance(FIFTY)
            assert it.last.progress[0].trouble == "t" * 200

    run(main())


def test_many_steps_are_several_reports_with_pauses() -> None:
    async def main() -> None:
        async with desk() as it:
            for number in range(2_500):
                it.progress.note(Step(str(number), 0, Stage.SIGNED))
            await it.clock.advance(timedelta(seconds=10))
            reports = [(at, len(report.progress)) for at, report in it.sent if report.progress]
            assert [count for _, count in reports] == [1_000, 1_000, 500]
            assert reports[1][0] - reports[0][0] >= 1
            assert reports[2][0] - reports[1][0] >= 1

    run(main())


def test_what_rests_on_whom_is_told_when_it_differs() -> None:
    async def main() -> None:
        authority = FakeServer(ManualClock()).active.certificate
        assert authority.subject_key_id is not None
        name = authority.subject_key_id.hex()
        async with desk(a=1, **{name: 4}) as it:
            it.node.authority = authority
            await it.clock.advance(FIFTY)
            told = {each.authority_id: each.svids for each in it.last.resting}
            assert told == {"a": 1, name: 5}
            it.progress.look()
            await it.clock.advance(FIFTY)
            assert len(it.sent) == 1
            it.book.resting = {f"k{number}": 1 for number in range(300)}
            it.progress.look()
            await it.clock.advance(FIFTY)
            assert len(it.last.resting) == 100  # servers take no more
            it.node.authority = None
            it.book.resting = {"a": 2}
            it.progress.look()
            await it.clock.advance(FIFTY)
            assert {each.authority_id: each.svids for each in it.last.resting} == {"a": 2}

    run(main())
