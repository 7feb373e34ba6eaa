"""JWT-SVIDs for workloads: those that are held at once, others from the server.

One call is under way for each token that a user's processes want, whichever of them wait for it, and so many
for each user, so that nobody's flood of audiences lets others wait. A server that is away, and a token that
it refuses, are left in peace for a while: a workload that asks in a loop does not make the agent ask in one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from finial.agent.calm import passing
from finial.agent.encode import jwt_svid
from finial.agent.entry import AuthorizedEntry
from finial.agent.jwt_renewal import JWTRenewal
from finial.agent.jwt_tries import JWTTries, seconds, told
from finial.agent.jwtcache import HeldJWT, Renewal, Wanted
from finial.rpc import RpcError, StatusCode
from finial.runtime.clock import Clock
from finial.runtime.metrics import Counter
from finial.runtime.service import run_until

# How long a call to the server may take to begin; and how long it is waited for where there is another token.
_PATIENCE: Final = timedelta(seconds=5)
_PATIENCE_HOLDING: Final = timedelta(seconds=2)
_SLOW: Final = RpcError(StatusCode.DEADLINE_EXCEEDED, "the server takes too long")
_CROWDED: Final = RpcError(StatusCode.RESOURCE_EXHAUSTED, "too many others are asked for")


@dataclass(eq=False, slots=True)
class _Flight:
    """The way of one user's processes to one token.

    Args:
        wanted: The token.
        caller: The user, whose turns it takes.
        until: When its next try is no more begun, on the monotonic scale.
        failed: Done when it is known to take more than one try.
        waiters: How many wait for it.
        begun: Whether the server is being asked, so that it goes on though nobody waits.
    """

    wanted: Wanted
    caller: int
    until: float
    failed: asyncio.Future[None]
    waiters: int = 0
    begun: bool = False


_Task = asyncio.Task[bytes | RpcError]


class JWTSupply:
    """Supplies workloads, as long as the agent runs.

    Args:
        tries: Has tokens signed, and knows what is held.
        renewal: Renews them.
        clock: Time.
        hits: Counts the tokens that were held already when they were asked for.
        misses: Counts the others.
    """

    def __init__(
        self, tries: JWTTries, renewal: JWTRenewal, *, clock: Clock, hits: Counter, misses: Counter
    ) -> None:
        self._tries = tries
        self._renewal = renewal
        self._clock = clock
        self._hits = hits
        self._misses = misses
        self._flights: dict[tuple[Wanted, int], tuple[_Flight, _Task]] = {}  # those that others may join
        self._tasks: set[_Task] = set()

    def at_once(self, entries: Sequence[AuthorizedEntry], audience: tuple[str, ...]) -> bytes | None:
        """The FetchJWTSVID response, if all its tokens are held; None when one has to be had first.

        Args:
            entries: Of the caller, at least one, in order.
            audience: What it asks for, each once.
        """
        parts: list[bytes] = []
        for entry in entries:
            held = self._good(Wanted(entry, audience))
            if held is None:
                return None
            parts.append(held.fragment)
        self._hits.add(len(parts))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def obtain(
        self, entries: Sequence[AuthorizedEntry], audience: tuple[str, ...], *, caller: int
    ) -> bytes:
        """The FetchJWTSVID response; tokens that are not held are signed, all at the same time.

        Args:
            entries: Of the caller, at least one, in order.
            audience: What it asks for, each once.
            caller: The user whose process asks.

        Raises:
            RpcError: UNAVAILABLE: a token is not to be had now, and no valid one is held.
        """
        serving = [self._serve(Wanted(entry, audience), caller) for entry in entries]
        # The usual case needs no task.
        found = [await serving[0]] if len(serving) == 1 else await asyncio.gather(*serving)
        parts: list[bytes] = []
        for each in found:
            if isinstance(each, RpcError):
                raise each
            parts.append(each)
        return b"".join(parts)

    async def run(self) -> None:
        """Renew tokens, and own the calls that are under way.

        Raises:
            ExpelledError: The server does not count the agent as attested any more.
        """
        try:
            await run_until(asyncio.Event(), [self._renewal.run(), self._tries.watch_standing()])
        finally:
            tasks = tuple(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _good(self, wanted: Wanted) -> HeldJWT | None:
        """A token that is held and needs no other one first; has it renewed behind that, if it is time."""
        held, renewal = self._tries.look(wanted)
        if renewal is Renewal.BEHIND:
            self._renewal.soon(wanted.key)
        return None if renewal is Renewal.FIRST else held

    async def _serve(self, wanted: Wanted, caller: int) -> bytes | RpcError:
        """The response with one token, or why there is none."""
        good = self._good(wanted)
        if good is not None:
            self._hits.inc()
            return good.fragment
        self._misses.inc()
        holding = self._tries.look(wanted)[0] is not None
        found = await self._join(wanted, caller, holding=holding)
        if isinstance(found, bytes):
            return found
        held, _ = self._tries.look(wanted)
        return found if held is None else jwt_svid(wanted.entry, held.svid.token)

    async def _join(self, wanted: Wanted, caller: int, *, holding: bool) -> bytes | RpcError:
        """Wait for the flight that brings a token, with others who want the same.

        Whoever holds another token waits for one try, and not for long.
        """
        flight, task = self._flights.get((wanted, caller)) or self._start(wanted, caller)
        flight.waiters += 1
        try:
            if holding:
                await self._first({task, flight.failed}, _PATIENCE_HOLDING)
            else:
                await asyncio.wait({task})
            return task.result() if task.done() else told(_SLOW)
        finally:
            flight.waiters -= 1
            if not flight.waiters and not flight.begun:
                self._over(flight, task)
                task.cancel()

    def _start(self, wanted: Wanted, caller: int) -> tuple[_Flight, _Task]:
        now, since = self._clock.monotonic(), self._tries.calm.since
        # Of a trouble that lasts nobody waits for the end.
        until = max(now, (now if since is None else since) + _PATIENCE.total_seconds())
        loop = asyncio.get_running_loop()
        flight = _Flight(wanted, caller, until, loop.create_future())
        task = loop.create_task(self._fly(flight))
        self._tasks.add(task)
        if not wanted.entry.unique_tokens:
            self._flights[wanted, caller] = flight, task
        task.add_done_callback(lambda _: self._over(flight, task))
        return flight, task

    def _over(self, flight: _Flight, task: _Task) -> None:
        """Nobody joins a flight any more."""
        self._tasks.discard(task)
        if self._flights.get((flight.wanted, flight.caller)) == (flight, task):
            del self._flights[flight.wanted, flight.caller]

    async def _fly(self, flight: _Flight) -> bytes | RpcError:
        """Ask the server, more than once if it is away just now; waits for its turns."""
        wanted, caller, tries = flight.wanted, flight.caller, self._tries
        while True:
            refusal = tries.refusal(wanted)
            if refusal is not None:
                return told(refusal)
            if tries.calm.left() and not flight.failed.done():
                flight.failed.set_result(None)
            while not await tries.calm.wait(self._left(flight)):
                # Another try may have failed meanwhile, which is no reason to give up before the time.
                if tries.calm.left() >= self._left(flight):
                    return tries.away()
            if not await self._turn(caller, self._left(flight)):
                return told(_CROWDED)
            flight.begun = True
            try:
                good = self._good(wanted)  # whoever had the turn before may have brought the same
                found = await tries.once(wanted, caller) if good is None else good.fragment
            finally:
                flight.begun = False
                tries.turns.give_back(caller)
            if isinstance(found, bytes):
                return found
            if not passing(found) or not flight.waiters or not self._left(flight):
                return told(found)

    async def _turn(self, caller: int, most: timedelta) -> bool:
        """Take a turn within a time; whether there was one."""
        turns = self._tries.turns
        if turns.take_now(caller):
            return True
        turn = asyncio.ensure_future(turns.take(caller))
        taken = False
        try:
            await self._first({turn}, most)
            taken = turn.done()
        finally:
            if not taken and not turn.cancel():
                turns.give_back(caller)  # it was given just then
        return taken

    async def _first(self, of: set[asyncio.Future[Any]], most: timedelta) -> None:
        """Wait until one of several things is done, but not longer than `most`; they go on."""
        nap = asyncio.ensure_future(self._clock.sleep(most))
        try:
            await asyncio.wait({*of, nap}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            nap.cancel()
            await asyncio.gather(nap, return_exceptions=True)

    def _left(self, flight: _Flight) -> timedelta:
        return seconds(flight.until - self._clock.monotonic())
