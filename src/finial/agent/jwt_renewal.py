"""Renews JWT-SVIDs before workloads need others, and drops those that have ended."""

from __future__ import annotations

import asyncio
from typing import Final

from finial.agent.cache import LONGEST_NAP, Cache
from finial.agent.jwt_tries import JWTTries
from finial.agent.jwtcache import Key, Wanted
from finial.runtime.clock import Clock, wait_at_most
from finial.runtime.service import run_until

_LANES: Final = 8
_BEHIND: Final = -1  # whose turns renewals take: no user has this number
_SLICE: Final = 500  # tokens that are looked at in one turn of the event loop


class JWTRenewal:
    """Runs as long as the agent does.

    Args:
        tries: Has tokens signed.
        cache: Has the tokens that are held.
        clock: Time.
    """

    def __init__(self, tries: JWTTries, cache: Cache, *, clock: Clock) -> None:
        self._tries = tries
        self._cache = cache
        self._clock = clock
        self._old: dict[Key, None] = {}  # to be renewed, in this order
        self._some = asyncio.Event()

    def soon(self, key: Key) -> None:
        """Renew a token, which is served meanwhile."""
        self._old[key] = None
        self._some.set()

    async def run(self) -> None:
        """Renew what was asked for and is half over."""
        await run_until(asyncio.Event(), [self._plan(), *(self._renew() for _ in range(_LANES))])

    async def _plan(self) -> None:
        tokens, tries = self._cache.tokens, self._tries
        while True:
            now = self._clock.now()
            tokens.expire(now, _SLICE)
            for key in tokens.due(now, _SLICE):
                self.soon(key)
            tries.sooner.clear()
            next_at = tokens.next_at()
            tries.look_at = now + LONGEST_NAP if next_at is None else min(next_at, now + LONGEST_NAP)
            await wait_at_most(self._clock, tries.sooner, tries.look_at - now)

    async def _renew(self) -> None:
        while True:
            await self._some.wait()
            if not self._old:
                self._some.clear()
                continue
            key = next(iter(self._old))
            del self._old[key]
            held = self._cache.tokens.get(key)
            entry = None if held is None else self._cache.book.entries.get(held.wanted.entry.id)
            if held is None or entry is None or entry.unique_tokens:
                continue
            wanted = Wanted(entry, held.wanted.asked)
            if self._tries.calm.left() or self._tries.refusal(wanted) is not None:
                continue  # it is renewed when it is asked for next
            await self._tries.turns.take(_BEHIND)
            try:
                await self._tries.once(wanted, held.caller)
            finally:
                self._tries.turns.give_back(_BEHIND)
