"""Agents that have seen more than this server has: none of them may be given back what was taken away."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Final

from finial.core.errors import FinialError
from finial.rpc.status import RpcError, StatusCode
from finial.runtime.chance import Chance
from finial.runtime.clock import Clock
from finial.runtime.log import fields
from finial.server.index.index import Index
from finial.server.push.conversation import is_ahead
from finial.server.store import database
from finial.server.store.writer import Store
from finial.wire.push import State

_log = logging.getLogger("finial.server")

PATIENCE: Final = timedelta(seconds=10)
"""How long an agent waits for this server to catch up."""
EVERY: Final = timedelta(minutes=1)
"""How often there is a new epoch at most: an agent that lies must not stir up the others all the time."""
_BACK_AFTER = timedelta(seconds=5)


class Failover:
    """Keeps agents waiting while this server lags behind what they have seen.

    Args:
        index: Says how far it is.
        store: Says whether others write to the database; gets the new epoch.
        clock: Measures.
        chance: Draws epochs.
    """

    def __init__(self, index: Index, store: Store, *, clock: Clock, chance: Chance) -> None:
        self._index = index
        self._store = store
        self._clock = clock
        self._chance = chance
        self._renewed: float | None = None  # when, on the monotonic scale
        self._renewal: asyncio.Task[None] | None = None

    async def caught_up(self, agent_id: str, held: State | None) -> None:
        """Return when nothing that this server tells an agent is older than what it holds.

        Args:
            agent_id: Which one.
            held: What it holds; None for nothing.

        Raises:
            RpcError: UNAVAILABLE with the time to come back, this does not happen soon.
            FinialError: The database does not take a new epoch.
        """
        while held is not None and is_ahead(held, self._index.epoch, self._index.position):
            if self._store.alone:
                await self._restored(agent_id, held)
            else:
                await self._reached(held.seq)

    async def _reached(self, position: int) -> None:
        reached = self._index.reached(position)
        timer = asyncio.ensure_future(self._clock.sleep(PATIENCE))
        try:
            await asyncio.wait((reached, timer), return_when=asyncio.FIRST_COMPLETED)
            if not reached.done():
                raise _later("this server has not seen yet what the agent has; another may have", _BACK_AFTER)
        finally:
            reached.cancel()
            timer.cancel()
            await asyncio.gather(timer, return_exceptions=True)

    async def _restored(self, agent_id: str, held: State) -> None:
        """Nobody else writes, and yet the agent has seen more: the database has been put back."""
        if self._renewal is None or self._renewal.done():
            now = self._clock.monotonic()
            pause = EVERY.total_seconds() - (now - self._renewed) if self._renewed is not None else 0.0
            if pause > 0:
                message = "the agent has seen what this server has not, again"
                raise _later(message, timedelta(seconds=pause))
            self._renewed = now
            _log.warning(
                "an agent has seen changes that are not in the database, so this has been put back to an "
                "earlier state; all agents are told what is so now",
                extra=fields(agent=agent_id, seen=held.seq, position=self._index.position),
            )
            self._renewal = asyncio.ensure_future(self._renew())
            self._renewal.add_done_callback(_look_at)
        # The agent may go; what has been written has to get into the index all the same.
        await asyncio.shield(self._renewal)

    async def _renew(self) -> None:
        try:
            epoch = await self._store.write(lambda tx: database.renew_epoch(tx, chance=self._chance))
        except FinialError as error:
            _log.error(
                "the database does not take a new epoch",
                extra=fields(error=error, next_step=error.reason.hint),
            )
            raise
        self._index.take_epoch(epoch)


def _look_at(renewal: asyncio.Task[None]) -> None:
    """Whoever waited may be gone, and the error has been logged."""
    if not renewal.cancelled():
        renewal.exception()


def _later(message: str, pause: timedelta) -> RpcError:
    return RpcError(StatusCode.UNAVAILABLE, message, retry_after=pause)
