"""What supplies workloads with JWT-SVIDs, over a server that a test plays; without any network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

from finial.agent.book import Book
from finial.agent.cache import Cache
from finial.agent.calm import Calm
from finial.agent.entry import AuthorizedEntry
from finial.agent.jwt import JWTSupply
from finial.agent.jwt_call import JWTCall
from finial.agent.jwt_renewal import JWTRenewal
from finial.agent.jwt_tries import JWTTries
from finial.agent.link import Lease, Link
from finial.agent.node import Node
from finial.agent.progress import Progress
from finial.core.errors import FinialError
from finial.core.jwtsvid import JWTSVID
from finial.rpc import Channel, RpcError
from finial.runtime.metrics import Counter
from finial.wire.gen import spire_api_server_svid_v1 as svid_pb
from finial.wire.gen import spire_api_types as types
from finial.wire.gen import workload as pb
from support.books import entry
from support.clock import FixedChance, ManualClock, settle
from support.forge import NOW
from support.jwt_cases import LIFE, OWN, token
from support.rpc import run

ONE = entry("e1")
ME = 1_000


@dataclass
class Call:
    """A call that has reached the server."""

    entry_id: str
    audience: tuple[str, ...]
    answer: asyncio.Future[None]


@dataclass
class Desk:
    """The pieces, and what a test makes of the server."""

    clock: ManualClock = field(default_factory=lambda: ManualClock(NOW))
    chance: FixedChance = field(default_factory=FixedChance)
    calls: list[Call] = field(default_factory=list)
    patient: bool = False  # whether calls wait for the test to answer them
    away: RpcError | None = None  # what calls end with
    refused: dict[str, RpcError] = field(default_factory=dict)  # by their first audience
    signs: Callable[[svid_pb.NewJWTSVIDRequest], str] | None = None  # in place of a sound token
    coped: Callable[[], bool] = lambda: False
    asked: int = 0  # how often for bundles
    life: timedelta = LIFE
    reached: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        clock = self.clock
        self.cache = Cache(Book(OWN), clock, Progress())
        self.cache.apply(self.cache.book.replace_entries([ONE]))
        call = JWTCall(cast("Node", self), self.cache, self, clock=clock)
        calm = Calm(cast("Link", self), clock=clock, chance=self.chance)
        self.tries = JWTTries(call, self.cache, calm, clock=clock, chance=self.chance)
        renewal = JWTRenewal(self.tries, self.cache, clock=clock)
        self.hits, self.misses = Counter(), Counter()
        self.supply = JWTSupply(self.tries, renewal, clock=clock, hits=self.hits, misses=self.misses)
        self.running = asyncio.ensure_future(self.supply.run())

    # What a node, its link, and a sync are to it.

    @property
    def link(self) -> Desk:
        return self

    @asynccontextmanager
    async def use(self) -> AsyncIterator[Lease]:
        yield Lease(cast("Channel", self), None)
        self.reached.set()

    async def cope(self, error: FinialError, shown: object) -> bool:
        return self.coped()

    def soon(self) -> None:
        self.asked += 1

    # What a channel is to it.

    async def unary(
        self, method: Any, request: svid_pb.NewJWTSVIDRequest, **_: Any
    ) -> svid_pb.NewJWTSVIDResponse:
        assert method is svid_pb.SVID.NewJWTSVID
        answer = asyncio.get_running_loop().create_future()
        self.calls.append(Call(request.entry_id, tuple(request.audience), answer))
        if not self.patient:
            answer.set_result(None)
        await answer
        refusal = self.away or self.refused.get(request.audience[0])
        if refusal is not None:
            raise refusal
        text = self._sound(request) if self.signs is None else self.signs(request)
        return svid_pb.NewJWTSVIDResponse(svid=types.JWTSVID(token=text))

    def _sound(self, request: svid_pb.NewJWTSVIDRequest) -> str:
        of = self.cache.book.entries[request.entry_id]
        more: dict[str, Any] = {"jti": f"j{len(self.calls)}"} if of.unique_tokens else {}
        return token(of, *request.audience, now=self.clock.now(), life=self.life, **more).token

    # What a test does.

    def enter(self, *entries: AuthorizedEntry) -> None:
        """Have these entries and no other."""
        self.cache.apply(self.cache.book.replace_entries(entries))

    def fetch(
        self, *audience: str, of: AuthorizedEntry = ONE, caller: int = ME
    ) -> asyncio.Task[list[JWTSVID] | RpcError]:
        """Fetch as a workload does; audience `a` when none is given."""

        async def fetching() -> list[JWTSVID] | RpcError:
            names = audience or ("a",)
            try:
                found = self.supply.at_once([of], names)
                if found is None:
                    found = await self.supply.obtain([of], names, caller=caller)
            except RpcError as error:
                return error
            reply = pb.JWTSVIDResponse.FromString(found)
            return [JWTSVID(each.svid, each.hint) for each in reply.svids]

        return asyncio.ensure_future(fetching())

    async def one(self, *audience: str, **how: Any) -> JWTSVID:
        """The token that comes without any time passing."""
        found = await asyncio.wait_for(self.fetch(*audience, **how), 10)
        assert isinstance(found, list), found
        return found[0]

    async def refusal(self, *audience: str, **how: Any) -> RpcError:
        """What is answered instead, without any time passing."""
        found = await asyncio.wait_for(self.fetch(*audience, **how), 10)
        assert isinstance(found, RpcError)
        return found

    async def answer(self, count: int = 1) -> None:
        """Let so many of the calls that wait have their answers."""
        for call in [each for each in self.calls if not each.answer.done()][:count]:
            call.answer.set_result(None)
        await settle()

    def open(self) -> int:
        """How many calls wait for an answer."""
        return sum(not each.answer.done() for each in self.calls)

    async def stop(self) -> None:
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)


@asynccontextmanager
async def desk(**how: Any) -> AsyncIterator[Desk]:
    made = Desk(**how)
    try:
        yield made
    finally:
        await made.stop()


def at_desk(test: Callable[[Desk], Any]) -> Callable[[], None]:
    """Run a coroutine function as a test at a desk."""

    def tested() -> None:
        async def main() -> None:
            async with desk() as made:
                await test(made)

        run(main())

    tested.__name__ = test.__name__
    return tested
