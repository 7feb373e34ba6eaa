"""How much each address may ask for: callers wait for their turn, and are refused when that is hopeless."""

from __future__ import annotations

from datetime import timedelta

from finial.rpc.status import RpcError, StatusCode
from finial.runtime.clock import Clock
from finial.server.api.chain import Caller
from finial.server.policy import Role

_LONGEST_WAIT = 60.0  # seconds; whoever would wait longer is told to come back
_MAX_ADDRESSES = 10_000


class Limiter:
    """A bucket of tokens for each address; local callers are exempt.

    Args:
        rate: Tokens a second, and how many there are at once.
        clock: Measures.
    """

    def __init__(self, rate: int, *, clock: Clock) -> None:
        self._rate = rate
        self._clock = clock
        # For each address: how many tokens it had, which may be a debt, and when. Owned by the event loop.
        self._buckets: dict[str, tuple[float, float]] = {}

    async def wait(self, caller: Caller, count: int = 1) -> None:
        """Return when the caller may have so many.

        Raises:
            RpcError: RESOURCE_EXHAUSTED, it may never have so many at once, or would wait too long.
        """
        if caller.role is Role.LOCAL:
            return
        if count > self._rate:
            message = f"rate ({count}) exceeds burst size ({self._rate})"
            raise RpcError(StatusCode.RESOURCE_EXHAUSTED, message)
        now = self._clock.monotonic()
        tokens, at = self._buckets.get(caller.address, (float(self._rate), now))
        tokens = min(float(self._rate), tokens + (now - at) * self._rate) - count
        delay = -tokens / self._rate
        if delay > _LONGEST_WAIT:
            raise RpcError(StatusCode.RESOURCE_EXHAUSTED, "too many calls are waiting for their turn")
        self._forget_idle(now)
        self._buckets[caller.address] = tokens, now
        if delay > 0:
            await self._clock.sleep(timedelta(seconds=delay))

    def _forget_idle(self, now: float) -> None:
        """Drop the addresses whose bucket has filled up again, when there are many."""
        if len(self._buckets) < _MAX_ADDRESSES:
            return
        full = [
            address
            for address, (tokens, at) in self._buckets.items()
            if tokens + (now - at) * self._rate >= self._rate
        ]
        for address in full or [next(iter(self._buckets))]:
            del self._buckets[address]
