from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from finial.agent import jwtcache
from finial.agent.entry import AuthorizedEntry
from finial.agent.jwtcache import HeldJWT, JWTCache, Renewal, Wanted
from finial.core.bundle import Bundle
from finial.core.ids import SpiffeID
from support.books import entry
from support.forge import NOW
from support.jwt_cases import K1, K2, LIFE, OWN, hold, proven

ONE = entry("e1")
SECOND = timedelta(seconds=1)


def look(
    cache: JWTCache, of: AuthorizedEntry = ONE, *audience: str, now: datetime = NOW, own: Bundle = OWN
) -> tuple[HeldJWT | None, Renewal]:
    return cache.look(Wanted(of, audience or ("a",)), now, own)


def audiences(cache: JWTCache) -> list[str]:
    """The first audience of each token that is held, in the order in which they came."""
    return [audience[0] for _, audience in cache._held]


def weigh(cache: JWTCache) -> int:
    """What is held, counted anew."""
    return sum(held.weight for held in cache._held.values())


# What is served


def test_a_token_is_served_for_its_entry_and_its_audiences_in_any_order() -> None:
    cache = JWTCache()
    held = hold(cache, ONE, "b", "a")
    assert look(cache, ONE, "a", "b") == (held, Renewal.NONE)
    assert look(cache, ONE, "b", "a") == (held, Renewal.NONE)
    for of, audience in ((ONE, ("a",)), (ONE, ("a", "b", "c")), (entry("e2"), ("a", "b"))):
        assert look(cache, of, *audience) == (None, Renewal.FIRST)
    assert held.svid.token not in repr(held)
    assert held.svid.token not in repr(Wanted(ONE, ("a",)))


@pytest.mark.parametrize(
    ("after", "renewal"),
    [
        (timedelta(0), Renewal.NONE),
        (LIFE / 2 - SECOND, Renewal.NONE),
        (LIFE / 2, Renewal.BEHIND),
        (LIFE - 30 * SECOND, Renewal.BEHIND),
        (LIFE - 29 * SECOND, Renewal.FIRST),
        (LIFE - SECOND, Renewal.FIRST),
    ],
)
def test_the_older_a_token_is_the_more_another_one_is_wanted(after: timedelta, renewal: Renewal) -> None:
    cache = JWTCache()
    held = hold(cache, ONE)
    assert look(cache, now=NOW + after) == (held, renewal)


def test_a_token_is_never_served_beyond_its_end() -> None:
    cache = JWTCache()
    hold(cache, ONE)
    assert look(cache, now=NOW + LIFE) == (None, Renewal.FIRST)
    assert not len(cache)
    assert cache.next_at() is None


def test_of_a_short_life_a_quarter_is_to_be_left() -> None:
    cache = JWTCache()
    held = hold(cache, ONE, life=8 * SECOND)
    assert look(cache, now=NOW + 6 * SECOND) == (held, Renewal.BEHIND)
    assert look(cache, now=NOW + 6.5 * SECOND) == (held, Renewal.FIRST)


def test_a_clock_that_is_set_back_makes_no_token_worse() -> None:
    cache = JWTCache()
    held = hold(cache, ONE)
    assert look(cache, now=NOW - timedelta(hours=1)) == (held, Renewal.NONE)


def test_an_entry_that_says_something_else_wants_another_token_first() -> None:
    cache = JWTCache()
    held = hold(cache, ONE)
    assert look(cache, replace(ONE, revision=1)) == (held, Renewal.FIRST)
    assert look(cache, ONE) == (held, Renewal.NONE)


@pytest.mark.parametrize(
    "other",
    [
        replace(ONE, spiffe_id=SpiffeID("spiffe://a.test/other")),
        replace(ONE, created_at=2),
        replace(ONE, unique_tokens=True),
    ],
)
def test_a_token_of_another_subject_is_dropped(other: AuthorizedEntry) -> None:
    cache = JWTCache()
    hold(cache, replace(ONE, created_at=1))
    assert look(cache, replace(ONE, created_at=1))[0]
    assert look(cache, replace(other, created_at=other.created_at or 1)) == (None, Renewal.FIRST)
    assert not len(cache)


