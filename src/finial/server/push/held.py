"""What an agent says that it holds, while it says so, and then while it is told the difference."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from finial.rpc.status import RpcError, StatusCode
from finial.server.api.replies import invalid
from finial.server.push.conversation import most_held
from finial.server.store.records import EntryRecord
from finial.wire.push import Held

MOST_MARKS: Final = 1_000_000
"""Marks that an agent may tell."""
MOST_PAGES: Final = 2_000
"""Messages in which it may do so."""


class Holdings:
    """The marks of one agent, which come in pages.

    What is too much is not kept: the agent has to be told everything then.

    Args:
        count: How many entries it may serve.
        known: Finds an entry by id, whosoever's; ids are kept once.
    """

    def __init__(self, count: int, known: Callable[[str], EntryRecord | None]) -> None:
        self.marks: dict[str, bytes] = {}
        """By entry id."""
        self.complete = asyncio.Event()
        """Set when the last page has been taken in."""
        self.beyond = False
        """Whether it holds so much more than it may serve that nothing has been kept."""
        self._most = most_held(count)
        self._known = known
        self._told = 0
        self._pages = 0

    def begin(self, page: Held) -> None:
        """A page has come.

        Raises:
            RpcError: It comes uncalled for, or the agent finds no end.
        """
        self._pages += 1
        self._told += len(page.marks)
        if self.complete.is_set():
            raise invalid("the agent says again what it holds")
        if self._told > MOST_MARKS or self._pages > MOST_PAGES:
            raise RpcError(StatusCode.RESOURCE_EXHAUSTED, "the agent holds too much to be compared")
        if self._told > self._most:
            self.beyond = True
            self.marks = {}

    def put(self, entry_id: str, mark: bytes) -> None:
        """Take one mark of a page in."""
        if not self.beyond:
            record = self._known(entry_id)
            self.marks[entry_id if record is None else record.id] = mark
