"""What an agent reports and how often: figures, taken in at a bounded rate."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from finial.runtime.clock import Clock
from finial.server.api.slices import Slices
from finial.server.push.delivery import Authorized
from finial.server.push.ground import Ground
from finial.wire.push import Report

PER_SECOND: Final = 1_000
"""Steps of progress that one stream may report in the long run."""
AT_ONCE: Final = 10_000
"""Steps that it may report at once."""
_COST = 20  # of a report, in steps, whatever is in it


class Reports:
    """Takes in the reports of one stream. One that reports too much is read more slowly.

    Args:
        ground: Has whom to tell.
        agent_id: Whose stream.
        authorized: What it may report about.
    """

    def __init__(self, ground: Ground, agent_id: str, authorized: Authorized) -> None:
        self._ground = ground
        self._agent_id = agent_id
        self._authorized = authorized
        self._tokens = _Tokens(ground.clock)

    async def take(self, report: Report) -> None:
        """Take a report in, when it is its turn."""
        await self._tokens.spend(_COST + len(report))
        resting = report.resting
        if resting:
            self._ground.fleet.resting(self._agent_id, resting)
        slices = Slices(self._ground.clock)
        for step in report.steps():
            self._ground.deliveries.reported(self._agent_id, step, self._authorized)
            if slices.over():
                await slices.turn()


class _Tokens:
    """A bucket of tokens that may run into debt, which is waited off."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tokens = float(AT_ONCE)
        self._at = clock.monotonic()

    async def spend(self, count: int) -> None:
        now = self._clock.monotonic()
        self._tokens = min(float(AT_ONCE), self._tokens + (now - self._at) * PER_SECOND) - count
        self._at = now
        if self._tokens < 0:
            await self._clock.sleep(timedelta(seconds=-self._tokens / PER_SECOND))
