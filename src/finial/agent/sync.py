"""Keeps the agent's book up to date: by push where the server has it, else by polling as SPIRE's agents do.

UNIMPLEMENTED and nothing else means polling. Push is tried again at each new connection and every minute.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Final

from finial.agent.calm import pushback
from finial.agent.feed import Ending, Feed
from finial.agent.fetch import fetch_bundle
from finial.agent.identity import NodeIdentity
from finial.agent.intake import Intake
from finial.agent.node import Node
from finial.agent.polling import Polling
from finial.agent.pushed import MismatchError
from finial.core.errors import FinialError
from finial.rpc import RpcError, StatusCode
from finial.runtime.chance import Chance
from finial.runtime.clock import Clock, wait_at_most
from finial.runtime.log import fields
from finial.runtime.retry import Backoff

_log = logging.getLogger("finial.agent")

_LONGEST_PAUSE: Final = timedelta(minutes=8)
_MOST_INTERVALS: Final = 48
_SHORTEST_RETRY: Final = timedelta(milliseconds=200)
_SPREAD: Final = 0.2  # of the interval, in all
_PUSH_AGAIN: Final = timedelta(minutes=1)
_FIRST_RETRY: Final = timedelta(seconds=1)
_LAST_RETRY: Final = timedelta(seconds=15)
# A server that cannot be reached is knocked at more often than that when it has few agents.
_KNOCK: Final = timedelta(seconds=2)
_KNOCK_SPREADS: Final = 4
# A call that has lasted so long was a good one: losing it is news, and no failure after other failures.
_STEADY: Final = timedelta(seconds=10)
_BETWEEN_BUNDLES: Final = timedelta(seconds=1)
_NOTHING: Final = timedelta(0)
_BETWEEN_ROUNDS: Final = timedelta(seconds=1)  # whoever wants one: workloads can have a token refused at will


class Sync:
    """Runs as long as the agent does.

    Args:
        node: The agent's standing and its connection.
        feed: Has the server push.
        polling: Asks a server that does not push.
        intake: Takes the own bundle when it is fetched alone.
        clock: Time.
        chance: Spreads the agents of a fleet.
        interval: Between two rounds of polling.
    """

    def __init__(
        self,
        node: Node,
        feed: Feed,
        polling: Polling,
        *,
        intake: Intake,
        clock: Clock,
        chance: Chance,
        interval: timedelta,
    ) -> None:
        self.polls = False
        """Whether the agent has to ask: the server does not push."""
        self._node = node
        self._feed = feed
        self._polling = polling
        self._intake = intake
        self._clock = clock
        self._chance = chance
        self._interval = interval
        self._wanted = asyncio.Event()
        most = min(_LONGEST_PAUSE, interval * _MOST_INTERVALS)
        self._rounds = Backoff(interval, most, chance=chance, least=_SHORTEST_RETRY)
        self._calls = Backoff(_FIRST_RETRY, _LAST_RETRY, chance=chance, least=_SHORTEST_RETRY)
        self._coped = False
        self._again = False  # a call was opened once more because the server had not touched it
        self._failing = False
        self._round_at = 0.0
        self._soonest = 0.0  # no round that is wanted is before that
        self._push_at = 0.0
        self._leaving: asyncio.Future[None] | None = None  # of the connection on which push was refused
        self._elsewhere_at = 0.0  # on another one push is not tried before that

    def soon(self) -> None:
        """Ask the server now: an SVID needs a bundle that is not here yet, or an entry may be gone."""
        self._wanted.set()

    async def run(self) -> None:
        """Keep up with the server.

        Raises:
            FinialError: The server does not count the agent as attested any more.
        """
        while True:
            now = self._clock.monotonic()
            elsewhere = self._leaving is not None and self._leaving.done()
            if not self.polls or (elsewhere and now >= self._elsewhere_at) or now >= self._push_at:
                await self._push()
            elif now >= self._round_at or self._wanted_now(now):
                await self._poll()
            else:
                await self._rest(timedelta(seconds=min(self._round_at, self._push_at) - now))

    # By push.

    async def _push(self) -> None:
        ending = await self._subscribed()
        error = ending.error
        if isinstance(error, RpcError) and error.code is StatusCode.UNIMPLEMENTED:
            self._fall_back(ending)
            return
        steady = ending.answered and ending.lasted >= _STEADY
        if steady:
            self._coped = self._again = False
        if isinstance(error, MismatchError):
            return
        if isinstance(error, RpcError) and error.unprocessed and not self._again:
            self._again = True  # the server closed an old connection just then
            return
        if await self._node.cope(error, ending.shown) and not self._coped:
            self._coped = True
            return
        if steady:
            self._calls.reset()
            pause = self._feed.spread * self._chance.fraction()
        else:
            pause = self._calls.next()
            if isinstance(error, RpcError) and error.unprocessed and self._intake.heard_at is not None:
                most = max(_KNOCK, self._feed.spread * _KNOCK_SPREADS)
                pause = min(pause, most * (0.5 + self._chance.fraction() / 2))
        asked = pushback(error)
        pause = max(pause, asked)
        self._failing = True
        _log.warning(
            "the server does not push for now", extra=fields(error=error, retry_seconds=pause.total_seconds())
        )
        least = asked or min(pause, _FIRST_RETRY)
        self._node.link.reached.clear()
        await self._clock.sleep(least)
        await wait_at_most(self._clock, self._node.link.reached, pause - least)

    async def _subscribed(self) -> Ending:
        """Be subscribed as long as it goes, fetching the own bundle beside it when an SVID needs it."""
        loop = asyncio.get_running_loop()
        feed = loop.create_task(self._feed.run())
        bundles = loop.create_task(self._fetch_bundles())
        live = loop.create_task(self._feed.live.wait())
        try:
            await asyncio.wait({feed, bundles, live}, return_when=asyncio.FIRST_COMPLETED)
            if live.done():
                if self.polls:
                    _log.info("the server pushes again")
                self.polls = self._failing = False
                self._polling.forget()
                self._node.link.reached.set()
                await asyncio.wait({feed, bundles}, return_when=asyncio.FIRST_COMPLETED)
            if bundles.done():
                bundles.result()
            return feed.result()
        finally:
            for task in (feed, bundles, live):
                task.cancel()
            await asyncio.gather(feed, bundles, live, return_exceptions=True)

    async def _fetch_bundles(self) -> None:
        """Ask for the own bundle when an SVID does not verify: what is pushed may come later, or never."""
        backoff = Backoff(_FIRST_RETRY, _LAST_RETRY, chance=self._chance, least=_SHORTEST_RETRY)
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            if not self._intake.bundle_wanted:
                continue  # an entry that is gone is pushed
            pause = _BETWEEN_BUNDLES
            shown: NodeIdentity | None = None
            try:
                async with self._node.link.use() as lease:
                    shown = lease.identity
                    bundle = await fetch_bundle(lease.channel, self._intake.trust_domain)
                self._intake.fetched(bundle)
                backoff.reset()
            except FinialError as error:
                await self._node.cope(error, shown)
                pause = backoff.next()
                _log.warning("the bundle cannot be had", extra=fields(error=error))
                self._wanted.set()
            await self._clock.sleep(pause)

    def _fall_back(self, ending: Ending) -> None:
        now = self._clock.monotonic()
        self._push_at = now + _PUSH_AGAIN.total_seconds()
        # A server, or a proxy before it, may end each connection at once: polling has its turns all the same.
        self._elsewhere_at = now + _FIRST_RETRY.total_seconds()
        self._leaving = ending.leaving
        if self._failing or not self.polls:
            self._round_at = now
        if not self.polls:
            _log.info("the server does not push: it is polled", extra=fields(interval=self._interval))
            self.polls = True
            self._feed.forget()

    # By polling.

    def _wanted_now(self, now: float) -> bool:
        return self._wanted.is_set() and not self._failing and now >= self._soonest

    async def _poll(self) -> None:
        self._wanted.clear()
        shown: NodeIdentity | None = None
        try:
            async with self._node.link.use() as lease:
                shown = lease.identity
                await self._polling.round(lease.channel)
        except FinialError as error:
            if await self._node.cope(error, shown) and not self._coped:
                self._coped = True
                return
            self._failing = True
            self._node.link.reached.clear()
            pause = max(self._rounds.next(), pushback(error))
            self._soonest = self._clock.monotonic() + (pushback(error) or _FIRST_RETRY).total_seconds()
            _log.warning("sync failed", extra=fields(error=error, retry_seconds=pause.total_seconds()))
        else:
            self._coped = self._failing = self._again = False
            self._rounds.reset()
            pause = self._interval * (1 + _SPREAD * (self._chance.fraction() - 0.5))
            self._soonest = self._clock.monotonic() + _BETWEEN_ROUNDS.total_seconds()
        self._round_at = self._clock.monotonic() + pause.total_seconds()

    async def _rest(self, most: timedelta) -> None:
        """Wait until something is to be done; after a failure any call that goes well is a reason to try."""
        if not self._failing:
            if await wait_at_most(self._clock, self._wanted, most):
                early = timedelta(seconds=self._soonest - self._clock.monotonic())
                await self._clock.sleep(max(_NOTHING, early))
        elif await wait_at_most(self._clock, self._node.link.reached, most):
            self._node.link.reached.clear()
            self._round_at = min(self._round_at, max(self._clock.monotonic(), self._soonest))
