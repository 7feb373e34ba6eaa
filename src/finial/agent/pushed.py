"""What all calls of the push service share: what is held, whose turn it is, how a difference is mended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from finial.agent.intake import Intake
from finial.agent.replica import HeldEntry, Replica, Staged, State, Taken
from finial.core.errors import FinialError, Kind, Reason
from finial.core.ids import TrustDomain
from finial.runtime.clock import Clock
from finial.runtime.log import fields
from finial.runtime.metrics import Counter

_log = logging.getLogger("finial.agent")

_MISMATCH = Reason("agent-push-mismatch", Kind.UNAVAILABLE)
# Two repairs a minute, by the difference and then by the whole; a server whose sums are never right would
# otherwise be asked for everything after each change.
_REPAIRS: Final = 2
_REPAIRS_WITHIN: Final = timedelta(minutes=1)
_LONGEST_SPREAD: Final = timedelta(minutes=15)
_CLOCKS_APART: Final = timedelta(seconds=30)


class MismatchError(FinialError):
    """What the agent holds is not what the server says; a new call finds out what differs."""


class Pushed:
    """What is held by push, whichever call has brought it. Owned by the event loop.

    Args:
        intake: Is told of each change.
        clock: Time.
        mismatches: Counts how often the sums of server and agent were others; None for a counter of its own.
    """

    def __init__(self, intake: Intake, *, clock: Clock, mismatches: Counter | None = None) -> None:
        self.live = asyncio.Event()
        """Set while a call is answered."""
        self.turn: object | None = None
        """The call whose changes count: the newest that the server has answered."""
        self.spread = timedelta(0)
        """Over how much time the agents of the server are to spread when they lose it."""
        self.mismatches = mismatches or Counter()
        self._intake = intake
        self._clock = clock
        self._replica = Replica(intake.trust_domain)
        self._repairs: list[float] = []
        self._from_nothing = False
        self._clocks_apart = False

    @property
    def trust_domain(self) -> TrustDomain:
        """The own one."""
        return self._intake.trust_domain

    @property
    def entries(self) -> Sequence[HeldEntry]:
        """All entries that are held, as they are now."""
        return tuple(self._replica.entries.values())

    def greeting(self) -> State | None:
        """What to tell the server of what is held; None to be told everything."""
        return None if self._from_nothing else self._replica.state

    def begin(self, call: object) -> None:
        """The server has answered a call: from now on its changes count, and nobody else's."""
        self.turn = call
        self.live.set()

    def forget(self) -> None:
        """The agent polls: what was pushed is in force no longer."""
        self._replica.forget()
        self._from_nothing = False
        self.turn = None

    def heard(self, server_time_ms: int, spread_ms: int) -> None:
        """A message has come.

        Args:
            server_time_ms: By the server's clock; 0 where it does not say.
            spread_ms: Over how much time the server's agents are to spread.
        """
        self._intake.heard()
        self.spread = min(timedelta(milliseconds=spread_ms), _LONGEST_SPREAD)
        if not server_time_ms:
            return
        ahead = server_time_ms / 1_000 - self._clock.now().timestamp()
        apart = abs(ahead) > _CLOCKS_APART.total_seconds()
        if apart and not self._clocks_apart:
            seconds = round(ahead)
            _log.warning("the clocks of server and agent differ", extra=fields(server_ahead_seconds=seconds))
        self._clocks_apart = apart

    def confirm(self, state: State) -> None:
        """The server holds what it was told; another call may have brought more since.

        Raises:
            PushError: It tells of no database.
        """
        self._replica.confirm(state)
        self._intake.pushed(Taken(), self._replica)

    def take(self, staged: Staged, state: State) -> None:
        """Put a complete change in force.

        Args:
            staged: All its pages.
            state: What the server says is held from then on.

        Raises:
            PushError: It must not be taken; nothing has changed.
            MismatchError: It is in force, and what is held is still not what the server says.
        """
        taken = self._replica.take(staged, state)
        if taken.whole:
            self._from_nothing = False
        self._intake.pushed(taken, self._replica)
        if taken.differs:
            self._mend(taken.differs)

    def _mend(self, differs: str) -> None:
        self.mismatches.inc()
        now = self._clock.monotonic()
        recent = [at for at in self._repairs if now - at < _REPAIRS_WITHIN.total_seconds()]
        if len(recent) >= _REPAIRS:
            _log.debug("what is held still differs from the server's", extra=fields(differs=differs))
            return
        self._repairs = [*recent, now]
        self._from_nothing = bool(recent)  # the difference alone has not helped
        _log.warning("what is held differs from the server's", extra=fields(differs=differs))
        raise MismatchError(_MISMATCH, f"what is held differs from what the server says: {differs}")
