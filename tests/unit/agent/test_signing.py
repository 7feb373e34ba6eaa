"""What goes to the server to be signed, when, and in which company; without any network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

import pytest

from finial.agent.book import AuthorizedEntry, Book
from finial.agent.cache import Cache
from finial.agent.link import Lease
from finial.agent.node import Node
from finial.agent.progress import Progress, Stage, Step
from finial.agent.signing import MAX_BATCH, URGENT_BATCH, Signer
from finial.core.csr import read_csr
from finial.core.errors import FinialError
from finial.core.ids import SpiffeID
from finial.core.selectors import Selector
from finial.rpc import Channel, RpcError, StatusCode
from finial.wire.gen import spire_api_server_svid_v1 as svid_pb
from finial.wire.hints import REMAINING
from finial.wire.statuses import ok, status
from support.clock import FixedChance, ManualClock, settle
from support.fake_server import FakeServer
from support.rpc import run

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
Request = svid_pb.BatchNewX509SVIDRequest
Response = svid_pb.BatchNewX509SVIDResponse


def entry(number: int, **changes: Any) -> AuthorizedEntry:
    settings: dict[str, Any] = {
        "id": f"e{number:04}",
        "spiffe_id": SpiffeID(f"spiffe://example.org/{number}"),
        "selectors": frozenset({Selector("t", f"v{number}")}),
        **changes,
    }
    return AuthorizedEntry(**settings)


@dataclass
class Call:
    """A call that has reached the server."""

    ids: list[str]
    remaining: int
    answer: asyncio.Future[None]


@dataclass
class Desk:
    """A signer between a cache that a test fills and a server that signs, when it is allowed to."""

    clock: ManualClock
    cache: Cache
    server: FakeServer
    progress: Progress
    chance: FixedChance = field(default_factory=FixedChance)
    calls: list[Call] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    patient: bool = False  # whether calls wait for the test to answer them
    away: RpcError | None = None  # what calls end with
    cut: int | None = None  # how many results come
    asked: int = 0
    coped: Callable[[], bool] = lambda: False
    reached: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        signer = Signer(
            cast("Node", self),
            self.cache,
            self,
            clock=self.clock,
            chance=self.chance,
            progress=self.progress,
        )
        self.running = asyncio.ensure_future(signer.run())

    # What a node is to a signer.

    @property
    def link(self) -> Desk:
        return self

    @asynccontextmanager
    async def use(self) -> AsyncIterator[Lease]:
        yield Lease(cast("Channel", self), None)

    async def cope(self, error: FinialError, shown: object) -> bool:
        return self.coped()

    # What a channel is to it.

    async def unary(self, method: Any, request: Request, *, metadata: Any, **_: Any) -> Response:
        ids = [each.entry_id for each in request.params]
        call = Call(ids, int(dict(metadata)[REMAINING]), asyncio.get_running_loop().create_future())
        self.calls.append(call)
        if not self.patient:
            call.answer.set_result(None)
        await call.answer
        if self.away is not None:
            raise self.away
        return Response(results=[self._result(each) for each in request.params][: self.cut])

    def _result(self, params: svid_pb.NewX509SVIDParams) -> Response.Result:
        if params.entry_id in self.refused:
            text = self.refused[params.entry_id]
            return Response.Result(status=status(StatusCode.PERMISSION_DENIED, text))
        spiffe_id = self.cache.book.entries[params.entry_id].spiffe_id
        leaf = self.server._sign(spiffe_id, read_csr(params.csr), self.server.svid_ttl)
        return Response.Result(status=ok(), svid=self.server._message(spiffe_id, leaf))

    # What a sync is to it.

    def soon(self) -> None:
        self.asked += 1

    # What tests do.

    def come(self, *entries: AuthorizedEntry) -> None:
        self.cache.apply(self.cache.book.change_entries(entries, []))

    def held(self) -> list[str]:
        return sorted(key for key in self.cache.book.entries if self.cache.book.held(key) is not None)

    async def until(self, true: Callable[[], bool]) -> None:
        """Let the loop turn, and no time pass, until something holds."""
        for _ in range(1_000):
            if true():
                return
            await settle()
        raise AssertionError("what was waited for has not happened")


@asynccontextmanager
async def desk(**settings: Any) -> AsyncIterator[Desk]:
    clock, progress = ManualClock(), Progress()
    progress.listen(on=True)
    server = FakeServer(clock)
    cache = Cache(Book(server.bundle), clock, progress)
    made = Desk(clock, cache, server, progress, **settings)
    try:
        yield made
    finally:
        made.running.cancel()
        await asyncio.gather(made.running, return_exceptions=True)


def on_desk(**settings: Any) -> Callable[[Callable[[Desk], Any]], Callable[[], None]]:
    """Run a coroutine function as a test at a desk."""

    def decorated(test: Callable[[Desk], Any]) -> Callable[[], None]:
        def tested() -> None:
            async def main() -> None:
                async with desk(**settings) as d:
                    await test(d)

            run(main())

        tested.__name__ = test.__name__
        return tested

    return decorated


def sizes(calls: Sequence[Call]) -> list[int]:
    return sorted(len(each.ids) for each in calls)


@on_desk()
async def test_a_new_identity_is_signed_while_no_time_passes(d: Desk) -> None:
    d.come(entry(1, revision=7))
    await d.until(lambda: d.held() == ["e0001"])
    (call,) = d.calls
    assert (call.ids, call.remaining) == (["e0001"], 0)
    assert d.progress.take() == (Step("e0001", 7, Stage.SIGNED),)
    assert not d.asked


@on_desk(patient=True)
async def test_a_single_new_identity_waits_for_no_batch(d: Desk) -> None:
    d.come(*(entry(number) for number in range(600)))
    await d.until(lambda: len(d.calls) == 2)
    assert sizes(d.calls) == [URGENT_BATCH, MAX_BATCH]
    small = min(d.calls, key=lambda call: len(call.ids))
    small.answer.set_result(None)
    await d.until(lambda: len(d.calls) == 3)
    d.calls[2].answer.set_result(None)
    with d.cache.watch() as watcher:
        fresh = entry(2_000)
        d.come(fresh)
        assert not d.cache.x509_svids(watcher, fresh.selectors).message
        await d.until(lambda: len(d.calls) == 4)
        d.calls[3].answer.set_result(None)
        await d.until(lambda: "e2000" in d.held())  # while the large batch is still under way
    assert len(d.calls[3].ids) <= URGENT_BATCH
    assert d.calls[3].ids[0] == "e2000"
    for call in d.calls:
        if not call.answer.done():
            call.answer.set_result(None)
    d.patient = False
    await d.until(lambda: len(d.held()) == 601)


@on_desk()
async def test_everything_is_signed_once_and_all_of_it(d: Desk) -> None:
    d.come(*(entry(number) for number in range(600)))
    await d.until(lambda: len(d.held()) == 600)
    assert sum(len(call.ids) for call in d.calls) == 600
    assert max(sizes(d.calls)) <= MAX_BATCH


@on_desk()
async def test_renewals_go_together_and_say_how_much_life_is_left(d: Desk) -> None:
    d.come(*(entry(number) for number in range(40)))
    await d.until(lambda: len(d.held()) == 40)
    del d.calls[:]
    await d.clock.advance(HOUR / 2)
    await d.until(lambda: bool(d.calls))
    (call,) = d.calls
    assert len(call.ids) == 40
    assert abs(call.remaining - 1_800) <= 10


@on_desk()
async def test_what_is_new_does_not_go_with_renewals(d: Desk) -> None:
    d.come(entry(1), entry(2))
    await d.until(lambda: len(d.held()) == 2)
    del d.calls[:]
    d.patient = True
    await d.clock.advance(HOUR / 2)
    d.come(entry(3))
    await d.until(lambda: len(d.calls) == 2)
    assert sorted(call.ids for call in d.calls) == [["e0001", "e0002"], ["e0003"]]
    assert [call.remaining for call in sorted(d.calls, key=lambda call: call.ids)][1] == 0


@on_desk()
async def test_taint_makes_what_is_in_use_be_signed_first(d: Desk) -> None:
    d.come(*(entry(number) for number in range(200)))
    await d.until(lambda: len(d.held()) == 200)
    old = d.server.active
    used = [entry(number) for number in (17, 103, 199)]
    with d.cache.watch() as watcher:
        for each in used:
            d.cache.x509_svids(watcher, each.selectors)
        d.server.active = d.server.prepare()
        d.server.taint(old)
        del d.calls[:]
        d.cache.apply(d.cache.book.set_bundle(d.server.bundle, d.clock.now()))
        await d.until(lambda: len(d.cache.book.resting) == 1 and bool(d.calls))
        assert d.calls[0].ids == [each.id for each in used]
        fresh = (d.server.active.certificate.subject_key_id or b"").hex()
        assert d.cache.book.resting == {fresh: 200}
        assert sum(len(call.ids) for call in d.calls) == 200


@on_desk()
async def test_what_the_server_refuses_is_told_and_tried_later(d: Desk) -> None:
    d.refused = {"e0002": "no such entry " + "x" * 1_000}
    d.come(entry(1), entry(2))
    await d.until(lambda: d.held() == ["e0001"])
    signed, failed = d.progress.take()
    assert signed == Step("e0001", 0, Stage.SIGNED)
    assert (failed.entry_id, failed.stage) == ("e0002", Stage.FAILED)
    assert failed.trouble.startswith("no such entry x")
    assert len(failed.trouble) == 200
    assert d.asked == 1  # the entry may be gone
    assert len(d.calls) == 1
    d.refused = {}
    await d.clock.advance(timedelta(seconds=0.5))
    assert len(d.calls) == 1
    await d.clock.advance(timedelta(seconds=0.5))
    await d.until(lambda: d.held() == ["e0001", "e0002"])


@on_desk(cut=1)
async def test_an_answer_of_another_length_is_none(d: Desk) -> None:
    d.come(entry(1), entry(2))
    await d.until(lambda: len(d.calls) == 1)
    await settle()
    assert not d.held()
    d.cut = None
    await d.clock.advance(timedelta(seconds=1))
    await d.until(lambda: len(d.held()) == 2)


@on_desk(away=RpcError(StatusCode.UNAVAILABLE, "away"))
async def test_while_the_server_is_away_it_is_asked_seldom_and_at_once_when_it_is_back(d: Desk) -> None:
    d.chance.value = 0.99
    d.come(*(entry(number) for number in range(100)))
    await d.until(lambda: len(d.calls) == 2)  # in both ways
    await d.clock.advance(MINUTE * 10)
    assert len(d.calls) < 60
    before = len(d.calls)
    await settle()
    assert len(d.calls) == before
    assert not any(step.stage is Stage.FAILED for step in d.progress.take())
    d.away = None
    d.reached.set()  # by another call
    await d.until(lambda: len(d.held()) == 100)


@on_desk(away=RpcError(StatusCode.UNAVAILABLE, "busy", retry_after=timedelta(seconds=7)))
async def test_a_server_that_says_how_long_to_wait_is_not_asked_before(d: Desk) -> None:
    d.come(entry(1))
    await d.until(lambda: len(d.calls) == 1)
    d.away = None
    d.reached.set()
    await d.clock.advance(timedelta(seconds=6.9))
    assert len(d.calls) == 1
    await d.clock.advance(timedelta(seconds=0.2))
    await d.until(lambda: d.held() == ["e0001"])


@on_desk(away=RpcError(StatusCode.PERMISSION_DENIED, "who"))
async def test_with_another_identity_the_agent_goes_on_at_once_but_not_in_a_loop(d: Desk) -> None:
    d.coped = lambda: True
    d.come(entry(1))
    await d.until(lambda: len(d.calls) == 2)
    await settle()
    assert len(d.calls) == 2
    d.away = None
    await d.clock.advance(timedelta(seconds=1))
    await d.until(lambda: d.held() == ["e0001"])


def test_a_signer_ends_when_the_agent_is_expelled() -> None:
    async def main() -> None:
        refusal = RpcError(StatusCode.PERMISSION_DENIED, "expelled")

        def expelled() -> bool:
            raise refusal

        async with desk(away=refusal, coped=expelled) as d:
            d.come(entry(1))
            with pytest.raises(RpcError, match="expelled"):
                await d.running

    run(main())


@on_desk()
async def test_an_svid_that_the_bundle_does_not_prove_asks_for_another_bundle(d: Desk) -> None:
    d.server.active = d.server.prepare()
    d.come(entry(1))
    await d.until(lambda: d.asked == 1)
    assert not d.progress.take()
    d.cache.apply(d.cache.book.set_bundle(d.server.bundle, d.clock.now()))
    assert d.held() == ["e0001"]
    assert len(d.calls) == 1


@on_desk(patient=True)
async def test_what_changes_while_it_is_signed_is_signed_again_at_once(d: Desk) -> None:
    d.come(entry(1))
    await d.until(lambda: len(d.calls) == 1)
    d.come(entry(1, revision=1))
    await d.until(lambda: len(d.calls) == 2)
    for call in reversed(d.calls):  # the answers come in the wrong order
        call.answer.set_result(None)
        await settle()
    held = d.cache.book.held("e0001")
    assert held is not None
    assert held.revision == 1
    await settle()
    assert len(d.calls) == 2
