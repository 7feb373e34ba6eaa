"""What operators do in a simulation: units of work on the store, as values that print well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from finial.core.entry import RegistrationEntry
from finial.core.ids import SpiffeID, TrustDomain
from finial.core.selectors import Selector
from finial.server.store import bundles, changelog, entries, nodes, pruning
from finial.server.store.records import EntryRecord
from finial.server.store.transaction import Tx
from finial.wire import bundles as wire
from support import sim_authority
from support.clock import START
from support.sim_truth import ALIASES, DOMAIN

AGENTS: Final = tuple(f"spiffe://{DOMAIN}/spire/agent/sim/a{number}" for number in range(3))
PATHS: Final = tuple(f"spiffe://{DOMAIN}/p{number}" for number in range(4))
PARENTS: Final = (*AGENTS, ALIASES, *PATHS)
"""Whom an entry may stand under: agents, the server (then it is an alias), or other entries."""
SELECTORS: Final = tuple(Selector("sim", value) for value in "xyz")
FOREIGN: Final = ("f0.test", "f1.test")
LONG_HINT: Final = "é" * 600
"""Short enough for the server, and too long for agents: to them the entry is of no use."""


@dataclass(frozen=True)
class Entry:
    """An entry as it is made."""

    id: str
    path: int
    parent: int
    selectors: frozenset[int]
    federates: frozenset[int] = frozenset()
    ends: int | None = None  # seconds from the beginning of the simulation
    hint: str = ""

    def registration(self) -> RegistrationEntry:
        return RegistrationEntry(
            id=self.id,
            spiffe_id=SpiffeID(PATHS[self.path]),
            parent_id=SpiffeID(PARENTS[self.parent]),
            selectors=tuple(SELECTORS[number] for number in self.selectors),
            federates_with=tuple(TrustDomain(FOREIGN[number]) for number in self.federates),
            expires_at=_ends(self.ends),
            hint=self.hint,
        )


FIRST: Final = (
    Entry("e0", 0, 3, frozenset({0})),  # an alias of two agents
    Entry("e1", 1, 4, frozenset({0})),
    Entry("e2", 2, 5, frozenset({0})),
    Entry("e3", 3, 0, frozenset({0})),  # below one of these two
    Entry("e4", 1, 7, frozenset({0})),
    Entry("e5", 0, 2, frozenset({0})),  # below the third agent, and leads to what the alias does
)
"""What is there at the beginning: levels below each other, some of which several agents share."""


def _ends(seconds: int | None) -> datetime | None:
    return None if seconds is None else START + timedelta(seconds=seconds)


class Op:
    """Something that is done in one unit of work."""

    def run(self, tx: Tx) -> object:
        """Do it; raises a FinialError when it cannot be done."""
        raise NotImplementedError


@dataclass(frozen=True)
class Create(Op):
    entries: tuple[Entry, ...]

    def run(self, tx: Tx) -> object:
        made = entries.create(tx, [entry.registration() for entry in self.entries])
        return [each.id if isinstance(each, EntryRecord) else str(each) for each in made]


@dataclass(frozen=True)
class Update(Op):
    """Everything of an entry is put in place of what it was, but its id."""

    entry: Entry

    def run(self, tx: Tx) -> object:
        return entries.revise(tx, self.entry.id, lambda _: self.entry.registration()).revision


@dataclass(frozen=True)
class Delete(Op):
    ids: tuple[str, ...]

    def run(self, tx: Tx) -> object:
        found = [each for each in dict.fromkeys(self.ids) if list(entries.present(tx.sql, [each]))]
        for each in found:
            entries.remove(tx, each)
        return found


@dataclass(frozen=True)
class Many(Op):
    """A batch of entries under one parent, at once."""

    count: int
    parent: int

    def run(self, tx: Tx) -> object:
        every = Entry("m", 0, self.parent, frozenset(range(len(SELECTORS)))).registration()
        wanted = [
            replace(every, id=f"m{number}", spiffe_id=SpiffeID(f"spiffe://{DOMAIN}/m/{number}"))
            for number in range(self.count)
        ]
        made = entries.create(tx, wanted)
        return sum(isinstance(each, EntryRecord) for each in made)


@dataclass(frozen=True)
class Fewer(Op):
    """The batch is gone, at once."""

    def run(self, tx: Tx) -> object:
        ids = [f"m{number}" for number in range(200)]
        found = list(entries.present(tx.sql, ids))
        for each in found:
            entries.remove(tx, each.id)
        return len(found)


@dataclass(frozen=True)
class SetBundle(Op):
    """The bundle of a trust domain: 0 for the own one, whose first authority always stays."""

    domain: int
    authorities: frozenset[int]
    tainted: frozenset[int] = frozenset()

    def run(self, tx: Tx) -> object:
        own = self.domain == 0
        name = DOMAIN.name if own else FOREIGN[self.domain - 1]
        kept = self.authorities | ({0} if own else frozenset())
        old = bundles.find(tx, name)
        made = sim_authority.bundle(name, kept, self.tainted & kept, 1)
        if old is not None:
            # A taint alone changes no number.
            same = set(old.bundle.x509_authorities) == set(made.x509_authorities)
            made = replace(made, sequence=old.bundle.sequence + (not same))
        return bundles.put(tx, made, wire.encode(made)).seq


@dataclass(frozen=True)
class Unfederate(Op):
    """A foreign bundle goes, and with it the references to it, or the entries that refer."""

    domain: int
    delete: bool

    def run(self, tx: Tx) -> object:
        name = FOREIGN[self.domain - 1]
        bundles.get(tx, name)
        referring = entries.federating(tx, name)
        for entry_id in referring:
            if self.delete:
                entries.remove(tx, entry_id)
            else:
                entries.revise(tx, entry_id, _without(TrustDomain(name)))
        bundles.remove(tx, name)
        return referring


def _without(domain: TrustDomain) -> Callable[[RegistrationEntry], RegistrationEntry]:
    def change(entry: RegistrationEntry) -> RegistrationEntry:
        return replace(entry, federates_with=tuple(each for each in entry.federates_with if each != domain))

    return change


@dataclass(frozen=True)
class Ban(Op):
    agent: int

    def run(self, tx: Tx) -> object:
        node = nodes.get(tx, AGENTS[self.agent])
        return nodes.put(
            tx, replace(node, serial="", expires_at=0, pending_serial="", pending_expires_at=0)
        ).seq


@dataclass(frozen=True)
class Evict(Op):
    agent: int

    def run(self, tx: Tx) -> object:
        return nodes.remove(tx, AGENTS[self.agent]).seq


@dataclass(frozen=True)
class Select(Op):
    """What a node has is found to be otherwise."""

    agent: int
    selectors: frozenset[int]

    def run(self, tx: Tx) -> object:
        node = nodes.get(tx, AGENTS[self.agent])
        found = tuple(SELECTORS[number] for number in sorted(self.selectors))
        return nodes.put(tx, replace(node, selectors=found)).seq


@dataclass(frozen=True)
class PruneLog(Op):
    """All rows of the log go, however new."""

    def run(self, tx: Tx) -> object:
        changelog.prune(tx, tx.now + 1)
        return None


@dataclass(frozen=True)
class PruneEnded(Op):
    """What has ended goes."""

    def run(self, tx: Tx) -> object:
        return pruning.prune(tx, DOMAIN.name).entries
