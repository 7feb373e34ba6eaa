"""What live sources have in common: one watch, and what its newest event says, for as long as it is open."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import timedelta
from types import TracebackType
from typing import ClassVar, Final, Generic, Self, TypeVar

from finial.core.errors import FinialError, Kind, Reason
from finial.rpc import Address
from finial.runtime.clock import Clock, SystemClock, wait_at_most
from finial.sdk.calls import Revoked, Updated
from finial.sdk.problems import Report, tell
from finial.sdk.workload import WorkloadClient

_log = logging.getLogger("finial.sdk")

FIRST_UPDATE_TIME: Final = timedelta(seconds=30)

_LATE: Final = Reason(
    "source-no-update", Kind.UNAVAILABLE, meaning="Nothing arrived in the time that a source was given."
)
_NOT_OPEN: Final = Reason("source-not-open", Kind.CONFLICT, hint="Use the source inside of its `async with`.")
_BROKEN: Final = Reason(
    "source-broken",
    Kind.INTERNAL,
    hint="The log has the details; a process that gives up its user must still be able to read its packages.",
)

Value = TypeVar("Value")
Held = TypeVar("Held")


class SourceError(FinialError):
    """A source has nothing to give."""


class Following(ABC, Generic[Value, Held]):
    """Follows the Workload API while its `async with` lasts; any thread may read what is held.

    Args:
        client: Asked for updates, and left open; None makes one.
        address: For that one; see WorkloadClient.
        patience: How long entering waits for the first usable update.
        report: Told of each problem, beside the log.
        clock: The machine's, unless a test brings its own.
        empty: What is held when there is nothing.

    Raises:
        AddressError: There is no address, or it breaks a rule.
    """

    _AWAITED: ClassVar[str]
    """What entering waits for, in a message."""

    def __init__(
        self,
        client: WorkloadClient | None,
        *,
        address: str | Address | None,
        patience: timedelta,
        report: Report | None,
        clock: Clock | None,
        empty: Held,
    ) -> None:
        self._clock = clock or SystemClock()
        self._client = client or WorkloadClient(address, clock=self._clock)
        self._owned = client is None
        self._patience = patience
        self._report = report
        self._empty = empty
        self._held = empty  # swapped whole, by `_run` alone
        self._last_problem: FinialError | None = None
        self._failure: FinialError | None = None  # why no more updates will come
        self._ready = asyncio.Event()
        self._changed = asyncio.Event()  # set, and replaced, at each change
        self._callbacks: dict[object, Callable[[Held], None]] = {}
        self._task: asyncio.Task[None] | None = None

    @abstractmethod
    def _events(self) -> AsyncGenerator[Updated[Value] | Revoked, None]:
        """The watch to follow."""

    @abstractmethod
    def _judge(self, event: Updated[Value] | Revoked) -> tuple[Held, bool]:
        """What an event leaves to be held, and whether it is what entering waits for."""

    @property
    def snapshot(self) -> Held:
        """What belongs together: all of it came in one message."""
        return self._held

    async def updated(self) -> Held:
        """Wait for the next change, a revocation included, and tell what is so then.

        Raises:
            FinialError: No more changes will come.
        """
        if self._failure is None:
            await self._changed.wait()
        if self._failure is not None:
            raise again(self._failure)
        return self._held

    def on_update(self, callback: Callable[[Held], None]) -> Callable[[], None]:
        """Have a function called at each change, on the event loop.

        Args:
            callback: Given what is so; what it raises is logged.

        Returns:
            A function that ends this.
        """
        key = object()
        self._callbacks[key] = callback
        return lambda: self._callbacks.pop(key, None) and None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name=f"finial {type(self).__name__}")
        try:
            await self._first_update()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    def _note(self, problem: FinialError) -> None:
        """Tell whoever wants to know of problems, and remember it for the case that entering fails."""
        self._last_problem = problem
        tell(self._report, problem)

    async def _first_update(self) -> None:
        ready = await wait_at_most(self._clock, self._ready, self._patience)
        if self._failure is not None:
            raise again(self._failure)
        if not ready:
            raise self._late()

    async def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._failure is None:
            self._failure = again(None)
        self._swap(self._empty)
        if self._owned:
            await self._client.close()

    async def _run(self) -> None:
        try:
            async with aclosing(self._events()) as events:
                async for event in events:
                    held, usable = self._judge(event)
                    self._swap(held)
                    if usable:
                        self._ready.set()
            self._end(SourceError(_NOT_OPEN, "the client of the source was closed"))
        except FinialError as error:
            self._end(error)
        except Exception as error:  # noqa: BLE001 - logged, and told to whoever waits
            # Whoever waits has to be told, or would wait for updates that never come.
            _log.exception("following the Workload API failed")
            message = f"following the Workload API at {self._client.address} failed: {type(error).__name__}"
            failure = SourceError(_BROKEN, message)
            failure.__cause__ = error
            self._end(failure)

    def _swap(self, fresh: Held) -> None:
        self._held = fresh
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        for callback in list(self._callbacks.values()):
            try:
                callback(fresh)
            except Exception:  # noqa: BLE001 - somebody else's code
                _log.exception("a callback of %s failed", type(self).__name__)

    def _end(self, error: FinialError) -> None:
        """No more updates: what is held stays, and is good until it expires."""
        self._failure = error
        self._ready.set()
        self._changed.set()

    def _late(self) -> FinialError:
        text = f"no {self._AWAITED} arrived within {self._patience.total_seconds():g} s"
        problem = self._last_problem
        if problem is None:
            return SourceError(_LATE, f"{text}: the Workload API at {self._client.address} sent nothing")
        reason = Reason(_LATE.id, problem.reason.kind, problem.reason.clauses, problem.reason.hint)
        late = SourceError(reason, f"{text}: {problem}", subject=problem.subject)
        late.__cause__ = problem
        return late


def again(error: FinialError | None) -> FinialError:
    """An error of its own for each who asks: one that is raised over and over would keep every trace.

    Args:
        error: Why there is nothing; None when nothing has been asked for.
    """
    if error is None:
        return SourceError(_NOT_OPEN, "the source is not open")
    fresh = SourceError(error.reason, error.message, subject=error.subject)
    fresh.__cause__ = error
    return fresh
