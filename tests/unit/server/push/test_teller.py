"""What an agent is told is what it may serve, whatever changes between one page and the next."""

from __future__ import annotations

import pytest

from finial.core.ids import TrustDomain
from finial.core.selectors import Selector
from finial.rpc import RpcError, StatusCode
from finial.server.index.subscriptions import MOST_DIRTY
from finial.server.push.conversation import Opening
from finial.server.push.draft import PAGE_BYTES, PAGE_ITEMS
from support.push_telling import Message, Telling
from support.push_world import World


def _names(count: int, start: int = 0) -> list[str]:
    return [f"e{each}" for each in range(start, start + count)]


def _ids(message: Message) -> set[str]:
    return {item.entry.id for item in message.entries}


def _domains(message: Message) -> list[str]:
    return [bundle.trust_domain for bundle in message.bundles]


def test_an_agent_that_holds_nothing_is_told_everything() -> None:
    world = World()
    world.put("a", "b")
    stream = Telling(world)
    assert stream.begin() is Opening.WHOLE
    assert stream.teller.count == 2
    before = stream.teller.sequence
    (page,) = stream.transfer(reset=True)
    assert page.reset
    assert _domains(page) == ["example.org"]
    assert sorted(stream.ledger.told) == ["a", "b"]
    assert (before, stream.teller.sequence) == (None, 1)
    assert stream.teller.news() is None


def test_no_bundle_and_no_entry_are_an_empty_set() -> None:
    world = World()
    world.no_bundle("example.org")
    stream = Telling(world)
    assert stream.begin() is Opening.WHOLE
    (page,) = stream.transfer(reset=True)
    assert page.state.digest == page.state.bundles == bytes(16)
    assert stream.teller.sequence is None


def test_pages_are_full_and_only_the_first_one_resets() -> None:
    world = World()
    world.put(*_names(2 * PAGE_ITEMS + 1))
    stream = Telling(world)
    stream.begin()
    pages = stream.transfer(reset=True)
    # The bundle needs a place as well.
    assert [len(page.entries) for page in pages] == [PAGE_ITEMS, PAGE_ITEMS - 1, 2]
    assert [page.reset for page in pages] == [True, False, False]
    assert [_domains(page) for page in pages] == [[], ["example.org"], []]


def test_no_page_is_longer_than_peers_take() -> None:
    world = World()
    selectors = tuple(Selector("unix", f"{each:>0500}") for each in range(2_000))
    assert len(selectors) * 500 > PAGE_BYTES / 4
    world.put(*_names(7), selectors=selectors)
    stream = Telling(world)
    stream.begin()
    pages = stream.transfer(reset=True)
    assert [len(page.entries) for page in pages] == [3, 3, 1]


def test_what_an_agent_holds_already_is_not_told_again() -> None:
    world = World()
    world.put(*_names(5))
    first = Telling(world).synced()
    again = Telling(world)
    again.copy(first)
    assert again.begin() is Opening.CURRENT
    assert again.teller.sequence == 1
    (message,) = again.change()
    assert not message.entries
    assert not message.bundles
    assert again.teller.news() is None


def test_what_has_changed_before_the_beginning_does_not_matter() -> None:
    world = World()
    first = Telling(world).synced()
    again = Telling(world)
    again.copy(first)
    names = _names(MOST_DIRTY + 1)
    world.put(*names)
    world.remove(*names)
    assert again.begin() is Opening.CURRENT
    (message,) = again.change()
    assert not message.gone


def test_where_the_entries_are_right_the_bundles_alone_are_told() -> None:
    world = World()
    world.put("a")
    first = Telling(world).synced()
    world.bundle(sequence=2)
    again = Telling(world)
    again.copy(first)
    assert again.begin() is Opening.BUNDLES
    before = again.teller.sequence
    (message,) = again.change()
    assert not message.entries
    assert _domains(message) == ["example.org"]
    assert (before, again.teller.sequence) == (None, 2)


def test_a_change_tells_what_came_what_is_other_and_what_is_gone() -> None:
    world = World()
    world.put("a", "b", "c")
    stream = Telling(world).synced()
    stream.woken = 0
    world.put("b", hint="other")
    world.remove("c")
    world.put("d")
    assert stream.woken == 3
    assert stream.teller.news() is Opening.CURRENT
    (message,) = stream.change()
    assert _ids(message) == {"b", "d"}
    assert list(message.gone) == ["c"]
    assert not message.bundles
    assert sorted(stream.ledger.told) == ["b", "c", "d"]
    assert stream.teller.news() is None


def test_what_came_and_went_unseen_is_gone() -> None:
    world = World()
    stream = Telling(world).synced()
    world.put("a")
    world.remove("a")
    assert stream.teller.news() is Opening.CURRENT
    (message,) = stream.change()
    assert list(message.gone) == ["a"]


def test_what_concerns_others_is_no_news() -> None:
    world = World()
    stream = Telling(world).synced()
    world.put("a", parent="spiffe://example.org/other")
    world.bundle("foreign.test")
    assert stream.teller.news() is None


def test_a_heartbeat_is_a_change_with_nothing_in_it() -> None:
    world = World()
    world.put("a")
    stream = Telling(world).synced()
    (message,) = stream.change()
    assert message == Message(number=1, state=message.state, server_time_ms=1, silence_ms=30_000)


