"""Tries to have JWT-SVIDs signed: what is held of them, and what is left in peace after those that failed."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Final

from finial.agent.cache import Cache
from finial.agent.calm import Calm, passing
from finial.agent.jwt_call import JWTCall
from finial.agent.jwtcache import HeldJWT, Proven, Renewal, Wanted
from finial.agent.refusals import Refusals
from finial.agent.standing import ExpelledError
from finial.agent.turns import Turns
from finial.core.errors import FinialError
from finial.rpc import RpcError, StatusCode
from finial.runtime.chance import Chance
from finial.runtime.clock import Clock
from finial.runtime.log import fields

_log = logging.getLogger("finial.agent")

MOST_CALLS: Final = 128
CALLS_OF_CALLER: Final = 16
_QUIET: Final = timedelta(seconds=1)
_ONE: Final = 1  # call at a time, while the server is not known to be there


class JWTTries:
    """What is common to tries for workloads and tries behind their backs.

    Args:
        call: The way to the server's signature.
        cache: Takes the tokens.
        calm: After failures.
        clock: Time.
        chance: Spreads renewals and retries.
    """

    def __init__(self, call: JWTCall, cache: Cache, calm: Calm, *, clock: Clock, chance: Chance) -> None:
        self.calm = calm
        self.turns = Turns(each=CALLS_OF_CALLER, most=MOST_CALLS)
        """Of calls to the server."""
        self.look_at = clock.now()
        """When whoever renews looks again at what is held."""
        self.sooner = asyncio.Event()
        """Set when a token has come that is to be looked at before."""
        self._call = call
        self._cache = cache
        self._clock = clock
        self._chance = chance
        self._refusals = Refusals()
        self._quiet_until = clock.monotonic()  # no failure is warned of before that
        self._expelled = asyncio.Event()
        self._why: ExpelledError | None = None

    def look(self, wanted: Wanted) -> tuple[HeldJWT | None, Renewal]:
        """What is held, and whether another one is to be had."""
        return self._cache.tokens.look(wanted, self._clock.now(), self._cache.book.bundle)

    def refusal(self, wanted: Wanted) -> FinialError | None:
        """What the server has refused a token with, while it is not to be asked for it again."""
        return self._refusals.of(wanted, self._clock.monotonic())

    async def once(self, wanted: Wanted, caller: int) -> bytes | FinialError:
        """Have a token signed, and hold it: the FetchJWTSVID response with it, or why there is none.

        Args:
            wanted: The token.
            caller: Whose share it counts in.
        """
        try:
            proven = await self._call.sign(wanted)
        except ExpelledError as error:
            self._why = error
            self._expelled.set()
            return error
        except FinialError as error:
            self._failed(wanted, error)
            return error
        self.calm.went_well()
        self.turns.limit(MOST_CALLS)
        self._refusals.forget(wanted)
        self._hold(wanted, proven, caller)
        return proven.fragment

    async def watch_standing(self) -> None:
        """Wait until a try has ended with the agent's expulsion.

        Raises:
            ExpelledError: The server does not count the agent as attested any more.
        """
        await self._expelled.wait()
        assert self._why is not None
        raise self._why

    def away(self) -> RpcError:
        """What a workload is told while the server is not asked."""
        why = "" if self.calm.why is None else f": {self.calm.why.message}"
        message = f"could not fetch JWT-SVID: the server is away, and no valid one is held{why}"
        return RpcError(StatusCode.UNAVAILABLE, message, retry_after=self.calm.left())

    def _hold(self, wanted: Wanted, proven: Proven, caller: int) -> None:
        entry = self._cache.book.entries.get(wanted.entry.id)
        if entry is None or not entry.same_subject(wanted.entry) or wanted.entry.unique_tokens:
            return
        now, spread = self._clock.now(), self._chance.fraction()
        held = self._cache.tokens.put(wanted, proven, now=now, spread=spread, caller=caller)
        if held.renew_at < self.look_at:
            self.sooner.set()

    def _failed(self, wanted: Wanted, error: FinialError) -> None:
        if passing(error):
            pause = self.calm.failed(error)
            self.turns.limit(_ONE)
        else:
            pause = self._refusals.add(wanted, error, self._clock.monotonic(), self._chance.fraction())
            self._call.look_again()
        now = self._clock.monotonic()
        # Workloads choose what is asked for, and so how often this happens.
        level = logging.WARNING if now >= self._quiet_until else logging.DEBUG
        if level is logging.WARNING:
            self._quiet_until = now + _QUIET.total_seconds()
        _log.log(
            level,
            "a JWT-SVID was not signed",
            extra=fields(entry=wanted.entry.id, error=error, retry_seconds=pause.total_seconds()),
        )


def told(error: FinialError) -> RpcError:
    """What a workload is told of a try that has failed, in SPIRE's words."""
    return RpcError(StatusCode.UNAVAILABLE, f"could not fetch JWT-SVID: {error.message}")


def seconds(count: float) -> timedelta:
    """So many seconds, or none when it is less than none."""
    return timedelta(seconds=max(count, 0.0))
