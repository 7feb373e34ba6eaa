"""One stream of the Workload API, as a state machine of plain values.

It is told what happened and when, and says what to do. It opens no connection, knows no clock and draws
nothing by itself; `finial.sdk.workload` does what it says.

    Started ──> Dial ──> Accepted ──> Deliver        a good message: the backoff begins anew
                     ──> Rejected ──> Discard        a bad one: what was known before stays
                     ──> Ended ─────> Dial           the first loss after a good message: at once
                                      Wait ── Woken ──> Dial
                                      Fail           asking again would not help

Two rules hold for every change of this file: only a good message resets the backoff, and no order of events
makes it answer two losses within `MIN_REDIAL_SECONDS` by dialling at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from finial.rpc import StatusCode
from finial.runtime.chance import Chance
from finial.runtime.retry import Backoff

FIRST_BACKOFF = timedelta(seconds=1)
LONGEST_BACKOFF = timedelta(seconds=30)
SHORTEST_BACKOFF = timedelta(milliseconds=100)
MIN_REDIAL_SECONDS = 1.0

# spec: EP-26, EP-37, WAPI-56. Asking again would bring the same answer.
FATAL = frozenset({StatusCode.INVALID_ARGUMENT, StatusCode.UNIMPLEMENTED})


@dataclass(frozen=True, slots=True)
class Started:
    """Somebody wants the stream."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A message came and keeps the rules."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A message came and breaks a rule."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The stream is over, or could not be opened.

    Args:
        code: The status that it ended with.
    """

    code: StatusCode


@dataclass(frozen=True, slots=True)
class Woken:
    """The time that was to be waited has passed."""


Event = Started | Accepted | Rejected | Ended | Woken


@dataclass(frozen=True, slots=True)
class Dial:
    """Open the stream."""


@dataclass(frozen=True, slots=True)
class Deliver:
    """Hand the message on."""


@dataclass(frozen=True, slots=True)
class Discard:
    """Report the message and drop it."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Let time pass, then say Woken.

    Args:
        duration: How much.
        revoke: First say that what was delivered must not be used any more. spec: WAPI-35, WAPI-39
    """

    duration: timedelta
    revoke: bool = False


@dataclass(frozen=True, slots=True)
class Fail:
    """Report the error; the stream stays ended."""


Action = Dial | Deliver | Discard | Wait | Fail


class StreamMachine:
    """What to do about one stream. Clauses: EP-28, EP-30, EP-38, WAPI-07, WAPI-09, WAPI-34, WAPI-73.

    Args:
        chance: Spreads the waits of many clients.
    """

    def __init__(self, chance: Chance) -> None:
        self._backoff = Backoff(FIRST_BACKOFF, LONGEST_BACKOFF, chance=chance, least=SHORTEST_BACKOFF)
        self._good = False  # the stream that is open, or was last, has brought a good message
        self._denied = False  # the last word of the server was that there is nothing
        self._redialled: float | None = None  # when a loss was last answered by dialling at once
        self._until = 0.0  # when the wait ends

    def on(self, event: Event, now: float) -> Action:
        """What to do now.

        Args:
            event: What happened.
            now: Seconds on any scale that only rises.
        """
        match event:
            case Started():
                return Dial()
            case Accepted():
                self._backoff.reset()
                self._good, self._denied = True, False
                return Deliver()
            case Rejected():
                return Discard()
            case Ended(code):
                return self._ended(code, now)
            case Woken():
                rest = self._until - now
                return Wait(timedelta(seconds=rest)) if rest > 0 else Dial()

    def _ended(self, code: StatusCode, now: float) -> Action:
        if code in FATAL:
            return Fail()
        first_loss, self._good = self._good, False
        if code is StatusCode.PERMISSION_DENIED:
            revoke, self._denied = not self._denied, True
            return self._wait(now, revoke=revoke)
        quiet = self._redialled is None or now - self._redialled >= MIN_REDIAL_SECONDS
        if first_loss and quiet:
            self._redialled = now
            return Dial()
        return self._wait(now, revoke=False)

    def _wait(self, now: float, *, revoke: bool) -> Wait:
        duration = self._backoff.next()
        self._until = now + duration.total_seconds()
        return Wait(duration, revoke)
