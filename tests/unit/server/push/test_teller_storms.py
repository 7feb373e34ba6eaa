"""Whatever changes between one page and the next, what an agent is told is what it may serve."""

from __future__ import annotations

import pytest

from finial.core.ids import TrustDomain
from finial.core.selectors import Selector
from finial.rpc import RpcError
from finial.server.index.subscriptions import MOST_DIRTY
from finial.server.push.conversation import Opening
from finial.server.push.draft import PAGE_ITEMS
from support.dice import Dice
from support.push_telling import HastyClock, Telling
from support.push_world import AGENT, SERVER, World, a_node


def _names(count: int, start: int = 0) -> list[str]:
    return [f"e{each}" for each in range(start, start + count)]


@pytest.mark.parametrize("reset", [True, False])
def test_a_transfer_survives_whatever_happens_meanwhile(reset: bool) -> None:
    world = World(HastyClock())
    world.put(*_names(PAGE_ITEMS))
    stream = Telling(world)
    stream.begin()
    floods = iter(range(3))

    def flood() -> None:
        if (number := next(floods, None)) is not None:
            world.put(*_names(MOST_DIRTY + 1, start=10_000 * number))
            world.remove(*_names(3, start=10 * number))

    stream.transfer(reset=reset, between=flood)
    assert next(floods, None) is None


def _anything(world: World, dice: Dice) -> None:
    """One change of any kind."""
    names = _names(3_000)
    alias = "spiffe://example.org/alias"
    kind = dice.one_of("ppppprrrrrbfnnoas")
    some = [dice.one_of(names) for _ in range(1 + int(dice.fraction() * 40))]
    parent = dice.one_of([AGENT, AGENT, alias, "spiffe://example.org/e1", "spiffe://example.org/nowhere"])
    if kind == "p":
        federates = (TrustDomain("foreign.test"),) if dice.fraction() < 0.2 else ()
        world.put(*dict.fromkeys(some), parent=parent, hint=str(dice.fraction()), federates_with=federates)
    elif kind == "r":
        world.remove(*dict.fromkeys(some))
    elif kind == "b":
        world.bundle(sequence=int(dice.fraction() * 1_000))
    elif kind == "f":
        world.bundle("foreign.test", sequence=int(dice.fraction() * 1_000))
    elif kind == "n":
        world.node(a_node(selectors=dice.one_of(["x:1", ""])))
    elif kind == "o":
        world.put(*_names(2_600, start=int(dice.fraction() * 400)), parent=parent)
    elif kind == "a":
        world.put("alias", parent=SERVER, selectors=(Selector("x", "1"),))
    else:
        world.node(a_node(serial=dice.one_of(["", "1"])))


@pytest.mark.parametrize("seed", range(4))
def test_whatever_changes_between_pages_the_agent_holds_what_it_may_serve(seed: int) -> None:
    dice = Dice(f"teller {seed}")
    world = World(HastyClock())
    for _ in range(20):
        _anything(world, dice)
    stream = Telling(world)
    left = 0

    def between() -> None:
        nonlocal left
        if left > 0:
            left -= 1
            _anything(world, dice)

    opening: Opening | None = stream.begin()
    for _ in range(12):
        left = int(dice.fraction() * 20)
        if opening is Opening.CURRENT or opening is Opening.BUNDLES:
            try:
                stream.change(between)
            except RpcError:
                opening = stream.begin()  # it would come again
                continue
        elif opening is not None:
            stream.transfer(reset=opening is Opening.WHOLE, between=between)
        for _ in range(int(dice.fraction() * 4)):
            _anything(world, dice)
        opening = stream.begin() if dice.fraction() < 0.3 else stream.teller.news()
        if opening is None:
            assert stream.entries == world.truth