def test_an_entry_and_the_bundle_that_it_names_come_in_one_change() -> None:
    world = World()
    stream = Telling(world).synced()
    world.bundle("foreign.test")
    world.put("a", federates_with=(TrustDomain("foreign.test"),))
    assert stream.teller.news() is Opening.CURRENT
    (message,) = stream.change()
    assert _ids(message) == {"a"}
    assert _domains(message) == ["foreign.test"]
    world.bundle("foreign.test", sequence=2)
    assert stream.teller.news() is Opening.CURRENT
    (message,) = stream.change()
    assert _domains(message) == ["foreign.test"]
    assert not message.entries
    # A record that says the same is nothing to tell.
    world.bundle("foreign.test", sequence=2)
    assert stream.teller.news() is None
    world.remove("a")
    (message,) = stream.change()
    assert list(message.gone) == ["a"]
    assert list(message.bundles_gone) == ["foreign.test"]
    assert stream.bundles.keys() == {"example.org"}


def test_a_bundle_that_is_deleted_while_it_is_named_is_gone() -> None:
    world = World()
    world.bundle("foreign.test")
    world.put("a", federates_with=(TrustDomain("foreign.test"),))
    stream = Telling(world).synced()
    world.no_bundle("foreign.test")
    assert stream.teller.news() is Opening.CURRENT
    (message,) = stream.change()
    assert list(message.bundles_gone) == ["foreign.test"]


def test_a_new_epoch_is_news() -> None:
    world = World()
    stream = Telling(world).synced()
    world.index.take_epoch("e2")
    assert stream.teller.news() is Opening.CURRENT
    (message,) = stream.change()
    assert message.state.epoch == "e2"
    assert stream.teller.news() is None
    # An agent that comes with another epoch and the right set is current, and told the epoch.
    again = Telling(world)
    again.copy(stream)
    world.index.take_epoch("e3")
    assert again.begin() is Opening.CURRENT
    (message,) = again.change()
    assert message.state.epoch == "e3"


def test_bundles_that_do_not_fit_go_on_the_next_page() -> None:
    world = World()
    stream = Telling(world).synced()
    names = _names(PAGE_ITEMS - 1)
    world.bundle("foreign.test")
    world.bundle(sequence=2)
    world.put(*names, federates_with=(TrustDomain("foreign.test"),))
    pages = stream.change()
    assert [len(page.entries) for page in pages] == [PAGE_ITEMS - 1, 0]
    assert [len(page.bundles) for page in pages] == [1, 1]
    # Of names that are gone the same is true.
    world.remove(*names)
    world.put("a")
    pages = stream.change()
    assert [len(page.gone) for page in pages] == [PAGE_ITEMS - 1, 0]
    assert [list(page.bundles_gone) for page in pages] == [[], ["foreign.test"]]


def test_a_difference_is_what_came_what_is_other_and_what_is_gone() -> None:
    world = World()
    world.put(*_names(PAGE_ITEMS + 10))
    first = Telling(world).synced()
    world.put("e3", hint="other")
    world.remove("e4", "e5")
    world.put("new")
    again = Telling(world)
    again.copy(first)
    assert again.begin() is Opening.COMPARE
    (message,) = again.transfer()
    assert _ids(message) == {"e3", "new"}
    assert sorted(message.gone) == ["e4", "e5"]
    assert not message.bundles
    assert not message.reset


def test_a_difference_that_is_only_additions_looks_at_nothing_twice() -> None:
    world = World()
    world.put(*_names(3))
    first = Telling(world).synced()
    world.put("new")
    again = Telling(world)
    again.copy(first)
    again.begin()
    (message,) = again.transfer()
    assert _ids(message) == {"new"}
    assert again.ledger.told.count("e0") == 1


def test_many_that_are_gone_fill_pages_too() -> None:
    world = World()
    world.put(*_names(2 * PAGE_ITEMS + 5))
    first = Telling(world).synced()
    world.remove(*_names(2 * PAGE_ITEMS + 4))
    again = Telling(world)
    again.copy(first)
    again.begin()
    pages = again.transfer()
    assert sum(len(page.gone) for page in pages) == 2 * PAGE_ITEMS + 4
    assert len(pages) == 3


def test_a_whole_set_brings_the_bundles_again() -> None:
    world = World()
    stream = Telling(world).synced()
    (message,) = stream.transfer(reset=True)
    assert _domains(message) == ["example.org"]


def test_more_than_is_known_to_be_dirty_has_to_be_compared() -> None:
    world = World()
    stream = Telling(world).synced()
    world.put(*_names(MOST_DIRTY + 1))
    assert stream.teller.news() is Opening.COMPARE
    stream.transfer()
    assert stream.teller.news() is None
    # Where the sum says that nothing has changed, nothing has.
    world.put("more")
    names = _names(MOST_DIRTY + 1, start=10_000)
    world.put(*names)
    world.remove("more", *names)
    assert stream.teller.news() is None


def test_a_change_that_grows_beyond_what_is_known_is_given_up() -> None:
    world = World()
    stream = Telling(world).synced()
    world.put(*_names(PAGE_ITEMS + 1))
    with pytest.raises(RpcError, match="begin again") as caught:
        stream.change(between=lambda: world.put(*_names(MOST_DIRTY + 1, start=10_000)))
    assert caught.value.code is StatusCode.UNAVAILABLE
