"""Agents that watch: who is woken by what, what is shared, and what becomes of large sets."""

from __future__ import annotations

from dataclasses import dataclass, field

from finial.core.setdigest import SetDigest, mark_of
from finial.server.index.index import Index
from finial.server.index.subscriptions import MOST_DIRTY, Cursor, Dirty, Subscription
from finial.server.store.records import Change
from support.index_model import DOMAIN, Model, PutBundle, PutNode, RemoveEntry, RemoveNode, Step, Wanted, uri

AGENTS = [uri(f"spire/agent/test/{number}") for number in range(3)]
RACK = Wanted("rack", parent="spire/server", spiffe="rack", selectors=frozenset({"t:rack"}))


@dataclass
class World:
    """An index, and what it has been told."""

    model: Model = field(default_factory=Model)
    index: Index = field(default_factory=lambda: Index(DOMAIN))
    woken: list[str] = field(default_factory=list)

    def tell(self, *wanted: Wanted | Step) -> None:
        """Have all this happen in one transaction."""
        changes: list[Change] = []
        for each in wanted:
            changes += [self.model.put_entry(each)] if isinstance(each, Wanted) else each.told_to(self.model)
        self.model.position += len(changes)
        self.index.apply(changes, self.model.position)

    def watch(self, agent: str) -> Subscription:
        return self.index.watch(agent, lambda: self.woken.append(agent))


def _in_rack(count: int, *, parent: str = "rack") -> list[Wanted]:
    return [Wanted(f"w{number}", parent=parent, spiffe=f"w{number}") for number in range(count)]


def _world(count: int = 3) -> World:
    """Two agents in the rack, one outside; so many entries below the rack."""
    world = World()
    nodes = [PutNode(agent, frozenset({"t:rack"})) for agent in AGENTS[:2]]
    world.tell(*nodes, PutNode(AGENTS[2], frozenset({"t:other"})), RACK, *_in_rack(count))
    return world


def test_a_change_wakes_those_whom_it_concerns_once_and_nobody_else() -> None:
    world = _world()
    subscriptions = [world.watch(agent) for agent in AGENTS]
    world.tell(Wanted("new", parent="rack"), Wanted("w0", parent="rack", spiffe="other"))
    assert sorted(world.woken) == AGENTS[:2]
    assert [set(each.drain().entries) for each in subscriptions] == [{"new", "w0"}, {"new", "w0"}, set()]
    assert subscriptions[0].drain() == Dirty()
    found = subscriptions[1].get("new")
    assert found is world.model.entries["new"]
    assert subscriptions[2].get("new") is None
    assert subscriptions[0].get("rack") is None
    assert subscriptions[0].get("nothing") is None


def test_what_agents_have_in_common_is_kept_once() -> None:
    world = _world()
    subscriptions = [world.watch(AGENTS[0]) for _ in range(100)]
    ((reach, interests),) = world.index.entries.audience._by_root.values()
    assert len(interests) == 100
    world.tell(*_in_rack(50))
    assert len(reach.journal._ids) == 50
    assert not any(each._interest._ids or each._interest._more for each in subscriptions)
    expected = SetDigest()
    for record in world.index.authorized(AGENTS[0], 0):
        expected = expected.plus(mark_of(record.data))
    assert all(each.digest() == expected for each in subscriptions)
    assert expected.count == 50


def test_a_large_group_that_comes_or_goes_is_not_named() -> None:
    world = _world(MOST_DIRTY + 1)
    subscription = world.watch(AGENTS[0])
    assert subscription.drain() == Dirty()
    assert subscription.digest().count == MOST_DIRTY + 1
    world.tell(RemoveEntry("rack"))
    assert subscription.drain() == Dirty(overflow=True)
    assert subscription.digest() == SetDigest()
    world.tell(RACK)
    assert subscription.drain() == Dirty(overflow=True)
    world.tell(Wanted("w7", parent="rack"))
    assert subscription.drain() == Dirty(("w7",))


def test_an_alias_that_says_the_same_of_its_nodes_costs_nobody_anything() -> None:
    world = _world(MOST_DIRTY + 1)
    subscription = world.watch(AGENTS[0])
    world.tell(Wanted("rack", parent="spire/server", spiffe="rack", selectors=RACK.selectors, expires_at=9))
    assert subscription.drain() == Dirty()
    world.tell(PutNode(AGENTS[0], frozenset({"t:rack", "t:more"})))
    other = world.watch(AGENTS[1])
    world.woken.clear()
    more = Wanted("rack", parent="spire/server", spiffe="rack", selectors=frozenset({"t:rack", "t:more"}))
    world.tell(more)
    assert subscription.drain() == Dirty()
    assert world.woken == [AGENTS[1]]
    assert subscription.digest().count == MOST_DIRTY + 1
    assert other.drain() == Dirty(overflow=True)
    assert other.digest() == SetDigest()


