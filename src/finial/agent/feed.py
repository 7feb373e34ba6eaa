"""Keeps the agent subscribed: one call after the other, the next one before the last has ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from finial.agent.calm import pushback
from finial.agent.identity import NodeIdentity
from finial.agent.link import Lease, Link
from finial.agent.push import Subscription
from finial.agent.pushed import Pushed
from finial.agent.report import Reporter
from finial.agent.standing import standing_of
from finial.core.errors import FinialError
from finial.rpc import RpcError
from finial.runtime.chance import Chance
from finial.runtime.clock import Clock
from finial.runtime.log import fields
from finial.runtime.retry import Backoff

_log = logging.getLogger("finial.agent")

_FIRST_RETRY: Final = timedelta(seconds=1)
_LAST_RETRY: Final = timedelta(minutes=1)
_SHORTEST_RETRY: Final = timedelta(milliseconds=200)
# Else a server, or a proxy before it, that drains each connection at once would be moved to without end.
_BETWEEN_MOVES: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Ending:
    """How the agent came to be subscribed no longer.

    Args:
        error: Of the last call.
        shown: The identity that it was made with.
        answered: Whether the server had answered it.
        leaving: Of the connection that it was made on; done when the next call goes to another one.
        lasted: Since the first of the calls that were made without a gap.
    """

    error: FinialError
    shown: NodeIdentity | None
    answered: bool
    leaving: asyncio.Future[None] | None
    lasted: timedelta = timedelta(0)


class Feed:
    """Subscribes, and moves to another connection without a gap.

    Args:
        link: To the server.
        pushed: What all calls share.
        reporter: Knows what the server is to be told.
        clock: Time.
        chance: Spreads those of a fleet.
    """

    def __init__(
        self, link: Link, pushed: Pushed, reporter: Reporter, *, clock: Clock, chance: Chance
    ) -> None:
        self._link = link
        self._pushed = pushed
        self._reporter = reporter
        self._clock = clock
        self._chance = chance

    @property
    def live(self) -> asyncio.Event:
        """Set while the server pushes."""
        return self._pushed.live

    @property
    def spread(self) -> timedelta:
        """Over how much time the agents of the server are to spread when they lose it."""
        return self._pushed.spread

    def forget(self) -> None:
        """The agent polls: nothing of what was pushed counts, and nobody is there to be told anything."""
        self._pushed.forget()
        self._reporter.listen(on=False)

    async def run(self) -> Ending:
        """Stay subscribed as long as it goes, and tell how it ended."""
        begun = self._clock.monotonic()
        try:
            ending = await self._stay()
        finally:
            self._pushed.live.clear()
        return replace(ending, lasted=timedelta(seconds=self._clock.monotonic() - begun))

    async def _stay(self) -> Ending:
        backoff = Backoff(_FIRST_RETRY, _LAST_RETRY, chance=self._chance, least=_SHORTEST_RETRY)
        current = self._begin()
        try:
            while True:
                await current.until_over()
                if current.ending is None:
                    await current.ended_within(max(self._put_off(current), _BETWEEN_MOVES - current.age))
                if current.ending is not None:
                    return current.ending
                current = await self._hand_over(current, backoff)
        finally:
            await current.close()

    def _put_off(self, current: _Attempt) -> timedelta:
        """How long to put a move off: where the server drains, all its agents have to move."""
        alone = current.lease.over.is_set()
        return timedelta(0) if alone else self._pushed.spread * self._chance.fraction()

    async def _hand_over(self, old: _Attempt, backoff: Backoff) -> _Attempt:
        """The attempt that counts from now on: the next one, or the one so far while the next one fails."""
        fresh = self._begin()
        try:
            await fresh.until_answered()
        except asyncio.CancelledError:
            await fresh.close()
            raise
        ending = fresh.ending
        if fresh.answered or ending is None or old.ending is not None or _standing(ending):
            backoff.reset()
            await old.close()
            return fresh
        await fresh.close()
        pause = max(backoff.next(), pushback(ending.error))
        seconds = pause.total_seconds()
        _log.info("no other connection yet", extra=fields(error=ending.error, retry_seconds=seconds))
        await old.ended_within(pause)
        return old

    def _begin(self) -> _Attempt:
        lease = self._link.take()
        subscription = Subscription(lease, self._pushed, self._reporter, clock=self._clock)
        return _Attempt(subscription, lease, self._link, self._clock)


class _Attempt:
    """A subscription and the task that runs it."""

    def __init__(self, subscription: Subscription, lease: Lease, link: Link, clock: Clock) -> None:
        self.lease = lease
        self._subscription = subscription
        self._link = link
        self._clock = clock
        self._begun = clock.monotonic()
        self._task = asyncio.get_running_loop().create_task(subscription.run())

    @property
    def age(self) -> timedelta:
        """How long ago it was begun."""
        return timedelta(seconds=self._clock.monotonic() - self._begun)

    @property
    def answered(self) -> bool:
        """Whether the server has answered."""
        return self._subscription.answered.is_set()

    @property
    def ending(self) -> Ending | None:
        """How it ended; None while it runs."""
        if not self._task.done():
            return None
        try:
            self._task.result()
        except FinialError as error:
            return Ending(error, self.lease.identity, self.answered, self._subscription.connection)
        raise AssertionError("a call gives way to a newer one alone, and that one counts now")

    async def until_over(self) -> None:
        """Wait until it has ended, or has to move to another connection."""
        await self._first(self._subscription.leaving.wait(), self.lease.over.wait())

    async def until_answered(self) -> None:
        """Wait until the server has answered, or it has ended."""
        await self._first(self._subscription.answered.wait())

    async def ended_within(self, most: timedelta) -> None:
        """Wait until it has ended, but not longer than this."""
        await self._first(self._clock.sleep(most))

    async def close(self) -> None:
        """End it, if it has not ended, and give the channel back."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._link.give_back(self.lease)

    async def _first(self, *others: Coroutine[None, None, object]) -> None:
        waiting = [asyncio.ensure_future(each) for each in others]
        try:
            await asyncio.wait({self._task, *waiting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)


def _standing(ending: Ending) -> bool:
    """Whether the server refuses the agent itself, which no waiting mends."""
    return isinstance(ending.error, RpcError) and standing_of(ending.error) is not None
