"""The live source of a process's identity: always the newest SVID and bundles, as one snapshot."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from finial.core.bundle import Bundle, BundleSet
from finial.core.errors import FinialError, Kind, Reason, translated
from finial.core.ids import TrustDomain
from finial.core.x509svid import X509SVID
from finial.rpc import Address
from finial.runtime.clock import Clock
from finial.sdk.calls import Revoked, Updated
from finial.sdk.following import FIRST_UPDATE_TIME, Following, SourceError, again
from finial.sdk.problems import Report
from finial.sdk.response_x509 import X509Context
from finial.sdk.workload import WorkloadClient

_log = logging.getLogger("finial.sdk")

_PICK: Final = Reason("source-picker", Kind.INTERNAL, hint="Correct the function that picks an SVID.")

Picker = Callable[[Sequence[X509SVID]], X509SVID]
"""Chooses one of the SVIDs; raises FinialError when none will do. `by_hint("...")` makes one."""


def first(svids: Sequence[X509SVID]) -> X509SVID:
    """The default identity: the first in the agent's list. Clauses: WAPI-67."""
    return svids[0]


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


class X509Source(Following[X509Context, Snapshot]):
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

    _AWAITED = "X.509-SVID"

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
        super().__init__(
            client, address=address, patience=patience, report=report, clock=clock, empty=Snapshot()
        )
        self._pick = pick

    @property
    def svid(self) -> X509SVID:
        """The newest SVID. Clauses: WAPI-35.

        Raises:
            FinialError: There is none: not yet, no longer, or none that the picker wants.
        """
        held = self.snapshot
        if held.svid is None:
            raise again(held.error)
        return held.svid

    @property
    def context(self) -> X509Context:
        """All SVIDs and bundles of the newest message.

        Raises:
            FinialError: There is none, not yet or no longer.
        """
        held = self.snapshot
        if held.context is None:
            raise again(held.error)
        return held.context

    @property
    def bundles(self) -> BundleSet:
        """The newest bundles; raises as `context`. Clauses: WAPI-17, WAPI-39."""
        return self.context.bundles

    def bundle_for(self, trust_domain: TrustDomain) -> Bundle | None:
        """The newest bundle of this trust domain, None without federation; raises as `context`."""
        return self.bundles.bundle_for(trust_domain)

    def _events(self) -> AsyncGenerator[Updated[X509Context] | Revoked, None]:
        """The watch that is followed."""
        return self._client.watch_x509(report=self._note)

    def _judge(self, event: Updated[X509Context] | Revoked) -> tuple[Snapshot, bool]:
        """What an event leaves to be held, and whether there is an SVID in it."""
        if isinstance(event, Revoked):
            if self.snapshot.context is not None:
                _log.warning("the identity of this process was revoked: %s", event.why)
            return Snapshot(error=event.why), False
        context = event.value
        try:
            svid = translated(lambda: self._pick(context.svids), _unpicked)
        except FinialError as error:
            # spec: WAPI-71. Never another one instead.
            _log.warning("none of this process's SVIDs will do: %s", error)
            self._note(error)
            return Snapshot(context, None, error), False
        return Snapshot(context, svid), True


def _unpicked(why: str) -> SourceError:
    return SourceError(_PICK, f"the function that picks an SVID failed: {why}")