@pytest.mark.parametrize(
    "own",
    [
        replace(OWN, jwt_authorities=()),
        replace(OWN, jwt_authorities=(K2,)),
        replace(OWN, jwt_authorities=(replace(K2, key_id="k1"),)),
        replace(OWN, jwt_authorities=(), wit_authorities=(K1,)),
        replace(OWN, jwt_authorities=(replace(K1, tainted=True), K2)),
    ],
)
def test_a_token_whose_key_has_gone_or_is_tainted_now_is_dropped(own: Bundle) -> None:
    cache = JWTCache()
    hold(cache, ONE)
    assert look(cache, own=own) == (None, Renewal.FIRST)
    assert not len(cache)


def test_a_bundle_that_says_the_same_of_a_key_changes_nothing() -> None:
    cache = JWTCache()
    held = hold(cache, ONE)
    again = replace(K1, expires_at=NOW + LIFE)
    assert look(cache, own=replace(OWN, jwt_authorities=(K2, again)))[0] is held
    assert held.authority is again


def test_a_token_of_a_key_that_was_tainted_already_is_served_and_renewed_soon() -> None:
    cache, tainted = JWTCache(), replace(K1, tainted=True)
    held = hold(cache, ONE, authority=tainted)
    own = replace(OWN, jwt_authorities=(tainted,))
    assert look(cache, now=NOW + 9 * SECOND, own=own) == (held, Renewal.NONE)
    assert look(cache, now=NOW + 10 * SECOND, own=own) == (held, Renewal.BEHIND)


# What is renewed and dropped


def test_only_what_has_been_asked_for_since_it_came_is_renewed_and_only_once() -> None:
    cache = JWTCache()
    hold(cache, ONE, "asked")
    hold(cache, ONE, "idle")
    look(cache, ONE, "asked")
    assert cache.next_at() == NOW + LIFE / 2
    assert cache.due(NOW + LIFE / 2 - SECOND, 10) == []
    assert cache.due(NOW + LIFE / 2, 10) == [("e1", ("asked",))]
    assert cache.due(NOW + LIFE / 2, 10) == []
    assert cache.next_at() == NOW + LIFE
    fresh = hold(cache, ONE, "asked", now=NOW + LIFE / 2)
    assert not fresh.asked
    assert cache.due(NOW + LIFE, 10) == []


def test_what_has_ended_is_dropped_a_part_at_a_time() -> None:
    cache = JWTCache()
    for number in range(5):
        hold(cache, ONE, f"a{number}", life=LIFE if number else 2 * LIFE)
    cache.expire(NOW + LIFE - SECOND, 3)
    assert len(cache) == 5
    cache.expire(NOW + LIFE, 3)
    assert len(cache) == 2
    cache.expire(NOW + LIFE, 3)
    assert audiences(cache) == ["a0"]
    assert cache.weight == weigh(cache)


def test_a_token_takes_the_place_of_the_one_before() -> None:
    cache = JWTCache()
    hold(cache, ONE, caller=1)
    fresh = hold(cache, ONE, caller=2, life=2 * LIFE)
    assert len(cache) == 1
    assert fresh.caller == 1
    assert cache.get(("e1", ("a",))) is fresh
    cache.expire(NOW + LIFE, 10)
    assert len(cache) == 1
    assert cache.weight == fresh.weight == weigh(cache)


def test_all_tokens_of_an_entry_go_with_it() -> None:
    cache, two = JWTCache(), entry("e2")
    for each in (ONE, two):
        for caller in (1, 2):
            hold(cache, each, f"a{caller}", caller=caller)
    cache.forget("e1")
    cache.forget("e1")
    assert {key[0] for key in cache._held} == {"e2"}
    cache.clear()
    assert not len(cache)
    assert cache.weight == 0
    assert cache.next_at() is None
    hold(cache, ONE)
    assert look(cache)[0]


