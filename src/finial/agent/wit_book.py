"""WIT-SVIDs with their keys: for which entries there are some, which are to be signed. Pure, given `now`.

None is made before a workload asks for it. Each has a key of its own, made for it alone (WIT-59), and all
processes that an entry is for share both (WIT-17, WIT-35). Rules:
- A token is shown until its own end, as long as the key that signed it is in the own bundle, and its entry is
  still of the same subject. If that key is tainted, or the entry says something else, another one is signed
  at once.
- At half of its life it is renewed if somebody has looked at it since it came; else when somebody does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from finial.agent.agenda import Agenda
from finial.agent.book import Book
from finial.agent.entry import AuthorizedEntry
from finial.agent.schedule import Calendar
from finial.core.rotation import Lifetime
from finial.core.token_authority import TokenAuthority
from finial.core.witsvid import WITSVID


@dataclass(frozen=True, slots=True, eq=False)
class ProvenWIT:
    """A token that has just come, and was proven.

    Args:
        svid: The token.
        fragment: The FetchWITSVID response with it and its key alone.
        authority: The key of the own bundle that proves it.
    """

    svid: WITSVID
    fragment: bytes = field(repr=False)
    authority: TokenAuthority


@dataclass(frozen=True, slots=True, eq=False)
class HeldWIT:
    """A token that verifies.

    Args:
        proven: The token with its key.
        entry: What it was signed for, as it was then.
        renew_at: When to have another one.
    """

    proven: ProvenWIT
    entry: AuthorizedEntry
    renew_at: datetime

    @property
    def authority(self) -> str:
        """The id of the key that signed it."""
        return self.proven.svid.key_id

    @property
    def revision(self) -> int:
        """Of the entry when it was signed."""
        return self.entry.revision

    @property
    def expires_at(self) -> datetime:
        """When it ends."""
        return self.proven.svid.expires_at


class WITBook:
    """At most one WIT-SVID for each entry.

    Args:
        book: Has the entries and the own bundle.
    """

    def __init__(self, book: Book) -> None:
        self._book = book
        self._held: dict[str, HeldWIT] = {}
        self._ends = self._calendar()
        self._agenda = Agenda()
        self._looked_at: set[str] = set()  # since what is held came

    def __len__(self) -> int:
        return len(self._held)

    def demand(self, entries: Iterable[AuthorizedEntry], now: datetime) -> bool:
        """A workload looks at these; whether something is to be signed because of it.

        Args:
            entries: As they are now.
            now: Aware.
        """
        for entry in entries:
            self._agenda.demand([entry.id])
            self._looked_at.add(entry.id)
            self._plan(entry.id, now)
        return self._agenda.due(now)

    def shown(self, entry: AuthorizedEntry, now: datetime) -> HeldWIT | None:
        """The token that a workload gets for an entry, if there is one that is good."""
        held = self._held.get(entry.id)
        if held is None or held.expires_at <= now or not held.entry.same_subject(entry):
            return None
        return held if self._trusted(held) else None

    def failing(self, entry_id: str) -> bool:
        """Whether the last try to have an entry's token signed came to nothing."""
        return self._agenda.failing(entry_id)

    def take(self, now: datetime, most: int) -> tuple[AuthorizedEntry, ...]:
        """What is to be signed now. None of it is due before it was accepted, has failed or was given back.

        Args:
            now: Aware.
            most: How much.
        """
        taken = []
        for entry_id in self._agenda.take(now, most, urgent=False):
            entry = self._book.entries.get(entry_id)
            held = self._held.get(entry_id)
            if entry is None or (held is not None and self._idle(held, entry)):
                continue  # it has gone, or is renewed when somebody looks at it next
            taken.append(entry)
            self._agenda.begin(entry, self._tainted)
        return tuple(taken)

    def next_at(self) -> datetime | None:
        """When the next token is to be renewed."""
        return self._agenda.next_at()

    def accept(self, entry: AuthorizedEntry, proven: ProvenWIT, *, now: datetime, spread: float) -> bool:
        """Hold a token; whether it is shown to anybody.

        Args:
            entry: What it was signed for, as it was then.
            proven: The token.
            now: Aware; before its end.
            spread: A random fraction, for the time of its renewal.
        """
        self._agenda.end(entry)
        current = self._book.entries.get(entry.id)
        if current is None or not current.same_subject(entry):
            return False  # it was deleted or made anew meanwhile
        renew_at = Lifetime(now, proven.svid.expires_at).renew_at(spread)
        self._drop(entry.id)
        self._held[entry.id] = held = HeldWIT(proven, entry, renew_at)
        self._ends.put(entry.id, held.expires_at)
        self._looked_at.discard(entry.id)
        if held.authority in self._tainted:
            self._agenda.fail(entry.id, now, spread)  # the server has no better key yet
        else:
            self._agenda.succeed(entry.id)
        self._plan(entry.id, now)
        return True

    def failed(self, entry: AuthorizedEntry, now: datetime, spread: float) -> None:
        """An entry's token was refused: it is asked for again later, each time later still."""
        self._agenda.end(entry)
        if entry.id in self._book.entries:
            self._agenda.fail(entry.id, now, spread)
            self._plan(entry.id, now)

    def give_back(self, entries: Iterable[AuthorizedEntry], now: datetime) -> None:
        """Nothing has come of having these signed, for no fault of theirs."""
        for entry in entries:
            self._agenda.end(entry)
            self._plan(entry.id, now)

    def changed(self, entry_id: str) -> None:
        """An entry says something else now, or has gone."""
        held, entry = self._held.get(entry_id), self._book.entries.get(entry_id)
        self._agenda.begin_anew(entry_id)
        if entry is None:
            self._agenda.forget(entry_id)
            self._looked_at.discard(entry_id)
        if held is not None and (entry is None or not entry.same_subject(held.entry)):
            self._drop(entry_id)

    def expire(self, now: datetime, most: int) -> list[str]:
        """Drop tokens that have ended, and their keys; the ids of their entries.

        Args:
            now: Aware.
            most: How many; more may be left.
        """
        ended = self._ends.take(now, most)
        for entry_id in ended:
            del self._held[entry_id]
        return ended

    def next_end(self) -> datetime | None:
        """When the next token ends."""
        return self._ends.first()

    def wipe(self) -> None:
        """Drop everything."""
        self._held.clear()
        self._ends = self._calendar()
        self._looked_at.clear()
        self._agenda = Agenda()

    # Inside.

    def _calendar(self) -> Calendar:
        return Calendar(lambda entry_id: self._held[entry_id].expires_at)

    def _drop(self, entry_id: str) -> None:
        held = self._held.get(entry_id)
        if held is not None:
            self._ends.drop(entry_id, held.expires_at)
            del self._held[entry_id]

    @property
    def _tainted(self) -> frozenset[str]:
        return frozenset(each.key_id for each in self._book.bundle.wit_authorities if each.tainted)

    def _trusted(self, held: HeldWIT) -> bool:
        authority = self._book.bundle.wit_authority(held.authority)
        return authority is not None and authority.key == held.proven.authority.key

    def _idle(self, held: HeldWIT, entry: AuthorizedEntry) -> bool:
        return entry.id not in self._looked_at and held.revision == entry.revision

    def _plan(self, entry_id: str, now: datetime) -> None:
        entry = self._book.entries.get(entry_id)
        if entry is not None:
            self._agenda.plan(entry, self.shown(entry, now), self._tainted)
