"""The SVIDs that are held: by entry, by the authority that they rest on, and by when they end. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime

from finial.agent.schedule import Calendar
from finial.core.x509cert import Certificate
from finial.core.x509svid import X509SVID


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """An SVID that verifies.

    Args:
        svid: With its key.
        revision: Of the entry when it was signed.
        authority: Of the own bundle, that the proof rests on.
        expires_at: When the proof ends.
        renew_at: When to have it signed anew.
    """

    svid: X509SVID
    revision: int
    authority: Certificate
    expires_at: datetime
    renew_at: datetime


class Holdings:
    """At most one SVID for each entry."""

    __slots__ = ("_ends", "_held", "_on", "_resting", "version")

    def __init__(self) -> None:
        self._held: dict[str, Held] = {}
        self._on: dict[Certificate, set[str]] = {}  # none is empty
        self._ends = Calendar(lambda entry_id: self._held[entry_id].expires_at)
        self._resting: dict[str, int] = {}
        self.version = 0
        """Rises when `resting` changes."""

    def get(self, entry_id: str) -> Held | None:
        """The SVID of an entry."""
        return self._held.get(entry_id)

    def put(self, entry_id: str, held: Held) -> None:
        """Hold an SVID in place of the one before."""
        old = self._held.get(entry_id)
        if old is not None:
            self._ends.drop(entry_id, old.expires_at)
        if old is None or old.authority != held.authority:
            if old is not None:
                self._forget(entry_id)
            self._on.setdefault(held.authority, set()).add(entry_id)
            self._count(held.authority, 1)
        self._held[entry_id] = held
        self._ends.put(entry_id, held.expires_at)

    def drop(self, entry_id: str) -> None:
        """Let the SVID of an entry go, if there is one."""
        held = self._held.get(entry_id)
        if held is not None:
            self._ends.drop(entry_id, held.expires_at)
            self._forget(entry_id)

    def ended(self, now: datetime, most: int) -> list[str]:
        """Let SVIDs go that have ended; whose they were.

        Args:
            now: Aware.
            most: How many; more may be left.
        """
        ended = self._ends.take(now, most)
        for entry_id in ended:
            self._forget(entry_id)
        return ended

    def clear(self) -> None:
        """Let every SVID go."""
        self._held.clear()
        self._on.clear()
        self._ends = Calendar(lambda entry_id: self._held[entry_id].expires_at)
        self._resting.clear()
        self.version += 1

    def first_end(self) -> datetime | None:
        """When the first SVID ends."""
        return self._ends.first()

    def last_end(self) -> datetime | None:
        """When the last SVID ends."""
        return self._ends.last()

    @property
    def authorities(self) -> Iterable[Certificate]:
        """All that anything rests on."""
        return self._on.keys()

    def resting_on(self, authority: Certificate) -> AbstractSet[str]:
        """The entries whose SVIDs rest on an authority."""
        return self._on.get(authority, frozenset())

    @property
    def resting(self) -> Mapping[str, int]:
        """How many SVIDs rest on each authority, by its subject key id in hexadecimal."""
        return self._resting

    def _forget(self, entry_id: str) -> None:
        authority = self._held.pop(entry_id).authority
        entries = self._on[authority]
        entries.discard(entry_id)
        if not entries:
            del self._on[authority]
        self._count(authority, -1)

    def _count(self, authority: Certificate, more: int) -> None:
        if authority.subject_key_id is None:
            return  # no server can ask for it
        name = authority.subject_key_id.hex()
        self._resting[name] = count = self._resting.get(name, 0) + more
        if not count:
            del self._resting[name]
        self.version += 1