def test_agents_that_come_by_token_to_one_id_share_what_is_below_it() -> None:
    world = World()
    agents = [f"spire/agent/join_token/{number}" for number in range(20)]
    world.tell(*(PutNode(uri(agent), frozenset()) for agent in agents))
    world.tell(*(Wanted(f"t{at}", parent=agent, spiffe="rack") for at, agent in enumerate(agents)))
    subscriptions = [world.watch(uri(agent)) for agent in agents]
    world.tell(*_in_rack(4))
    ((reach, _),) = world.index.entries.audience._by_root.values()
    assert reach.root == uri("rack")
    assert all(each.digest().count == 5 for each in subscriptions)
    assert all(set(each.drain().entries) == {"w0", "w1", "w2", "w3"} for each in subscriptions)
    world.tell(RemoveEntry("t0"))
    assert set(subscriptions[0].drain().entries) == {"t0", "w0", "w1", "w2", "w3"}
    assert subscriptions[0].digest().count == 0
    assert subscriptions[1].drain() == Dirty()


def test_what_two_entries_lead_to_is_lost_with_the_second_of_them() -> None:
    world = _world()
    subscription = world.watch(AGENTS[2])
    world.tell(Wanted("below", parent="shelf"))
    ways = [Wanted(name, parent="spire/agent/test/2", spiffe="shelf") for name in ("a", "b")]
    world.tell(*ways)
    assert set(subscription.drain().entries) == {"a", "b", "below"}
    world.tell(RemoveEntry("a"))
    assert subscription.drain() == Dirty(("a",))
    assert subscription.get("below") is not None
    world.tell(RemoveEntry("b"))
    assert set(subscription.drain().entries) == {"b", "below"}
    assert subscription.get("below") is None


def test_ways_that_go_while_they_lead_nowhere_are_gone_for_good() -> None:
    world = _world()
    subscription = world.watch(AGENTS[2])
    world.tell(Wanted("below", parent="shelf"), Wanted("a", parent="spire/agent/test/2", spiffe="shelf"))
    world.tell(RemoveEntry("below"))
    world.tell(RemoveEntry("a"))
    assert set(subscription.drain().entries) == {"a", "below"}
    world.tell(Wanted("below", parent="shelf"))
    assert subscription.drain() == Dirty()
    assert subscription.digest() == SetDigest()


def test_a_walk_comes_in_pages_that_are_full_until_the_last() -> None:
    world = _world(10)
    world.tell(*(Wanted(f"own{number}", parent="spire/agent/test/0") for number in range(4)))
    subscription = world.watch(AGENTS[0])
    pages: list[int] = []
    cursor: Cursor | None = None
    seen: set[str] = set()
    while True:
        page, cursor = subscription.page(cursor, 7)
        pages.append(len(page))
        seen |= {record.id for record in page}
        if cursor is None:
            break
    assert pages == [7, 7]
    assert len(seen) == 14
    assert world.watch(AGENTS[2]).page(None, 7) == ([], None)


def test_a_walk_passes_over_what_is_lost_meanwhile() -> None:
    world = _world(10)
    subscription = world.watch(AGENTS[0])
    page, cursor = subscription.page(None, 7)
    assert len(page) == 7
    world.tell(RemoveEntry("rack"))
    assert subscription.page(cursor, 7) == ([], None)
    assert len(subscription.drain().entries) == 10


def test_bundles_are_the_own_one_and_those_that_entries_name() -> None:
    world = _world()
    subscription, other = world.watch(AGENTS[0]), world.watch(AGENTS[2])
    assert subscription.bundles() == ()
    world.tell(*map(PutBundle, ["b.test", DOMAIN.name, "a.test", "c.test"]))
    assert sorted(world.woken) == [AGENTS[0], AGENTS[2]]
    named = frozenset({"b.test", "a.test", "missing.test"})
    world.tell(Wanted("w0", parent="rack", federates=named))
    assert [each.bundle.trust_domain.name for each in subscription.bundles()] == [
        "example.org",
        "a.test",
        "b.test",
    ]
    assert [each.bundle.trust_domain.name for each in other.bundles()] == ["example.org"]
    world.woken.clear()
    world.tell(PutBundle("c.test"))
    assert world.woken == []
    world.tell(PutBundle("b.test"))
    assert world.woken == AGENTS[:1]


def test_an_agent_that_is_banned_or_gone_may_serve_nothing_and_is_told() -> None:
    world = _world()
    subscription = world.watch(AGENTS[0])
    world.tell(PutNode(AGENTS[0], frozenset({"t:rack"}), banned=True))
    assert world.woken == [AGENTS[0]]
    assert set(subscription.drain().entries) == {"w0", "w1", "w2"}
    assert subscription.get("w0") is None
    assert subscription.digest() == SetDigest()
    assert subscription.page(None, 10) == ([], None)
    world.tell(RemoveNode(AGENTS[0]))
    assert world.woken == [AGENTS[0]] * 2
    world.tell(PutNode(AGENTS[0], frozenset({"t:rack"})))
    assert set(subscription.drain().entries) == {"w0", "w1", "w2"}
    assert subscription.get("w0") is not None


def test_who_has_closed_is_woken_no_more_even_in_the_midst() -> None:
    world = _world()
    subscriptions: list[Subscription] = []

    def woken() -> None:
        world.woken.append("one")
        for each in subscriptions:
            each.close()

    subscriptions += [world.index.watch(AGENTS[0], woken) for _ in range(3)]
    world.tell(Wanted("new", parent="rack"))
    assert world.woken == ["one"]
    world.tell(Wanted("newer", parent="rack"))
    assert world.woken == ["one"]
    assert not world.index.entries.audience._by_agent
    subscriptions[0].close()
