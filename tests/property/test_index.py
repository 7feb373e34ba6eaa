"""The index against its definition: any history of entries, nodes, bundles, time and restores."""

from __future__ import annotations

import gc
from unittest import mock

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from finial.server.index import audience, interest, reach, rows
from finial.server.index.index import Index
from support.index_model import (
    DOMAIN,
    FIELDS,
    SERVER,
    Model,
    Pupil,
    PutBundle,
    PutEntry,
    PutNode,
    RemoveBundle,
    RemoveEntry,
    RemoveNode,
    ReviseEntry,
    Step,
    Wanted,
    uri,
)

# The last agent has the ID of an entry, so that others may lead to what is below it.
AGENTS = [uri("spire/agent/a"), uri("spire/agent/b"), uri("n0")]
NAMES = [f"e{number}" for number in range(8)]
IDS = ["n0", "n1", "n2", "n3"]
PARENTS = [*IDS, "spire/agent/a", "spire/agent/a", "spire/agent/b", "spire/server", "spire/server"]
SELECTORS = ["t:a", "t:b"]
DOMAINS = ["one.test", "two.test"]
BEGIN = 1_000

_wanted = st.builds(
    Wanted,
    name=st.sampled_from(NAMES),
    parent=st.sampled_from(PARENTS),
    spiffe=st.sampled_from(IDS),
    selectors=st.frozensets(st.sampled_from(SELECTORS), min_size=1),
    federates=st.frozensets(st.sampled_from(DOMAINS), max_size=1),
    expires_at=st.sampled_from([0, 0, 0, *range(BEGIN - 1, BEGIN + 4)]),
)
_agent = st.sampled_from(AGENTS)
_name = st.sampled_from(NAMES)
_domain = st.sampled_from([*DOMAINS, DOMAIN.name])
_selectors = st.frozensets(st.sampled_from(SELECTORS))
_step = st.one_of(
    st.builds(PutEntry, _wanted, again=st.just(value=False)),
    st.builds(PutEntry, _wanted, again=st.booleans()),
    st.builds(ReviseEntry, _name, _wanted, st.sampled_from(FIELDS)),
    st.builds(ReviseEntry, _name, _wanted, st.sampled_from(FIELDS)),
    st.builds(RemoveEntry, _name),
    st.builds(PutNode, _agent, _selectors, banned=st.sampled_from([False, False, False, True])),
    st.builds(RemoveNode, _agent),
    st.builds(PutBundle, _domain),
    st.builds(RemoveBundle, _domain),
)


# An alias, below which there are two levels.
SKELETON = [
    Wanted("e0", parent="spire/server", spiffe="n1", selectors=frozenset({"t:a"})),
    Wanted("e1", parent="n1", spiffe="n2"),
    Wanted("e2", parent="n2", spiffe="n3"),
    Wanted("e3", parent="n2", spiffe="n3", selectors=frozenset({"t:b"})),
]


