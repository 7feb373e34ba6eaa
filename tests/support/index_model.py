"""The index's definition, written as plainly as can be, and an agent that believes what it is told."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Protocol

from finial.core.bundle import Bundle
from finial.core.entry import RegistrationEntry
from finial.core.ids import SpiffeID, TrustDomain, server_id
from finial.core.selectors import Selector
from finial.core.setdigest import SetDigest, mark_of
from finial.server.index.index import Index
from finial.server.index.subscriptions import Cursor
from finial.server.store.records import BundleRecord, Change, ChangeKind, EntryRecord, NodeRecord
from finial.server.store.snapshot import Snapshot
from finial.wire import entryframes

DOMAIN = TrustDomain("example.org")
SERVER = server_id(DOMAIN).text


def uri(name: str) -> str:
    """The ID of the trust domain with this path."""
    return f"spiffe://example.org/{name}"


def entry_record(seq: int, revision: int, entry: RegistrationEntry) -> EntryRecord:
    """An entry as the store hands it out."""
    kept = entryframes.keep(entry)
    return EntryRecord(
        seq=seq,
        id=entry.id,
        spiffe_id=entry.spiffe_id.text,
        parent_id=entry.parent_id.text,
        data=kept.data,
        masked=kept.masked,
        revision=revision,
        created_at=0,
        expires_at=0 if entry.expires_at is None else int(entry.expires_at.timestamp()),
        admin=entry.admin,
        downstream=entry.downstream,
        federates=tuple(domain.name for domain in entry.federates_with),
    )


@dataclass(frozen=True)
class Wanted:
    """An entry as a test draws it."""

    name: str
    parent: str = "n0"
    spiffe: str = "n1"
    selectors: frozenset[str] = frozenset({"t:a"})
    federates: frozenset[str] = frozenset()
    expires_at: int = 0

    def record(self, seq: int, revision: int) -> EntryRecord:
        ends = datetime.fromtimestamp(self.expires_at, UTC) if self.expires_at else None
        entry = RegistrationEntry(
            id=self.name,
            spiffe_id=SpiffeID(uri(self.spiffe)),
            parent_id=SpiffeID(uri(self.parent)),
            selectors=tuple(map(Selector.parse, self.selectors)),
            federates_with=tuple(map(TrustDomain, self.federates)),
            expires_at=ends,
            revision=revision,
        )
        return entry_record(seq, revision, entry)


@dataclass
class Model:
    """What the store has, and every answer computed anew from all of it."""

    entries: dict[str, EntryRecord] = field(default_factory=dict)
    wanted: dict[str, Wanted] = field(default_factory=dict)
    nodes: dict[str, NodeRecord] = field(default_factory=dict)
    bundles: dict[str, BundleRecord] = field(default_factory=dict)
    looked: float = 0  # when the index last took note of the time
    position: int = 0
    epoch: str = "one"
    seq: int = 0

    def put_entry(self, wanted: Wanted, *, again: bool = False) -> Change:
        """Create an entry or change it; `again` for one that was deleted and created in between."""
        old = self.entries.get(wanted.name)
        if old is None or again:
            self.seq += 1
            record = wanted.record(self.seq, 0)
        else:
            record = wanted.record(old.seq, old.revision + 1)
        self.entries[wanted.name] = record
        self.wanted[wanted.name] = wanted
        return Change(ChangeKind.ENTRY, wanted.name, record)

    def put_node(self, agent: str, selectors: Iterable[str], *, banned: bool = False) -> Change:
        """Have a node attested, or banned."""
        old = self.nodes.get(agent)
        self.seq += 1
        record = NodeRecord(
            seq=self.seq if old is None else old.seq,
            id=agent,
            attestation_type="test",
            serial="" if banned else str(self.seq),
            expires_at=0,
            selectors=tuple(map(Selector.parse, sorted(selectors))),
        )
        self.nodes[agent] = record
        return Change(ChangeKind.NODE, agent, record)

    def snapshot(self) -> Snapshot:
        return Snapshot(
            tuple(sorted(self.entries.values(), key=lambda each: each.seq)),
            tuple(self.nodes.values()),
            tuple(self.bundles.values()),
            self.position,
            self.epoch,
        )

    # Answers.

    def authorized(self, agent: str) -> dict[str, EntryRecord]:
        node = self.nodes.get(agent)
        if node is None or node.banned:
            return {}
        alive = {
            name: record for name, record in self.entries.items() if not 0 < record.expires_at <= self.looked
        }
        levels = {agent}
        levels |= {
            record.spiffe_id
            for name, record in alive.items()
            if record.parent_id == SERVER
            and self.wanted[name].selectors <= {str(selector) for selector in node.selectors}
        }
        found: dict[str, EntryRecord] = {}
        while True:
            more = {name for name, record in alive.items() if record.parent_id in levels} - found.keys()
            if not more:
                return found
            found |= {name: alive[name] for name in more}
            levels |= {alive[name].spiffe_id for name in more}

    def digest(self, agent: str) -> SetDigest:
        digest = SetDigest()
        for record in self.authorized(agent).values():
            digest = digest.plus(mark_of(record.data))
        return digest

    def bundles_of(self, agent: str) -> tuple[BundleRecord, ...]:
        named = {domain for record in self.authorized(agent).values() for domain in record.federates}
        found = (self.bundles.get(domain) for domain in (DOMAIN.name, *sorted(named)))
        return tuple(record for record in found if record is not None)

    def agents_of(self, name: str) -> set[str]:
        return {agent for agent in self.nodes if name in self.authorized(agent)}


class Step(Protocol):
    """Something that happens to what the store has."""

    def told_to(self, model: Model) -> list[Change]:
        """Have it happen; what the store says of it."""


@dataclass(frozen=True)
class PutEntry:
    wanted: Wanted
    again: bool = False

    def told_to(self, model: Model) -> list[Change]:
        return [model.put_entry(self.wanted, again=self.again)]


FIELDS = ("parent", "spiffe", "selectors", "federates", "expires_at", "name")


@dataclass(frozen=True)
class ReviseEntry:
    """One field of an entry changes; none if that is its name."""

    name: str
    wanted: Wanted
    field: str

    def told_to(self, model: Model) -> list[Change]:
        if self.name not in model.entries:
            return []
        wanted = replace(self.wanted, name=self.name)
        kept = {name: getattr(model.wanted[self.name], name) for name in FIELDS if name != self.field}
        return [model.put_entry(replace(wanted, **kept))]


@dataclass(frozen=True)
class RemoveEntry:
    name: str

    def told_to(self, model: Model) -> list[Change]:
        model.entries.pop(self.name, None)
        return [Change(ChangeKind.ENTRY, self.name, None)]


@dataclass(frozen=True)
class PutNode:
    agent: str
    selectors: frozenset[str]
    banned: bool = False

    def told_to(self, model: Model) -> list[Change]:
        return [model.put_node(self.agent, self.selectors, banned=self.banned)]


@dataclass(frozen=True)
class RemoveNode:
    agent: str

    def told_to(self, model: Model) -> list[Change]:
        model.nodes.pop(self.agent, None)
        return [Change(ChangeKind.NODE, self.agent, None)]


@dataclass(frozen=True)
class PutBundle:
    domain: str

    def told_to(self, model: Model) -> list[Change]:
        old = model.bundles.get(self.domain)
        model.seq += 1
        model.bundles[self.domain] = BundleRecord(
            seq=model.seq if old is None else old.seq,
            bundle=Bundle(trust_domain=TrustDomain(self.domain), sequence=model.seq),
            data=str(model.seq).encode(),
        )
        return [Change(ChangeKind.BUNDLE, self.domain, model.bundles[self.domain])]


@dataclass(frozen=True)
class RemoveBundle:
    domain: str

    def told_to(self, model: Model) -> list[Change]:
        model.bundles.pop(self.domain, None)
        return [Change(ChangeKind.BUNDLE, self.domain, None)]


class Pupil:
    """An agent that holds what it has been told, and looks again only when it is woken."""

    def __init__(self, index: Index, agent: str) -> None:
        self.index = index
        self.agent = agent
        self.woken = True
        self.subscription = index.watch(agent, self._wake)
        self.held: dict[str, EntryRecord] = {}
        self.bundles: tuple[BundleRecord, ...] = ()
        self.node: NodeRecord | None = None
        self.epoch = ""
        self.walking = True
        self._cursor: Cursor | None = None
        self._paged: dict[str, EntryRecord] = {}

    def _wake(self) -> None:
        self.woken = True

    def page(self, limit: int) -> None:
        """Go on with the walk, if it walks; at its end have all that is there."""
        if not self.walking:
            return
        records, self._cursor = self.subscription.page(self._cursor, limit)
        assert len(records) <= limit
        for record in records:
            assert self.subscription.get(record.id) is record
            # Whoever is found twice has changed in between, so that it is dirty.
            self._paged[record.id] = record
        if self._cursor is None:
            self.walking = False
            self.held, self._paged = self._paged, {}
            self.look()

    def look(self) -> None:
        """Take in what is dirty; begin to walk if that is too much."""
        if self.walking:
            return
        self.woken = False
        dirty = self.subscription.drain()
        assert len(dirty.entries) == len(set(dirty.entries))
        self.bundles = self.subscription.bundles()
        self.node = self.index.nodes.get(self.agent)
        self.epoch = self.index.epoch
        if dirty.overflow:
            self.walking = self.woken = True
            return
        for name in dirty.entries:
            record = self.subscription.get(name)
            if record is None:
                self.held.pop(name, None)
            else:
                self.held[name] = record

    def finish(self) -> None:
        """Look, and walk to the end as often as it takes."""
        self.look()
        while self.walking:
            self.page(2)
