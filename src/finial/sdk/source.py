"""The live source of a process's identity: always the newest SVID and bundles, as one snapshot."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Final, Self

from finial.core.bundle import Bundle, BundleSet
from finial.core.errors import FinialError, Kind, Reason, translated
from finial.core.ids import TrustDomain
from finial.core.x509svid import X509SVID
from finial.rpc import Address
from finial.runtime.clock import Clock, SystemClock, wait_at_most
from finial.sdk.problems import Report, tell
from finial.sdk.response import X509Context
from finial.sdk.workload import Revoked, Updated, WorkloadClient

_log = logging.getLogger("finial.sdk")

FIRST_UPDATE_TIME: Final = timedelta(seconds=30)

_LATE: Final = Reason(
    "source-no-update", Kind.UNAVAILABLE, meaning="No identity arrived in the time that a source was given."
)
_PICK: Final = Reason("source-picker", Kind.INTERNAL, hint="Correct the function that picks an SVID.")
_NOT_OPEN: Final = Reason("source-not-open", Kind.CONFLICT, hint="Use the source inside of its `async with`.")

Picker = Callable[[Sequence[X509SVID]], X509SVID]
"""Chooses one of the SVIDs; raises FinialError when none will do. `by_hint("...")` makes one."""


def first(svids: Sequence[X509SVID]) -> X509SVID:
    """The default identity: the first in the agent's list. Clauses: WAPI-67."""
    return svids[0]


_BROKEN = Reason(
    "source-broken",
    Kind.INTERNAL,
    hint="The log has the details; a process that gives up its user must still be able to read its packages.",
)


class SourceError(FinialError):
    """A source has nothing to give."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a source holds at one moment; its parts came in one message.

    Args:
        context: The message; None when there is nothing that may be used.
        svid: The one that was picked; None when there is none.
        error: Why there is no SVID, or no context.
    """

    context: X509Context | None = None
    svid: X509SVID | None = None
    error: FinialError | None = None


class X509Source:
    """Holds the newest SVID and bundles while its `async with` lasts; any thread may read them.

        async with X509Source() as source:
            context = client_context(source, source, MemberOf(TrustDomain("example.org")))
            reader, writer = await asyncio.open_connection("db.internal", 5432, ssl=context)

    Entering waits for the first update; a process whose entry has not arrived yet waits for it too.

    Args:
        client: Asked for updates, and left open; None makes one.
        address: For that one; see WorkloadClient.
        pick: Chooses the SVID among several.
        patience: How long entering waits for the first SVID.
        report: Told of each problem, beside the log.
        clock: The machine's, unless a test brings its own.

    Raises:
        AddressError: There is no address, or it breaks a rule.
    """

    def __init__(
        self,
        client: WorkloadClient | None = None,
        *,
        address: str | Address | None = None,
        pick: Picker = first,
        patience: timedelta = FIRST_UPDATE_TIME,
        report: Report | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._client = client or WorkloadClient(address, clock=self._clock)
        self._owned = client is None
        self._pick = pick
        self._patience = patience
        self._report = report
        self._snapshot = Snapshot()  # swapped whole, by `_run` alone
        self._last_problem: FinialError | None = None
        self._failure: FinialError | None = None  # why no more updates will come
        self._ready = asyncio.Event()
        self._changed = asyncio.Event()  # set, and replaced, at each change
        self._callbacks: dict[object, Callable[[Snapshot], None]] = {}
        self._task: asyncio.Task[None] | None = None

    @property
    def snapshot(self) -> Snapshot:
        """SVID and bundles that belong together; both properties below read from the newest."""
        return self._snapshot

    @property
    def svid(self) -> X509SVID:
        """The newest SVID. Clauses: WAPI-35.

        Raises:
            FinialError: There is none: not yet, no longer, or none that the picker wants.
        """
        held = self._snapshot
        if held.svid is None:
            raise _again(held.error)
        return held.svid

    @property
    def context(self) -> X509Context:
        """All SVIDs and bundles of the newest message.

        Raises:
            FinialError: There is none, not yet or no longer.
        """
        held = self._snapshot
        if held.context is None:
            raise _again(held.error)
        return held.context

    @property
    def bundles(self) -> BundleSet:
        """The newest bundles; raises as `context`. Clauses: WAPI-17, WAPI-39."""
        return self.context.bundles

    def bundle_for(self, trust_domain: TrustDomain) -> Bundle | None:
        """The newest bundle of this trust domain, None without federation; raises as `context`."""
        return self.bundles.bundle_for(trust_domain)

    async def updated(self) -> Snapshot:
        """Wait for the next change, a revocation included, and tell what is so then.

        Raises:
            FinialError: No more changes will come.
        """
        if self._failure is None:
            await self._changed.wait()
        if self._failure is not None:
            raise _again(self._failure)
        return self._snapshot

    def on_update(self, callback: Callable[[Snapshot], None]) -> Callable[[], None]:
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
        self._task = asyncio.create_task(self._run(), name="finial X509Source")
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

    async def _first_update(self) -> None:
        ready = await wait_at_most(self._clock, self._ready, self._patience)
        if self._failure is not None:
            raise _again(self._failure)
        if not ready:
            raise self._late()

    async def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._failure is None:
            self._failure = _again(None)
        self._swap(Snapshot())
        if self._owned:
            await self._client.close()

    async def _run(self) -> None:
        try:
            events = self._client.watch_x509(report=self._note)
            async with aclosing(events):
                async for event in events:
                    self._take(event)
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

    def _take(self, event: Updated[X509Context] | Revoked) -> None:
        if isinstance(event, Revoked):
            if self._snapshot.context is not None:
                _log.warning("the identity of this process was revoked: %s", event.why)
            self._swap(Snapshot(error=event.why))
            return
        context = event.value
        try:
            svid = translated(lambda: self._pick(context.svids), _unpicked)
        except FinialError as error:
            # spec: WAPI-71. Never another one instead.
            _log.warning("none of this process's SVIDs will do: %s", error)
            self._note(error)
            self._swap(Snapshot(context, None, error))
            return
        self._swap(Snapshot(context, svid))
        self._ready.set()

    def _swap(self, fresh: Snapshot) -> None:
        self._snapshot = fresh
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        for callback in list(self._callbacks.values()):
            try:
                callback(fresh)
            except Exception:  # noqa: BLE001 - somebody else's code
                _log.exception("a callback of an X509Source failed")

    def _end(self, error: FinialError) -> None:
        """No more updates: what is held stays, and is good until it expires."""
        self._failure = error
        self._ready.set()
        self._changed.set()

    def _note(self, problem: FinialError) -> None:
        self._last_problem = problem
        tell(self._report, problem)

    def _late(self) -> FinialError:
        seconds = self._patience.total_seconds()
        text = f"no X.509-SVID arrived within {seconds:g} s"
        problem = self._last_problem
        if problem is None:
            return SourceError(_LATE, f"{text}: the Workload API at {self._client.address} sent nothing")
        reason = Reason(_LATE.id, problem.reason.kind, problem.reason.clauses, problem.reason.hint)
        late = SourceError(reason, f"{text}: {problem}", subject=problem.subject)
        late.__cause__ = problem
        return late


def _again(error: FinialError | None) -> FinialError:
    """An error of its own for each who asks: one that is raised over and over would keep every trace."""
    if error is None:
        return SourceError(_NOT_OPEN, "the source is not open")
    fresh = SourceError(error.reason, error.message, subject=error.subject)
    fresh.__cause__ = error
    return fresh


def _unpicked(why: str) -> SourceError:
    return SourceError(_PICK, f"the function that picks an SVID failed: {why}")
