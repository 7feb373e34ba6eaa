"""Reports: taken in at a bounded rate, in slices."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from finial.server.push import reports
from finial.server.push.reports import AT_ONCE, PER_SECOND, Reports
from finial.server.store.records import EntryRecord
from finial.wire import push
from finial.wire.gen import finial_api_server_push_v1 as push_pb
from support.clock import settle
from support.push_telling import HastyClock
from support.push_world import AGENT, World
from support.rpc import run


class _All:
    def __init__(self, world: World) -> None:
        self._get = world.index.entries.get

    def get(self, entry_id: str) -> EntryRecord | None:
        return self._get(entry_id)


def _report(steps: int, *, resting: int = 0) -> push.Report:
    progress = [push_pb.Progress(entry_id="a", stage=push_pb.Progress.SIGNED)] * steps
    counts = [push_pb.Resting(authority_id="x", svids=resting)] if resting else []
    return push.Report(push_pb.Report(progress=progress, resting=counts))


def test_steps_and_counts_go_where_they_belong() -> None:
    async def main() -> None:
        world = World()
        world.put("a")
        taker = Reports(world.ground, AGENT, _All(world))
        await taker.take(_report(1))
        assert world.metric.signed == [0.0]
        assert world.fleet.counts == {}
        await taker.take(_report(0, resting=3))
        await taker.take(_report(0))  # it has not changed
        assert world.fleet.counts == {AGENT: {"x": 3}}

    run(main())


def test_who_reports_too_much_is_read_more_slowly() -> None:
    async def main() -> None:
        world = World()
        taker = Reports(world.ground, AGENT, _All(world))
        for _ in range(2):
            await taker.take(_report(AT_ONCE // 2 - reports._COST))
        late = asyncio.ensure_future(taker.take(_report(PER_SECOND - reports._COST)))
        await world.clock.advance(timedelta(milliseconds=999))
        assert not late.done()
        await world.clock.advance(timedelta(milliseconds=1))
        assert late.done()
        # What was not used comes back, up to the bound.
        await world.clock.advance(timedelta(hours=1))
        await taker.take(_report(AT_ONCE - reports._COST))
        empty = asyncio.ensure_future(taker.take(_report(0)))
        await settle()
        assert not empty.done()  # one with nothing in it costs something too
        await world.clock.advance(timedelta(seconds=1))
        assert empty.done()

    run(main())


def test_a_long_report_lets_others_have_their_turn() -> None:
    async def main() -> None:
        clock = HastyClock()
        world = World(clock)
        world.put("a")
        await Reports(world.ground, AGENT, _All(world)).take(_report(2_000))
        assert clock.turns >= 5

    run(main())