class Histories(RuleBasedStateMachine):
    """An index, its model, and agents that are told what changes."""

    def __init__(self) -> None:
        super().__init__()
        self.index = Index(DOMAIN)
        self.model = Model()
        self.now: float = BEGIN
        self.pupils: list[Pupil] = []

    @initialize(
        wanted=st.lists(_wanted, max_size=12).flatmap(lambda some: st.sampled_from([some, SKELETON + some])),
        nodes=st.lists(_selectors, min_size=len(AGENTS), max_size=len(AGENTS)),
    )
    def load(self, wanted: list[Wanted], nodes: list[frozenset[str]]) -> None:
        for each in wanted:
            self.model.put_entry(each)
        for agent, selectors in zip(AGENTS, nodes, strict=True):
            self.model.put_node(agent, selectors)
        self.index.load(self.model.snapshot())
        for agent in AGENTS:
            self.watch(agent)
        self.look(0)
        self.all_learn()

    # What the store says.

    @rule(steps=st.lists(_step, min_size=1, max_size=4))
    def commit(self, steps: list[Step]) -> None:
        changes = [change for step in steps for change in step.told_to(self.model)]
        self.model.position += len(changes)
        self.index.apply(changes, self.model.position)

    @rule(step=_step)
    def commit_one(self, step: Step) -> None:
        self.commit([step])

    @rule(epoch=st.sampled_from(["one", "two"]), steps=st.lists(_step, max_size=3))
    def restore(self, epoch: str, steps: list[Step]) -> None:
        for step in steps:
            step.told_to(self.model)
        self.model.epoch = epoch
        self.index.reload(self.model.snapshot())

    @rule(epoch=st.sampled_from(["one", "three"]))
    def take_epoch(self, epoch: str) -> None:
        self.model.epoch = epoch
        self.index.take_epoch(epoch)

    @rule(seconds=st.integers(-3, 3))
    def look(self, seconds: int) -> None:
        self.now += seconds
        coming = self.index.expire(self.now)
        self.model.looked = self.now
        ends = [each.expires_at for each in self.model.entries.values() if each.expires_at > self.now]
        assert coming == min(ends, default=None)

    # Agents.

    @precondition(lambda self: len(self.pupils) < 5)
    @rule(agent=_agent)
    def watch(self, agent: str) -> None:
        self.pupils.append(Pupil(self.index, agent))

    @precondition(lambda self: self.pupils)
    @rule(data=st.data(), limit=st.integers(1, 3))
    def page(self, data: st.DataObject, limit: int) -> None:
        pupil = data.draw(st.sampled_from(self.pupils))
        pupil.page(limit)

    @rule()
    def all_page(self) -> None:
        for pupil in self.pupils:
            pupil.page(2)

    @precondition(lambda self: self.pupils)
    @rule(data=st.data())
    def learn(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.pupils)).finish()

    @rule()
    def all_look(self) -> None:
        for pupil in self.pupils:
            pupil.look()

    @rule()
    def all_learn(self) -> None:
        for pupil in self.pupils:
            pupil.finish()

    @precondition(lambda self: self.pupils)
    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        pupil = data.draw(st.sampled_from(self.pupils))
        self.pupils.remove(pupil)
        pupil.subscription.close()
        pupil.subscription.close()

    # What has to hold.

    @invariant()
    def whoever_was_not_woken_knows_all(self) -> None:
        assert self.index.position == self.model.position
        for pupil in self.pupils:
            if not pupil.woken:
                assert pupil.held == self.model.authorized(pupil.agent)
                assert pupil.bundles == self.model.bundles_of(pupil.agent)
                assert pupil.node == self.model.nodes.get(pupil.agent)
                assert pupil.epoch == self.model.epoch

    @invariant()
    def nothing_grows(self) -> None:
        for place, _ in self.index.entries.audience._by_root.values():
            assert len(place.journal._ids) <= reach.MOST_DIRTY + reach._SPARE
        for pupil in self.pupils:
            assert pupil.subscription._interest._weight <= reach.MOST_DIRTY

    @precondition(lambda self: self.pupils)
    @rule()
    def sums_are_exact(self) -> None:
        for pupil in self.pupils:
            assert pupil.subscription.digest() == self.model.digest(pupil.agent)
            assert pupil.subscription.bundles() == self.model.bundles_of(pupil.agent)

    @rule(agent=st.sampled_from(AGENTS))
    def polling_says_the_same(self, agent: str) -> None:
        found = list(self.index.authorized(agent, self.now))
        self.model.looked = self.now
        assert len(found) == len({record.id for record in found})
        assert {record.id: record for record in found} == self.model.authorized(agent)

    @rule(name=st.sampled_from(NAMES))
    def so_does_each_single_entry(self, name: str) -> None:
        for agent in AGENTS:
            found = self.index.authorized_entry(agent, name, self.now)
            self.model.looked = self.now
            assert found == self.model.authorized(agent).get(name)
        assert sorted(self.index.agents_of(name)) == sorted(self.model.agents_of(name))

    @rule(parent=st.sampled_from([uri("n1"), SERVER]), after=st.integers(0, 5))
    def administrators_see_what_has_ended_too(self, parent: str, after: int) -> None:
        every = sorted(self.model.entries.values(), key=lambda each: each.seq)
        assert list(self.index.entries.after(after)) == [each for each in every if each.seq > after]
        below = [each for each in every if each.parent_id == parent and each.seq > after]
        assert list(self.index.entries.below(parent, after)) == below
        assert len(self.index.entries) == len(every)

    def teardown(self) -> None:
        for pupil in self.pupils:
            pupil.finish()
            assert pupil.held == self.model.authorized(pupil.agent)
            assert pupil.subscription.digest() == self.model.digest(pupil.agent)
        self.commit([RemoveEntry(name) for name in self.model.entries])
        for pupil in self.pupils:
            pupil.finish()
            assert not pupil.held
            pupil.subscription.close()
        self._nothing_is_left_behind()
        gc.unfreeze()  # there will be many more

    def _nothing_is_left_behind(self) -> None:
        entries = self.index.entries
        for kept in (
            entries.groups,
            entries._forest._holders,
            entries._ended,
            entries._endings._at,
            entries._endings.ended,
            entries._aliases._by_id,
            entries._aliases._by_rarest,
            entries.audience._by_agent,
            entries.audience._by_root,
            entries.audience._by_selector,
            entries.audience._over,
        ):
            assert not kept


class CrampedHistories(Histories):
    """The same, where more than two entries are too many to be named, and chunks are tiny."""

    def __init__(self) -> None:
        super().__init__()
        self._patches = [
            mock.patch.multiple(reach, MOST_DIRTY=2, _SPARE=1),
            mock.patch.object(interest, "MOST_DIRTY", 2),
            mock.patch.object(audience, "MOST_DIRTY", 2),
            mock.patch.object(rows, "_MOST", 2),
        ]
        for patch in self._patches:
            patch.start()

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            for patch in self._patches:
                patch.stop()


CALM = settings(max_examples=200, stateful_step_count=60, deadline=None)

TestHistories = Histories.TestCase
TestHistories.settings = CALM
TestCrampedHistories = CrampedHistories.TestCase
TestCrampedHistories.settings = CALM
