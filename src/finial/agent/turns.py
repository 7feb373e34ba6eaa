"""Turns: so much at a time of each caller and in all, and nobody waits behind everything of one other."""

from __future__ import annotations

import asyncio


class Turns:
    """Whose turn it is. Of several callers that wait, each has one turn after the other.

    Args:
        each: How many one caller may have at a time.
        most: How many there are at a time.
    """

    def __init__(self, *, each: int, most: int) -> None:
        self._each = each
        self._most = most
        self._taken: dict[int, int] = {}  # by caller; none is zero
        self._total = 0
        # By caller, those who have had no turn for longest first; none is empty.
        self._waiting: dict[int, dict[asyncio.Future[None], None]] = {}

    def limit(self, most: int) -> None:
        """Have so many at a time from now on; those that are taken go on."""
        self._most = most
        self._wake()

    def take_now(self, caller: int) -> bool:
        """Take a turn if there is one, which has to be given back; whether there was.

        Args:
            caller: For whom.
        """
        free = self._free(caller)
        if free:
            self._count(caller, 1)
        return free

    async def take(self, caller: int) -> None:
        """Wait for a turn, which has to be given back.

        Args:
            caller: For whom.
        """
        if self.take_now(caller):
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(caller, {})[turn] = None
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._forget(caller, turn)
            else:
                self.give_back(caller)  # it was given just then
            raise

    def give_back(self, caller: int) -> None:
        """A turn is over.

        Args:
            caller: Who had taken it.
        """
        self._count(caller, -1)
        self._wake()

    def _free(self, caller: int) -> bool:
        return self._total < self._most and self._taken.get(caller, 0) < self._each

    def _count(self, caller: int, more: int) -> None:
        self._total += more
        self._taken[caller] = count = self._taken.get(caller, 0) + more
        if not count:
            del self._taken[caller]

    def _wake(self) -> None:
        while (caller := next(filter(self._free, self._waiting), None)) is not None:
            waiting = self._waiting.pop(caller)
            turn = next(iter(waiting))
            del waiting[turn]
            if waiting:
                self._waiting[caller] = waiting  # behind the others
            if not turn.done():
                self._count(caller, 1)
                turn.set_result(None)

    def _forget(self, caller: int, turn: asyncio.Future[None]) -> None:
        waiting = self._waiting.get(caller)
        if waiting is not None and turn in waiting:
            del waiting[turn]
            if not waiting:
                del self._waiting[caller]
