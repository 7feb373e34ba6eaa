"""What must hold in a simulation: of an agent, of an index, of what a server keeps."""

from __future__ import annotations

from collections.abc import Iterator

from finial.core.errors import FinialError
from finial.server.index import reach
from support.sim_agent import SimAgent
from support.sim_server import SimServer
from support.sim_truth import Allowed, Moment


def why_gone(agent: SimAgent, truth: Moment) -> str:
    """What is wrong with the end of an agent; empty when it was banned, and holds nothing any more."""
    node = truth.nodes.get(agent.id)
    if node is None or not node.banned:
        return "it has ended, and is not banned"
    assert agent.cache.wiped or not agent.cache.synced.is_set(), "a banned agent was not wiped"
    assert isinstance(agent.error, FinialError), agent.error
    assert not agent.book.entries, "a banned agent holds entries"
    return ""


def differences(agent: SimAgent, allowed: Allowed) -> str:
    """In what an agent's book is not what it may serve; empty when it is the same."""
    book, entries = agent.book, allowed.entries
    found = []
    for key in sorted(book.entries.keys() | entries.keys()):
        here, there = book.entries.get(key), entries.get(key)
        if here != there:
            found.append(f"{key} is {here}, and should be {there}")
    foreign = {domain.name: bundle for domain, bundle in book.foreign.items()}
    names = sorted(foreign.keys() | allowed.foreign.keys())
    others = [name for name in names if foreign.get(name) != allowed.foreign.get(name)]
    found += [f"the bundle of {name} is another one" for name in others]
    if book.bundle != allowed.own:
        found.append(f"the own bundle is {book.bundle.sequence}")
    return "; ".join(found)


def is_ahead(agent: SimAgent, truth: Moment) -> bool:
    """Whether an agent has seen more than there is: the database was put back, and it does not know."""
    state = agent.pushed.greeting()
    return state is not None and state.epoch == truth.epoch and state.seq > truth.position


def check_index(server: SimServer, moment: Moment) -> None:
    """An index holds the rows of a moment, and nothing else."""
    index = server.index
    assert index.epoch == moment.epoch or server.alone, (index.epoch, moment.epoch)
    entries = {entry_id: index.entries.get(entry_id) for entry_id in index.entries.ids()}
    stored = {key: row.data for key, row in moment.entries.items()}
    assert {key: record.data for key, record in entries.items() if record is not None} == stored
    nodes = {node.id: (node.seq, node.serial) for node in index.nodes.after(0)}
    assert nodes == {key: (row.seq, row.serial) for key, row in moment.nodes.items()}
    bundles = {record.bundle.trust_domain.name: record.data for record in index.bundles.after(0)}
    assert bundles == dict(moment.bundles)


def bounds(server: SimServer) -> Iterator[str]:
    """What a server keeps for its streams is bounded."""
    audience = server.index.entries.audience
    for place, _ in audience._by_root.values():
        kept = len(place.journal._ids)
        if kept > reach.MOST_DIRTY + reach._SPARE:
            yield f"a journal of {kept} ids"
    for interests in audience._by_agent.values():
        for interest in interests:
            if interest._weight > reach.MOST_DIRTY:
                yield f"{interest._weight} dirty ids of {interest.agent_id}"
    for streams in server.hub._streams.values():
        for stream in streams:
            pending = len(stream._teller._pending)  # type: ignore[attr-defined]
            if pending > reach.MOST_DIRTY:
                yield f"{pending} ids to be told to one agent"


class Noting:
    """Keeps what is wrong for the test; whoever is looked at goes on."""

    def __init__(self, faults: list[str], where: str) -> None:
        self._faults = faults
        self._where = where

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> bool:
        if isinstance(error, AssertionError):
            self._faults.append(f"{self._where}: {error}")
            return True
        return False