# Bounds


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for five tokens of a caller, ten of an entry, twenty in all."""
    weight = hold(JWTCache(), ONE).weight
    monkeypatch.setattr(jwtcache, "MOST_OF_CALLER", 5 * weight)
    monkeypatch.setattr(jwtcache, "MOST_OF_ENTRY", 10 * weight)
    monkeypatch.setattr(jwtcache, "MOST", 20 * weight)


@pytest.mark.usefixtures("small")
def test_what_a_caller_asks_for_displaces_what_it_has_not_asked_for_longest() -> None:
    cache = JWTCache()
    for number in range(5):
        hold(cache, ONE, f"a{number}")
    look(cache, ONE, "a0")
    for number in range(5, 8):
        hold(cache, ONE, f"a{number}")
    assert sorted(audiences(cache)) == ["a0", "a4", "a5", "a6", "a7"]


@pytest.mark.usefixtures("small")
def test_a_flood_of_one_caller_leaves_the_tokens_of_others_alone() -> None:
    cache, two = JWTCache(), entry("e2")
    hold(cache, ONE, "mine", caller=1)
    hold(cache, two, "too", caller=2)
    for number in range(100):
        hold(cache, ONE, f"a{number}", caller=2)
    assert look(cache, ONE, "mine")[0]
    assert look(cache, two, "too")[0]
    assert len(cache) == 7


@pytest.mark.usefixtures("small")
def test_in_a_full_entry_the_caller_with_the_most_gives_way() -> None:
    cache = JWTCache()
    hold(cache, ONE, "mine", caller=1)
    for caller in range(2, 20):
        for number in range(5):
            hold(cache, ONE, f"{caller}-{number}", caller=caller)
        assert len(cache) <= 10
        assert cache.weight == weigh(cache)
        assert look(cache, ONE, "mine")[0]


@pytest.mark.usefixtures("small")
def test_when_all_is_full_the_entry_with_the_most_gives_way() -> None:
    cache = JWTCache()
    hold(cache, ONE, "mine", caller=1)
    for number in range(2, 8):
        for caller in (2, 3):
            for audience in range(5):
                hold(cache, entry(f"e{number}"), f"{caller}-{audience}", caller=caller)
        assert cache.weight == weigh(cache)
    assert len(cache) == 20
    assert look(cache, ONE, "mine")[0]
    for number in range(8):
        cache.forget(f"e{number}")
    assert cache.weight == 0
    assert not cache._by_weight._at


def test_a_long_token_counts_for_more() -> None:
    cache = JWTCache()
    short = hold(cache, ONE, "a")
    long = hold(cache, ONE, "a" * 10_000)
    assert short.weight < 5
    assert long.weight > 20
    assert cache.weight == short.weight + long.weight


def test_a_flood_costs_bounded_memory() -> None:
    cache = JWTCache()
    fresh = proven(Wanted(ONE, ("a",)))
    entries = [entry(f"e{number}") for number in range(50)]
    for number in range(60_000):
        of = entries[number % 50]
        wanted = Wanted(of, (f"a{number}",))
        cache.put(wanted, fresh, now=NOW, spread=number % 100 / 100, caller=number % 7)
    assert cache.weight == weigh(cache) <= jwtcache.MOST
    assert len(cache) == len(cache._named) <= jwtcache.MOST // fresh_weight(cache)
    for calendar in (cache._ends, cache._renewals):
        assert sum(map(len, calendar._slots.values())) == len(cache)
    assert sum(len(mine) for shelf in cache._shelves.values() for mine in shelf.callers.values()) == len(
        cache
    )


def fresh_weight(cache: JWTCache) -> int:
    return next(iter(cache._held.values())).weight
