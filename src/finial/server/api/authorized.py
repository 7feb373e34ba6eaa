"""What a calling agent may serve, for as long as one of its calls lasts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from finial.runtime.clock import Clock
from finial.server.api.chain import Caller
from finial.server.index.index import Index
from finial.server.index.subscriptions import Cursor, Subscription
from finial.server.store.records import EntryRecord


class Authorized:
    """Answers for one call. Each answer is given anew, and only to a caller that would still be admitted.

    Args:
        caller: An agent.
        index: Has the entries.
        clock: Judges which of them have ended.
    """

    def __init__(self, caller: Caller, index: Index, clock: Clock) -> None:
        self._caller = caller
        self._index = index
        self._clock = clock

    def check(self) -> float:
        """The time, Unix seconds, if the caller may be answered now.

        Raises:
            RpcError: PERMISSION_DENIED, it has been banned, evicted, or its SVID has expired.
        """
        self._caller.recheck()
        return self._clock.now().timestamp()

    def records(self) -> Iterator[EntryRecord]:
        """What it may serve now, each entry once; to be used up before others have their turn.

        Raises:
            RpcError: As `check`.
        """
        return self._index.authorized(self._caller.agent_id.text, self.check())

    @contextmanager
    def walk(self) -> Iterator[Walk]:
        """What it may serve, page after page, while others have their turns.

        It is walked over where it is: a copy for each of a thousand agents that take their time would be too
        much. What changes behind a walk's back is found at its end.
        """
        subscription = self._index.watch(self._caller.agent_id.text, _nobody_waits)
        try:
            yield Walk(self, self._index, subscription)
        finally:
            subscription.close()


class Walk:
    """A walk over what an agent may serve.

    Args:
        authorized: Says when the caller may be answered.
        index: Has the entries.
        subscription: The agent's, new.
    """

    def __init__(self, authorized: Authorized, index: Index, subscription: Subscription) -> None:
        self._authorized = authorized
        self._index = index
        self._subscription = subscription
        self._cursor: Cursor | None = None
        self._late: Sequence[str] = ()  # what has changed since the walk was there, or may have

    def page(self, limit: int) -> tuple[Sequence[EntryRecord], bool]:
        """The next entries, and whether others follow.

        Each is in some page as it is when the walk ends; one that changes meanwhile may be in two.

        Args:
            limit: How many at most.

        Raises:
            RpcError: As `Authorized.check`.
        """
        self._look()
        if self._late:
            asked = map(self._subscription.get, self._late[:limit])
            found: Sequence[EntryRecord] = [record for record in asked if record is not None]
            self._late = self._late[limit:]
        else:
            found, self._cursor = self._subscription.page(self._cursor, limit)
            if self._cursor is not None:
                return found, True
        if self._late:
            return found, True
        dirty = self._subscription.drain()
        self._late = dirty.entries
        # Of what has changed too much the walk goes over all again.
        return found, bool(self._late) or dirty.overflow

    def get(self, entry_id: str) -> EntryRecord | None:
        """The entry with this id, if the agent may serve it now.

        Raises:
            RpcError: As `Authorized.check`.
        """
        self._look()
        return self._subscription.get(entry_id)

    def _look(self) -> None:
        self._index.expire(self._authorized.check())


def _nobody_waits() -> None:
    """A walk looks for changes by itself."""
