"""How much each address may ask for: callers wait for their turn, and are refused when that is hopeless."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from finial.rpc.peer import site_of
from finial.rpc.status import RpcError, StatusCode
from finial.runtime.clock import Clock
from finial.server.api.chain import Caller
from finial.server.policy import Role

_LONGEST_WAIT = 60.0  # seconds; whoever would wait longer is told to come back
_MOST_WAITING = 128  # calls of one address; each holds a request, of up to four mebibytes
_MAX_ADDRESSES = 10_000


@dataclass(slots=True)
class _Bucket:
    """How many tokens an address had, which may be a debt, and when; how many of its calls wait."""

    tokens: float
    at: float
    waiting: int = 0


class Limiter:
    """A bucket of tokens for each address; local callers are exempt.

    Args:
        rate: Tokens a second, and how many there are at once.
        clock: Measures.
    """

    def __init__(self, rate: int, *, clock: Clock) -> None:
        self._rate = rate
        self._clock = clock
        # Whoever asked last stands last. Owned by the event loop.
        self._buckets: dict[str, _Bucket] = {}

    async def wait(self, caller: Caller, count: int = 1) -> None:
        """Return when the caller may have so many; one that gives up meanwhile takes none.

        Raises:
            RpcError: RESOURCE_EXHAUSTED, it may never have so many at once, or would wait too long.
        """
        if caller.role is Role.LOCAL:
            return
        if count > self._rate:
            message = f"rate ({count}) exceeds burst size ({self._rate})"
            raise RpcError(StatusCode.RESOURCE_EXHAUSTED, message)
        bucket = self._filled(site_of(caller.address.strip("[]")))
        delay = (count - bucket.tokens) / self._rate
        if delay > _LONGEST_WAIT or bucket.waiting >= _MOST_WAITING:
            message = "too many calls of this address are waiting for their turn; try again later"
            raise RpcError(StatusCode.RESOURCE_EXHAUSTED, message)
        bucket.tokens -= count
        if delay > 0:
            await self._turn(bucket, delay, count)

    async def _turn(self, bucket: _Bucket, delay: float, count: int) -> None:
        bucket.waiting += 1
        try:
            await self._clock.sleep(timedelta(seconds=delay))
        except BaseException:
            bucket.tokens += count
            raise
        finally:
            bucket.waiting -= 1

    def _filled(self, address: str) -> _Bucket:
        """The bucket of an address, with what has come since it was last asked for."""
        now, most = self._clock.monotonic(), float(self._rate)
        bucket = self._buckets.pop(address, None) or _Bucket(most, now)
        bucket.tokens = min(most, bucket.tokens + (now - bucket.at) * self._rate)
        bucket.at = now
        if len(self._buckets) >= _MAX_ADDRESSES:
            del self._buckets[next(iter(self._buckets))]
        self._buckets[address] = bucket
        return bucket
