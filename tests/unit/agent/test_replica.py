"""What an agent holds by push: pages put aside, taken at once, and what they add up to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from finial.agent import replica as of
from finial.agent.entry import AuthorizedEntry
from finial.agent.replica import HeldBundle, HeldEntry, Page, PushError, Replica, Staged, State, Taken
from finial.core.bundle import Bundle
from finial.core.ids import SpiffeID, TrustDomain
from finial.core.selectors import Selector
from finial.core.setdigest import SetDigest
from support.clock import ManualClock
from support.fake_server import FakeServer

OWN = TrustDomain("example.org")
AUTHORITIES = FakeServer(ManualClock()).bundle.x509_authorities
EPOCH = "epoch-1"


def entry(entry_id: str, mark: int = 1, *names: str, useful: bool = True) -> HeldEntry:
    found = AuthorizedEntry(
        id=entry_id,
        spiffe_id=SpiffeID(f"spiffe://example.org/{entry_id}"),
        selectors=frozenset({Selector("unix", "uid:1")}),
        federates_with=tuple(TrustDomain(name) for name in names),
        revision=mark,
    )
    return HeldEntry(entry_id, mark, found if useful else None, names)


def bundle(name: str = "example.org", mark: int = 100, *, readable: bool = True) -> HeldBundle:
    value = Bundle(trust_domain=TrustDomain(name), x509_authorities=AUTHORITIES, sequence=mark)
    return HeldBundle(name, mark, value if readable else None)


def state(
    seq: int, entries: tuple[HeldEntry, ...], bundles: tuple[HeldBundle, ...], epoch: str = EPOCH
) -> State:
    """What a server says that holds just this."""
    found = SetDigest()
    for each in entries:
        found = found.plus(each.mark)
    return State(epoch, seq, found, sum(each.mark for each in bundles))


def staged(*pages: Page) -> Staged:
    found = Staged()
    for page in pages:
        found.add(page)
    return found


def whole(replica: Replica, *entries: HeldEntry, seq: int = 1, bundles: tuple[HeldBundle, ...] = ()) -> Taken:
    """Have the replica hold these, with the own bundle."""
    held = (bundle(), *bundles)
    page = Page(reset=True, entries=entries, bundles=held)
    return replica.take(staged(page), state(seq, entries, held))


def change(replica: Replica, expected: State, **what: Any) -> Taken:
    return replica.take(staged(Page(**what)), expected)


def test_nothing_is_held_at_first() -> None:
    replica = Replica(OWN)
    assert replica.state is None
    assert not replica.entries
    assert list(replica.useful()) == []


def test_a_whole_set_over_several_pages_is_taken_at_once() -> None:
    replica, a, b = Replica(OWN), entry("a", 1), entry("b", 2)
    pages = staged(Page(reset=True, entries=(a,)), Page(entries=(b,)), Page(bundles=(bundle(),)))
    assert not replica.entries
    expected = state(7, (a, b), (bundle(),))
    taken = replica.take(pages, expected)
    assert taken == Taken(whole=True, came=(a.entry, b.entry), own_bundle=True, foreign=True)  # type: ignore[arg-type]
    assert replica.state == expected
    assert replica.own_bundle is not None
    assert replica.own_bundle.trust_domain == OWN
    assert set(replica.entries) == {"a", "b"}


def test_a_difference_is_put_on_top() -> None:
    replica = Replica(OWN)
    a, b, c = entry("a", 1), entry("b", 2), entry("c", 3)
    whole(replica, a, b)
    newer = entry("b", 5)
    expected = state(2, (newer, c), (bundle(),))
    taken = change(replica, expected, entries=(newer, c), gone=("a", "never-held"))
    assert taken == Taken(came=(newer.entry, c.entry), gone=("a",))  # type: ignore[arg-type]
    assert replica.state == expected
    assert [each.id for each in replica.useful()] == ["b", "c"]


def test_a_change_with_nothing_in_it_checks_and_moves_on() -> None:
    replica, a = Replica(OWN), entry("a")
    whole(replica, a)
    assert change(replica, state(9, (a,), (bundle(),))) == Taken()
    assert replica.state is not None
    assert replica.state.seq == 9


def test_a_whole_set_replaces_what_was_held() -> None:
    replica = Replica(OWN)
    whole(replica, entry("a", 1, "b.test"), entry("b", 2), bundles=(bundle("b.test", 3),))
    taken = whole(replica, entry("b", 2), seq=2)
    assert taken.whole
    assert taken.gone == ("a",)
    assert not taken.differs
    assert list(replica.foreign_bundles()) == []


def test_the_later_page_counts() -> None:
    replica = Replica(OWN)
    whole(replica, entry("a", 1), entry("b", 2))
    pages = staged(
        Page(entries=(entry("a", 7), entry("c", 8)), gone=("b",), bundles=(bundle(mark=1),)),
        Page(entries=(entry("b", 9),), gone=("a",), bundles=(bundle(mark=5),)),
        Page(entries=(entry("c", 10),)),
    )
    taken = replica.take(pages, state(2, (entry("b", 9), entry("c", 10)), (bundle(mark=5),)))
    assert not taken.differs
    assert taken.gone == ("a",)
    assert {each.id: each.revision for each in taken.came} == {"b": 9, "c": 10}
    assert replica.own_bundle.sequence == 5


def test_a_reset_forgets_what_the_pages_before_it_said() -> None:
    replica = Replica(OWN)
    pages = staged(Page(entries=(entry("a"),)), Page(reset=True, entries=(entry("b"),), bundles=(bundle(),)))
    assert not replica.take(pages, state(1, (entry("b"),), (bundle(),))).differs
    assert list(replica.entries) == ["b"]


def test_useless_entries_count_and_are_not_told() -> None:
    replica, useless = Replica(OWN), entry("u", 4, "b.test", useful=False)
    taken = whole(replica, entry("a"), useless, bundles=(bundle("b.test", 3),))
    assert not taken.differs
    assert [each.id for each in taken.came] == ["a"]
    assert set(replica.entries) == {"a", "u"}
    now = entry("a", 9, useful=False)
    taken = change(replica, state(2, (now, useless), (bundle(), bundle("b.test", 3))), entries=(now,))
    assert taken == Taken(gone=("a",))  # what was of use is so no longer
    assert not list(replica.useful())


def test_a_foreign_bundle_goes_with_the_last_entry_that_names_it() -> None:
    replica = Replica(OWN)
    a, b = entry("a", 1, "b.test"), entry("b", 2, "b.test")
    foreign = bundle("b.test", 3)
    whole(replica, a, b, bundles=(foreign,))
    taken = change(replica, state(2, (b,), (bundle(), foreign)), gone=("a",))
    assert not taken.foreign
    assert not taken.differs
    taken = change(replica, state(3, (), (bundle(),)), gone=("b",))
    assert taken.foreign
    assert not taken.differs
    assert list(replica.foreign_bundles()) == []


def test_foreign_bundles_come_change_and_go() -> None:
    replica, a = Replica(OWN), entry("a", 1, "b.test", "c.test")
    first, second = bundle("b.test", 3), bundle("c.test", 4, readable=False)
    assert not whole(replica, a, bundles=(first, second)).differs
    assert list(replica.foreign_bundles()) == [first, second]
    newer = bundle("b.test", 6)
    taken = change(replica, state(2, (a,), (bundle(), newer, second)), bundles=(newer,))
    assert taken == Taken(foreign=True)
    taken = change(replica, state(3, (a,), (bundle(), second)), bundles_gone=("b.test", "never.test"))
    assert taken == Taken(foreign=True)
    assert list(replica.foreign_bundles()) == [second]


def test_a_server_that_tells_all_bundles_has_no_others() -> None:
    replica, a = Replica(OWN), entry("a", 1, "b.test", "c.test")
    gone, stays = bundle("b.test", 3), bundle("c.test", 4)
    whole(replica, a, bundles=(gone, stays))
    taken = change(replica, state(2, (a,), (bundle(), stays)), bundles=(bundle(), stays))
    assert taken == Taken(own_bundle=True, foreign=True)
    assert list(replica.foreign_bundles()) == [stays]


@pytest.mark.parametrize(
    ("seen", "differs"),
    [
        (lambda right: right, ""),
        (lambda right: replace(right, entries=right.entries.plus(3)), "1 entries here, 2 there"),
        (lambda right: replace(right, entries=SetDigest(1, 77)), "what 1 entries say"),
        (lambda right: replace(right, bundles=0), "what 1 bundles say"),
        (
            lambda right: replace(right, entries=SetDigest(), bundles=0),
            "1 entries here, 0 there, what 1 bundles say",
        ),
    ],
)
def test_what_is_held_is_compared_with_what_the_server_says(seen: Any, differs: str) -> None:
    replica, a = Replica(OWN), entry("a", 1)
    whole(replica, a)
    right = state(2, (a,), (bundle(),))
    assert change(replica, seen(right)).differs == differs
    assert replica.state == right  # its own sums, and how far the server's log is
    assert replica.own_bundle is not None


def test_a_lower_position_is_taken_with_another_epoch_alone() -> None:
    replica, a = Replica(OWN), entry("a", 1)
    whole(replica, a, seq=10)
    before = replica.state
    with pytest.raises(PushError, match="the server is at 9 of its log, this agent has seen 10"):
        change(replica, state(9, (), (bundle(),)), gone=("a",))
    with pytest.raises(PushError, match="at 9 of its log"):
        whole(replica, seq=9)
    assert replica.state == before
    assert list(replica.entries) == ["a"]
    taken = change(replica, state(3, (a,), (bundle(),), "epoch-2"))
    assert taken == Taken(new_epoch=True)
    assert replica.state == state(3, (a,), (bundle(),), "epoch-2")


@pytest.mark.parametrize(
    "what",
    [
        {"bundles_gone": ("example.org",)},
        {"bundles": (HeldBundle("example.org", 4, Bundle(trust_domain=OWN)),)},
        {"bundles": (HeldBundle("example.org", 4, None),)},
        {"reset": True},
        {"reset": True, "bundles": (bundle("b.test"),)},
    ],
)
def test_the_own_bundle_is_never_lost(what: dict[str, Any]) -> None:
    replica, a = Replica(OWN), entry("a", 1)
    whole(replica, a)
    before, held = replica.state, replica.own_bundle
    with pytest.raises(PushError, match=r"no usable bundle of example\.org"):
        change(replica, state(2, (a,), ()), **what)
    assert replica.state == before
    assert replica.own_bundle is held
    assert list(replica.entries) == ["a"]


def test_a_first_set_without_the_own_bundle_is_refused() -> None:
    with pytest.raises(PushError, match="no usable bundle"):
        change(Replica(OWN), state(1, (), ()), reset=True)


@pytest.mark.parametrize("epoch", ["", "e" * 65])
def test_an_epoch_is_needed(epoch: str) -> None:
    replica = Replica(OWN)
    with pytest.raises(PushError, match="an epoch of"):
        change(replica, state(1, (), (bundle(),), epoch), reset=True, bundles=(bundle(),))


@pytest.mark.parametrize(
    "page",
    [
        Page(entries=(entry("a"), entry("a", 2))),
        Page(entries=(entry("a"),), gone=("a",)),
        Page(gone=("a", "a")),
        Page(bundles=(bundle(), bundle())),
        Page(bundles=(bundle(),), bundles_gone=("example.org",)),
        Page(bundles_gone=("b.test", "b.test")),
    ],
)
def test_a_page_that_names_something_twice_is_refused(page: Page) -> None:
    with pytest.raises(PushError, match="twice"):
        Staged().add(page)


@pytest.mark.parametrize(
    ("bound", "most"),
    [("MOST_PAGES", 3), ("MOST_BYTES", 35), ("MOST_ENTRIES", 3), ("MOST_BUNDLES", 3)],
)
def test_a_change_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch, bound: str, most: int) -> None:
    monkeypatch.setattr(of, bound, most)
    change = Staged()

    def add(number: int) -> None:
        change.add(Page(gone=(f"e{number}",), bundles_gone=(f"d{number}.test",), size=10))

    for number in range(3):
        add(number)
    with pytest.raises(PushError, match="no end"):
        add(3)


def test_many_changes_add_up_to_no_more_than_a_whole_set_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of, "MOST_ENTRIES", 3)
    replica, kept = Replica(OWN), tuple(entry(f"e{number}", number) for number in range(3))
    whole(replica, *kept)
    newer = entry("e1", 9)
    assert change(replica, state(2, (kept[0], newer, kept[2]), (bundle(),)), entries=(newer,)).came
    with pytest.raises(PushError, match="more than 3 entries"):
        change(replica, state(3, kept, (bundle(),)), entries=(entry("e3"),))
    assert len(replica.entries) == 3


def test_what_is_forgotten_is_held_no_longer() -> None:
    replica = Replica(OWN)
    whole(replica, entry("a", 1, "b.test"), bundles=(bundle("b.test", 3),), seq=50)
    replica.forget()
    assert replica.state is None
    assert not whole(replica, entry("b", 2), seq=1).differs  # the position is forgotten too


def test_what_the_server_confirms_is_held_already() -> None:
    replica, a = Replica(OWN), entry("a", 1)
    whole(replica, a, seq=10)

    def seq() -> int:
        assert replica.state is not None
        return replica.state.seq

    told = state(12, (a,), (bundle(),))
    replica.confirm(told)
    assert seq() == 12
    replica.confirm(state(11, (a,), (bundle(),)))
    assert seq() == 12
    replica.confirm(state(99, (a,), (bundle(),), "epoch-0"))  # another call has brought another epoch since
    assert seq() == 12
    empty = Replica(OWN)
    empty.confirm(told)
    assert empty.state is None


def test_states_are_alike_wherever_the_log_stands() -> None:
    a = state(1, (entry("a", 1),), (bundle(),))
    assert a.says_alike(replace(a, seq=9))
    assert not a.says_alike(replace(a, epoch="epoch-2"))
    assert not a.says_alike(replace(a, entries=SetDigest()))
    assert not a.says_alike(replace(a, bundles=5))
