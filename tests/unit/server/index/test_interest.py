"""Sums over reaches that overlap count nothing twice; what is dirty is bounded."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from finial.server.index.groups import Forest, Group, above, below
from finial.server.index.interest import Dirty, Interest
from finial.server.index.reach import MOST_DIRTY, Reach
from support.index_model import Wanted, uri


class Nobody:
    """Is told, and does not mind."""

    def changed(self, group: Group, old: object, new: object) -> None: ...

    def opened(self, group: Group) -> None: ...

    def closing(self, group: Group) -> None: ...

    def linked(self, upper: Group, lower: Group) -> None: ...

    def unlinking(self, upper: Group, lower: Group) -> None: ...


_IDS = [f"n{number}" for number in range(8)]
_links = st.lists(st.tuples(st.sampled_from(_IDS), st.sampled_from(_IDS)), max_size=20)


@settings(deadline=None, max_examples=300)
@given(_links, st.sets(st.sampled_from(_IDS), max_size=5), st.sampled_from(_IDS))
def test_reaches_are_joined_without_counting_anything_twice(
    links: list[tuple[str, str]], roots: set[str], agent: str
) -> None:
    groups: dict[str, Group] = {}
    forest = Forest(groups, Nobody())
    for seq, (upper, lower) in enumerate(links):
        forest.add(Wanted(f"e{seq}", parent=upper, spiffe=lower).record(seq, 0))
    interest = Interest(uri(agent), lambda: None)
    interest.selectors = frozenset()
    for root in roots:
        interest.join(Reach(uri(root), groups))
    own = groups.get(uri(agent))
    firsts = [groups[uri(root)] for root in roots if uri(root) in groups]
    expected = set(below(firsts)) | ({own} if own is not None else set())
    count = sum(len(list(group.rows)) for group in expected)
    for _ in range(2):
        sums = list(interest.sums(own))
        assert sum(each.count for each in sums) == count
        assert sum(each.total for each in sums) == sum(group.sums.total for group in expected)
    assert {group for group in groups.values() if interest.covers(group)} == expected
    assert {groups[each] for each in interest.parents() if each in groups} == expected
    for group in groups.values():
        assert set(above(group)) == {each for each in groups.values() if group in set(below([each]))}


def test_what_is_dirty_is_bounded() -> None:
    interest = Interest("agent", lambda: None)
    for number in range(MOST_DIRTY):
        interest.touch(str(number))
        interest.touch(str(number))
    assert len(interest.drain().entries) == MOST_DIRTY
    assert interest.drain() == Dirty()
    for number in range(MOST_DIRTY + 1):
        interest.touch(str(number))
    interest.touch("late")
    interest.soil(("later",))
    assert not interest._ids
    assert not interest._more
    assert interest.drain() == Dirty(overflow=True)
    assert interest.drain() == Dirty()
    interest.soil(None)
    assert interest.drain() == Dirty(overflow=True)


def test_journals_that_are_each_short_may_be_too_much_together() -> None:
    interest = Interest("agent", lambda: None)
    reaches = [Reach(str(number), {}) for number in range(2)]
    for reach in reaches:
        interest.join(reach)
        reach.journal.write(f"{reach.root}-{number}" for number in range(MOST_DIRTY // 2))
    assert len(interest.drain().entries) == MOST_DIRTY
    for reach in reaches:
        reach.journal.write(f"{reach.root}-{number}" for number in range(MOST_DIRTY // 2 + 1))
    assert interest.drain() == Dirty(overflow=True)
