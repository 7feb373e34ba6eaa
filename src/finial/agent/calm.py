"""The calm after a call that failed: nothing is asked of a server that is away, by any number of askers."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from finial.agent.link import Link
from finial.core.errors import FinialError
from finial.rpc import RpcError, StatusCode
from finial.runtime.chance import Chance
from finial.runtime.clock import Clock, wait_at_most
from finial.runtime.retry import Backoff

_FIRST_RETRY: Final = timedelta(milliseconds=500)
_LAST_RETRY: Final = timedelta(seconds=15)
_SHORTEST_RETRY: Final = timedelta(milliseconds=100)
_LONGEST_PUSHBACK: Final = timedelta(minutes=10)
_NOTHING: Final = timedelta(0)

_AWAY: Final = frozenset(
    {
        StatusCode.UNAVAILABLE,
        StatusCode.DEADLINE_EXCEEDED,
        StatusCode.RESOURCE_EXHAUSTED,
        StatusCode.CANCELLED,
        StatusCode.ABORTED,
    }
)


def passing(error: FinialError) -> bool:
    """Whether an error says nothing about what was asked: whatever else is asked now fails likewise."""
    return isinstance(error, RpcError) and error.code in _AWAY


def pushback(error: FinialError) -> timedelta:
    """How long a server asks to be left alone; nothing where it does not ask."""
    asked = error.retry_after if isinstance(error, RpcError) else None
    return min(asked or _NOTHING, _LONGEST_PUSHBACK)


class Calm:
    """When the server may be asked again: after a while, or when another call of the agent has gone well.

    Args:
        link: To the server; knows when a call has gone well.
        clock: Time.
        chance: Spreads the tries.
    """

    def __init__(self, link: Link, *, clock: Clock, chance: Chance) -> None:
        self.since: float | None = None
        """Since when every call has failed, on the monotonic scale; None when the last one went well."""
        self.why: FinialError | None = None
        """What the last call that failed ended with."""
        self._link = link
        self._clock = clock
        self._backoff = Backoff(_FIRST_RETRY, _LAST_RETRY, chance=chance, least=_SHORTEST_RETRY)
        self._until = clock.monotonic()
        self._told_to_wait = False  # by the server

    def left(self) -> timedelta:
        """How long it lasts, unless another call goes well; nothing when the server may be asked."""
        left = self._until - self._clock.monotonic()
        if left > 0 and not self._told_to_wait and self._link.reached.is_set():
            self._until, left = self._clock.monotonic(), 0.0
        return timedelta(seconds=left) if left > 0 else _NOTHING

    def failed(self, error: FinialError) -> timedelta:
        """A call has failed; how long it is calm now.

        Args:
            error: Of the call; one that passes.
        """
        self.why = error
        if left := self.left():
            return left  # another call has failed for the same reason, most likely
        now = self._clock.monotonic()
        asked = pushback(error)
        pause = asked or self._backoff.next()
        self.since = now if self.since is None else self.since
        self._until = now + pause.total_seconds()
        self._told_to_wait = bool(asked)
        self._link.reached.clear()
        return pause

    def went_well(self) -> None:
        """A call has gone well."""
        self.since = None
        self._until = self._clock.monotonic()
        self._backoff.reset()

    async def wait(self, most: timedelta) -> bool:
        """Wait until the server may be asked; whether it may.

        Args:
            most: No longer than that.
        """
        if (left := self.left()) and not self._told_to_wait:
            await wait_at_most(self._clock, self._link.reached, min(left, most))
        elif left and left <= most:
            await self._clock.sleep(left)
        return not self.left()
