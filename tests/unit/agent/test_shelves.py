from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from finial.agent.shelves import Shelves
from finial.core.selectors import Selector

SELECTORS = st.frozensets(st.sampled_from("abcde").map(lambda each: Selector("t", each)), min_size=1)


@dataclass(frozen=True)
class Thing:
    number: int
    selectors: frozenset[Selector]


def put(shelves: Shelves[Thing], number: int, *selectors: Selector) -> None:
    shelves.put(str(number), Thing(number, frozenset(selectors)))


@given(
    steps=st.lists(st.tuples(st.integers(0, 8), st.one_of(st.none(), SELECTORS)), max_size=30),
    asked=SELECTORS,
)
def test_whatever_fits_is_found_and_nothing_else(
    steps: list[tuple[int, frozenset[Selector] | None]], asked: frozenset[Selector]
) -> None:
    shelves, plain = Shelves[Thing](), dict[int, frozenset[Selector]]()
    for thing, selectors in steps:
        if selectors is None:
            shelves.drop(str(thing))
            plain.pop(thing, None)
        else:
            put(shelves, thing, *selectors)
            plain[thing] = selectors
        found = sorted(each.number for each in shelves.fitting(asked))
        assert found == sorted(each for each in plain if plain[each] <= asked)
        assert len(shelves) == len(plain)
    shelves.clear()
    assert not list(shelves.fitting(asked))
    assert not shelves._shelves


def test_a_thing_stands_where_the_fewest_are() -> None:
    shelves = Shelves[Thing]()
    common, rare = Selector("t", "common"), Selector("t", "rare")
    put(shelves, 0, common)
    for number in range(1, 4):
        put(shelves, number, common, Selector("t", f"own {number}"))
    put(shelves, 4, common, rare)
    assert len(shelves._shelves[common]) == 1
