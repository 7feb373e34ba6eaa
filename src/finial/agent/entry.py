"""An entry of the registry, as an agent is told of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from finial.core.ids import SpiffeID, TrustDomain
from finial.core.selectors import Selector


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizedEntry:
    """An entry as agents are told of it: without parent, lifetimes and DNS names.

    Args:
        id: Of the entry.
        spiffe_id: Whom it registers.
        selectors: All of them a workload must have; not empty.
        federates_with: Foreign trust domains whose bundles go to the workload.
        hint: What the operator calls the SVID.
        created_at: When it was made, in seconds since 1970; 0 where the server does not say.
        revision: Rises with each update.
        on_demand: Whether its SVID is made only when a workload asks.
        stored: Whether its SVID goes to a store and not to workloads.
        unique_tokens: Whether each JWT-SVID has an id of its own, so that none is served twice.
    """

    id: str
    spiffe_id: SpiffeID
    selectors: frozenset[Selector]
    federates_with: tuple[TrustDomain, ...] = ()
    hint: str = ""
    created_at: int = 0
    revision: int = 0
    on_demand: bool = False
    stored: bool = False
    unique_tokens: bool = False

    def same_subject(self, other: AuthorizedEntry) -> bool:
        """Whether an SVID of the one may stand for the other for a while."""
        remade = self.created_at and other.created_at and self.created_at != other.created_at
        return not remade and self.spiffe_id == other.spiffe_id


def in_order(entries: Iterable[AuthorizedEntry]) -> tuple[AuthorizedEntry, ...]:
    """Entries as a workload is shown them: the oldest first, and of several with one hint the first.

    Clauses: WAPI-31, WAPI-68.
    """
    hints: set[str] = set()
    kept = []
    for entry in sorted(entries, key=lambda entry: (entry.created_at, entry.id)):
        if entry.hint not in hints:
            kept.append(entry)
            hints.update([entry.hint] if entry.hint else [])
    return tuple(kept)
