"""Which entries an agent may serve: the tree, aliases, ends, and that it follows each change."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from finial.core.entry import RegistrationEntry
from finial.core.ids import SpiffeID
from finial.core.selectors import Selector
from finial.server.index.entries import EntryIndex
from finial.server.store import entries
from finial.server.store.records import EntryRecord
from finial.wire import entryframes
from support.clock import START
from support.server_store import DOMAIN, an_entry, opened

NOW = START.timestamp()
AGENT = "spiffe://example.org/spire/agent/test/one"
SERVER = SpiffeID("spiffe://example.org/spire/server")


def _record(entry: RegistrationEntry, seq: int) -> EntryRecord:
    kept = entryframes.keep(entry)
    return EntryRecord(
        seq=seq,
        id=entry.id,
        spiffe_id=entry.spiffe_id.text,
        parent_id=entry.parent_id.text,
        data=kept.data,
        masked=kept.masked,
        revision=0,
        created_at=0,
        expires_at=0 if entry.expires_at is None else int(entry.expires_at.timestamp()),
        admin=entry.admin,
        downstream=entry.downstream,
    )


def _index(*wanted: RegistrationEntry) -> EntryIndex:
    index = EntryIndex(DOMAIN)
    for seq, entry in enumerate(wanted, 1):
        index.put(_record(entry, seq))
    return index


def _alias(name: str, *selectors: str, expires_at: datetime | None = None) -> RegistrationEntry:
    return an_entry(name, parent_id=SERVER, selectors=selectors, expires_at=expires_at)


def _may(index: EntryIndex, *selectors: str, now: float = NOW) -> set[str]:
    index.expire(now)
    found = [record.id for record in index.authorized(AGENT, frozenset(map(Selector.parse, selectors)))]
    assert len(found) == len(set(found))
    return set(found)


def test_an_agent_gets_what_stands_below_it_however_deep() -> None:
    index = _index(
        an_entry("machine", parent_id=SpiffeID(AGENT)),
        an_entry("cluster", parent="machine"),
        an_entry("web", parent="cluster"),
        an_entry("other", parent="elsewhere"),
    )
    assert _may(index) == {"machine", "cluster", "web"}


def test_an_alias_counts_when_the_node_has_all_its_selectors() -> None:
    index = _index(
        _alias("rack", "test:rack:1", "test:zone:a"),
        an_entry("web", parent="rack"),
        _alias("zone", "test:zone:a"),
        an_entry("api", parent="zone"),
    )
    assert _may(index) == set()
    assert _may(index, "test:rack:1") == set()
    assert _may(index, "test:zone:a") == {"api"}
    assert _may(index, "test:zone:a", "test:rack:1", "test:more:x") == {"web", "api"}


def test_a_cycle_ends() -> None:
    index = _index(
        an_entry("a", parent_id=SpiffeID(AGENT)),
        an_entry("b", parent="a"),
        an_entry("a-again", parent="b", spiffe_id=SpiffeID("spiffe://example.org/a")),
    )
    assert _may(index) == {"a", "b", "a-again"}


def test_what_has_ended_serves_nobody_and_neither_does_what_hangs_below_it() -> None:
    soon = START + timedelta(seconds=10)
    index = _index(
        _alias("rack", "test:rack:1", expires_at=soon),
        an_entry("web", parent="rack"),
        an_entry("mid", parent_id=SpiffeID(AGENT), expires_at=soon),
        an_entry("low", parent="mid"),
    )
    assert _may(index, "test:rack:1") == {"web", "mid", "low"}
    assert _may(index, "test:rack:1", now=NOW + 10) == set()


def test_privileges_follow_entries_and_their_ends() -> None:
    admin = an_entry("ops", admin=True, expires_at=START + timedelta(seconds=10))
    index = _index(admin, an_entry("nested", downstream=True))
    assert index.is_admin("spiffe://example.org/ops", NOW)
    assert not index.is_admin("spiffe://example.org/ops", NOW + 10)
    assert not index.is_downstream("spiffe://example.org/ops", NOW)
    assert index.is_downstream("spiffe://example.org/nested", NOW)
    index.put(_record(an_entry("nested"), 2))
    index.remove("ops")
    assert not index.is_downstream("spiffe://example.org/nested", NOW)
    assert not index.is_admin("spiffe://example.org/ops", NOW)


def test_the_index_follows_the_store(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "db") as world:
            await world.create(_alias("rack", "test:rack:1"), an_entry("web", parent="rack"))
            index = world.index.entries
            assert _may(index, "test:rack:1") == {"web"}
            moved = _alias("rack", "test:rack:2")
            await world.store.write(lambda tx: entries.revise(tx, "rack", lambda _: moved))
            assert _may(index, "test:rack:1") == set()
            assert _may(index, "test:rack:2") == {"web"}
            await world.store.write(lambda tx: entries.remove(tx, "rack"))
            assert _may(index, "test:rack:2") == set()
            assert list(world.index.authorized(AGENT, NOW)) == []

    asyncio.run(main())


_NAMES = [f"n{number}" for number in range(6)]
_SELECTORS = [f"test:s{number}" for number in range(4)]
_entries = st.builds(
    lambda name, parent, selectors: (name, parent, tuple(selectors)),
    st.sampled_from(_NAMES),
    st.sampled_from([*_NAMES, "AGENT", "SERVER"]),
    st.sets(st.sampled_from(_SELECTORS), min_size=1),
)
_steps = st.lists(st.one_of(_entries, st.sampled_from(_NAMES)), max_size=40)


def _naive(alive: dict[str, RegistrationEntry], selectors: set[str]) -> set[str]:
    """The definition, written as plainly as can be."""
    levels = {AGENT}
    levels |= {
        entry.spiffe_id.text
        for entry in alive.values()
        if entry.parent_id == SERVER and {str(selector) for selector in entry.selectors} <= selectors
    }
    found: set[str] = set()
    while True:
        more = {name for name, entry in alive.items() if entry.parent_id.text in levels} - found
        if not more:
            return found
        found |= more
        levels |= {alive[name].spiffe_id.text for name in more}


@settings(max_examples=150, deadline=None)
@given(_steps, st.sets(st.sampled_from(_SELECTORS)))
def test_any_history_of_changes_gives_what_the_definition_says(
    steps: list[tuple[str, str, tuple[str, ...]] | str], selectors: set[str]
) -> None:
    index, alive, seqs = EntryIndex(DOMAIN), dict[str, RegistrationEntry](), dict[str, int]()
    for number, step in enumerate(steps, 1):
        if isinstance(step, str):
            index.remove(step)
            alive.pop(step, None)
            seqs.pop(step, None)
            continue
        name, parent, chosen = step
        parents = {"AGENT": SpiffeID(AGENT), "SERVER": SERVER}
        parent_id = parents.get(parent, SpiffeID(f"spiffe://example.org/{parent}"))
        alive[name] = an_entry(name, parent_id=parent_id, selectors=chosen)
        index.put(_record(alive[name], seqs.setdefault(name, number)))
    assert _may(index, *selectors) == _naive(alive, selectors)
    assert [record.id for record in index.after(0)] == sorted(alive, key=lambda name: seqs[name])


def test_a_list_stays_what_it_was_while_the_index_changes() -> None:
    index = EntryIndex(DOMAIN)
    for number in range(1, 5):
        index.put(_record(an_entry(f"e{number}"), number))
    listed = index.after(1)
    index.remove("e3")
    index.put(_record(an_entry("e5"), 5))
    assert [record.id for record in listed] == ["e2", "e3", "e4"]
    assert [record.id for record in index.after(1)] == ["e2", "e4", "e5"]
