"""What a calling agent may serve, for as long as one of its calls lasts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from finial.runtime.clock import Clock
from finial.server.api.chain import Caller
from finial.server.index.index import Index
from finial.server.store.records import EntryRecord

_FRESH_SECONDS: Final = 1.0
"""An entry that ends is noticed within this; whatever else changes is noticed at once."""


class Authorized:
    """Answers for one call; finds the entries anew only when that can make a difference.

    A large set costs many milliseconds of the loop, and a caller can ask often in one call.

    Args:
        caller: An agent.
        index: Has the entries.
        clock: Judges which of them have ended.
    """

    def __init__(self, caller: Caller, index: Index, clock: Clock) -> None:
        self._caller = caller
        self._index = index
        self._clock = clock
        self._found: Mapping[str, EntryRecord] = {}
        self._version = -1
        self._at = 0.0

    def __call__(self) -> Mapping[str, EntryRecord]:
        """What it may serve now, by id.

        Raises:
            RpcError: PERMISSION_DENIED, it has been banned, evicted, or its SVID has expired.
        """
        self._caller.recheck()
        now = self._clock.monotonic()
        if self._version != self._index.version or now - self._at >= _FRESH_SECONDS:
            moment = self._clock.now().timestamp()
            self._found = self._index.authorized(self._caller.agent_id.text, moment)
            self._version, self._at = self._index.version, now
        return self._found
