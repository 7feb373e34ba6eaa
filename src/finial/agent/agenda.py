"""What is to be signed, in which order, and what is being signed already. Pure: it is given `now`.

What was taken to be signed is not due before it has been taken in, has failed or was given back; but an entry
that is changed meanwhile is due again.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Protocol

from finial.agent.entry import AuthorizedEntry
from finial.agent.schedule import AT_ONCE, Schedule

_FIRST_RETRY = timedelta(seconds=1)
_LAST_RETRY = timedelta(seconds=60)
# With renewals goes what falls due soon after: they would come one by one else.
_TOGETHER = timedelta(milliseconds=500)

Tainted = frozenset[Hashable]


class Dated(Protocol):
    """An SVID that is held, of whatever kind."""

    @property
    def revision(self) -> int:
        """Of the entry when it was signed."""

    @property
    def authority(self) -> Hashable:
        """What it rests on."""

    @property
    def expires_at(self) -> datetime:
        """When it ends."""

    @property
    def renew_at(self) -> datetime:
        """When to have it signed anew."""


class Urgency(IntEnum):
    """Why an SVID is to be signed; the lower the sooner."""

    AWAITED = 0  # a workload has asked, and there is none
    OUTDATED = 1  # a workload has asked, and what there is should be used no more
    MISSING = 2  # there is none
    RENEWAL = 3  # what there is ends some time, or should be used no more but is not


@dataclass(frozen=True, slots=True)
class _Retry:
    at: datetime
    tries: int


@dataclass(frozen=True, slots=True)
class _Taken:
    entry: AuthorizedEntry
    tainted: Tainted


class Agenda:
    """Which entries are to be signed. It has to be told, by `plan`, whatever changes for one."""

    __slots__ = ("_demanded", "_retries", "_schedule", "_taken")

    def __init__(self) -> None:
        self._schedule = Schedule()
        self._retries: dict[str, _Retry] = {}
        self._demanded: set[str] = set()
        self._taken: dict[str, _Taken] = {}

    def plan(self, entry: AuthorizedEntry, held: Dated | None, tainted: Tainted) -> None:
        """Enter when an entry falls due, from what is known of it now.

        Args:
            entry: As it is now.
            held: The SVID that it has.
            tainted: The authorities whose SVIDs are to be replaced.
        """
        demanded = entry.id in self._demanded
        if entry.stored or (entry.on_demand and not demanded) or entry.id in self._taken:
            self._schedule.drop(entry.id)
            return
        at, end = AT_ONCE, AT_ONCE
        if held is None:
            rank = Urgency.AWAITED if demanded else Urgency.MISSING
        else:
            outdated = held.revision != entry.revision or held.authority in tainted
            rank = Urgency.OUTDATED if outdated and demanded else Urgency.RENEWAL
            at, end = AT_ONCE if outdated else held.renew_at, held.expires_at
        retry = self._retries.get(entry.id)
        if retry is not None:
            at = max(at, retry.at)
        self._schedule.put(entry.id, at, rank=rank, end=end)

    def suspend(self, entry_id: str) -> None:
        """Let an entry not be due until it is planned again."""
        self._schedule.drop(entry_id)

    def begin_anew(self, entry_id: str) -> None:
        """What has failed for an entry, and what is being signed for it, counts no more."""
        self._retries.pop(entry_id, None)
        self._taken.pop(entry_id, None)

    def forget(self, entry_id: str) -> None:
        """An entry has gone."""
        self.begin_anew(entry_id)
        self._demanded.discard(entry_id)
        self._schedule.drop(entry_id)

    def demand(self, entry_ids: Iterable[str]) -> list[str]:
        """Workloads ask for these entries; those that none has asked for before, which are to be planned."""
        fresh = [entry_id for entry_id in entry_ids if entry_id not in self._demanded]
        self._demanded.update(fresh)
        return fresh

    def failing(self, entry_id: str) -> bool:
        """Whether the last try to have an entry's SVID signed came to nothing."""
        return entry_id in self._retries

    def fail(self, entry_id: str, now: datetime, spread: float) -> None:
        """An entry is to be tried again later, each time later still.

        Args:
            entry_id: Which; to be planned.
            now: Aware.
            spread: A random fraction.
        """
        tries = self._retries[entry_id].tries + 1 if entry_id in self._retries else 0
        delay = min(_FIRST_RETRY * (1 << min(tries, 10)), _LAST_RETRY)
        self._retries[entry_id] = _Retry(now + delay * (0.5 + spread / 2), tries)

    def succeed(self, entry_id: str) -> None:
        """What has failed for an entry counts no more; to be planned."""
        self._retries.pop(entry_id, None)

    def due(self, now: datetime) -> bool:
        """Whether there is something to take."""
        return self._schedule.rank(now) is not None

    def next_at(self) -> datetime | None:
        """When the next entry falls due of those that were not when this was last looked at."""
        return self._schedule.next_at()

    def take(self, now: datetime, most: int, *, urgent: bool) -> list[str]:
        """What is to be signed now, the most urgent first; renewals never together with others.

        Args:
            now: Aware.
            most: How many.
            urgent: Whether renewals are left out.
        """
        rank = self._schedule.rank(now)
        if rank is None or (urgent and rank == Urgency.RENEWAL):
            return []
        if rank == Urgency.RENEWAL:
            return self._schedule.take(now + _TOGETHER, most, worst=Urgency.RENEWAL)
        return self._schedule.take(now, most, worst=Urgency.MISSING)

    def begin(self, entry: AuthorizedEntry, tainted: Tainted) -> None:
        """An entry is being signed.

        Args:
            entry: As it was taken.
            tainted: The authorities that the server is asked in spite of.
        """
        self._taken[entry.id] = _Taken(entry, tainted)

    def end(self, entry: AuthorizedEntry) -> Tainted | None:
        """An entry is being signed no more; what was tainted when it was taken, None if it was not."""
        taken = self._taken.get(entry.id)
        if taken is None or taken.entry != entry:
            return None
        return self._taken.pop(entry.id).tainted
