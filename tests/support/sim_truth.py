"""What is so, found out naively from the rows of the database, at each moment that its log has known."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache

from finial.agent.book import AuthorizedEntry
from finial.agent.translate import read_authorized
from finial.core.bundle import Bundle
from finial.core.errors import RefusedError
from finial.core.ids import TrustDomain, server_id
from finial.core.setdigest import SetDigest, mark_of
from finial.wire import bundles as wire
from finial.wire.gen import spire_api_types as types

DOMAIN = TrustDomain("example.org")
ALIASES = server_id(DOMAIN).text

Walls = Iterable[tuple[float, float]]


@cache
def mark(data: bytes) -> int:
    """The mark of what is stored."""
    return mark_of(data)


@dataclass(frozen=True)
class Row:
    """An entry as it is stored."""

    id: str
    spiffe_id: str
    parent_id: str
    expires_at: int
    data: bytes
    masked: int
    federates: frozenset[str]

    @property
    def selectors(self) -> frozenset[tuple[str, str]]:
        return _selectors(self.data)

    def authorized(self) -> AuthorizedEntry | None:
        """What an agent makes of it; None when that is nothing."""
        return _authorized(self.data[: self.masked])

    def ended(self, now: float) -> bool:
        return self.expires_at != 0 and now >= self.expires_at


@cache
def _selectors(data: bytes) -> frozenset[tuple[str, str]]:
    return frozenset((each.type, each.value) for each in types.Entry.FromString(data).selectors)


@cache
def _authorized(data: bytes) -> AuthorizedEntry | None:
    try:
        return read_authorized(types.Entry.FromString(data))
    except RefusedError:
        return None


@cache
def _bundle(data: bytes) -> Bundle:
    return wire.decode(data)


@dataclass(frozen=True)
class NodeRow:
    """A node as it is stored."""

    seq: int
    serial: str
    selectors: frozenset[tuple[str, str]]

    @property
    def banned(self) -> bool:
        return not self.serial


@dataclass(frozen=True)
class Allowed:
    """What an agent may serve at one moment."""

    rows: Mapping[str, Row]
    stored_bundles: Mapping[str, bytes]

    @property
    def entries(self) -> dict[str, AuthorizedEntry]:
        """Those that are of use to an agent."""
        found = {key: row.authorized() for key, row in self.rows.items()}
        return {key: entry for key, entry in found.items() if entry is not None}

    @property
    def foreign(self) -> dict[str, Bundle]:
        return {key: _bundle(data) for key, data in self.stored_bundles.items() if key != DOMAIN.name}

    @property
    def own(self) -> Bundle | None:
        data = self.stored_bundles.get(DOMAIN.name)
        return None if data is None else _bundle(data)

    @property
    def digest(self) -> SetDigest:
        return _sum(row.data for row in self.rows.values())

    @property
    def bundle_digest(self) -> SetDigest:
        return _sum(self.stored_bundles.values())


def _sum(stored: Iterable[bytes]) -> SetDigest:
    found = SetDigest()
    for data in stored:
        found = found.plus(mark(data))
    return found


@dataclass(frozen=True)
class Moment:
    """Everything, as one transaction left it.

    Args:
        position: The last number that its log has given.
        epoch: Of the database.
        server: Who wrote it.
        entries: By id.
        nodes: By agent ID.
        bundles: By trust domain, as they are stored.
    """

    position: int
    epoch: str
    entries: Mapping[str, Row]
    nodes: Mapping[str, NodeRow]
    bundles: Mapping[str, bytes]
    _known: dict[tuple[str, frozenset[str]], Allowed] = field(default_factory=dict, compare=False)

    def admitted(self, agent_id: str) -> bool:
        node = self.nodes.get(agent_id)
        return node is not None and not node.banned

    def allowed(self, agent_id: str, now: float) -> Allowed:
        """What an agent may serve at an instant (Unix seconds)."""
        ended = frozenset(key for key, row in self.entries.items() if row.ended(now))
        found = self._known.get((agent_id, ended))
        if found is None:
            found = self._known[agent_id, ended] = self._find(agent_id, ended)
        return found

    def any_allowed(self, agent_id: str, walls: Walls) -> list[Allowed]:
        """What an agent may serve at some instant within these spans."""
        instants = set()
        for begin, end in walls:
            instants.add(begin)
            instants.update(row.expires_at for row in self.entries.values() if begin < row.expires_at <= end)
        found = {id(each): each for each in (self.allowed(agent_id, instant) for instant in instants)}
        return list(found.values())

    def _find(self, agent_id: str, ended: frozenset[str]) -> Allowed:
        node = self.nodes.get(agent_id)
        if node is None or node.banned:
            return Allowed({}, {})
        rows = [row for row in self.entries.values() if row.id not in ended]
        parents = {agent_id}
        parents |= {
            row.spiffe_id for row in rows if row.parent_id == ALIASES and row.selectors <= node.selectors
        }
        found: dict[str, Row] = {}
        more = True
        while more:
            fresh = [row for row in rows if row.parent_id in parents and row.id not in found]
            found.update((row.id, row) for row in fresh)
            parents |= {row.spiffe_id for row in fresh}
            more = bool(fresh)
        named = {DOMAIN.name}.union(*(row.federates for row in found.values()))
        return Allowed(found, {key: data for key, data in self.bundles.items() if key in named})


class History:
    """All moments. A database that is put back begins another timeline, in which numbers are given anew."""

    def __init__(self) -> None:
        self.timeline = 0
        self.moments: list[dict[int, Moment]] = [{}]
        self.epochs: list[list[str]] = [[]]
        self.latest: Moment | None = None

    def begin_timeline(self) -> None:
        """The file is another one from here on."""
        self.timeline += 1
        self.moments.append({})
        self.epochs.append([])
        self.latest = None

    def note(self, connection: sqlite3.Connection) -> None:
        """Write down what a transaction is about to leave."""
        position, epoch = _where(connection)
        latest = self.latest
        if latest is not None and (latest.position, latest.epoch) == (position, epoch):
            return
        moment = read(connection)
        self.moments[self.timeline][position] = self.latest = moment
        if epoch not in self.epochs[self.timeline]:
            self.epochs[self.timeline].append(epoch)

    def at(self, timeline: int, position: int) -> Moment:
        """What was so when the log had come so far; there is no such moment in the midst of a transaction."""
        found = self.moments[timeline].get(position)
        assert found is not None, f"no transaction ended at {position} of the log"
        return found


def _where(connection: sqlite3.Connection) -> tuple[int, str]:
    last = connection.execute("SELECT coalesce(max(seq), 0) FROM changes").fetchone()[0]
    meta = dict(connection.execute("SELECT name, value FROM meta"))
    return max(last, int(meta.get("pruned", "0"))), meta["epoch"]


def read(connection: sqlite3.Connection) -> Moment:
    """What the rows say."""
    federates: dict[int, set[str]] = {}
    for seq, name in connection.execute("SELECT entry, trust_domain FROM entry_federations"):
        federates.setdefault(seq, set()).add(name)
    columns = "seq, id, spiffe_id, parent_id, expires_at, data, masked"
    entries = {
        key: Row(key, *fields, federates=frozenset(federates.get(seq, ())))  # type: ignore[misc]
        for seq, key, *fields in connection.execute(f"SELECT {columns} FROM entries")
    }
    nodes = {
        row[0]: NodeRow(row[1], row[2], _pairs(row[3]))
        for row in connection.execute("SELECT id, seq, serial, selectors FROM nodes")
    }
    bundles = dict(connection.execute("SELECT trust_domain, data FROM bundles"))
    position, epoch = _where(connection)
    return Moment(position, epoch, entries, nodes, bundles)


@cache
def _pairs(text: str) -> frozenset[tuple[str, str]]:
    import json  # noqa: PLC0415

    return frozenset((kind, value) for kind, value in json.loads(text))
