from __future__ import annotations

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from finial.agent import schedule as schedule_module
from finial.agent.schedule import AT_ONCE, Calendar, Schedule
from support.forge import NOW

SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
INSTANTS = st.integers(0, 40).map(lambda half: NOW + SECOND * half / 2)


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.sampled_from("abcdefgh"), INSTANTS),
            st.tuples(st.just("drop"), st.sampled_from("abcdefgh"), INSTANTS),
            st.tuples(st.just("take"), st.integers(1, 3).map(str), INSTANTS),
        ),
        max_size=40,
    )
)
def test_a_calendar_knows_what_comes_first_and_last_and_what_has_come(
    steps: list[tuple[str, str, datetime]],
) -> None:
    plain: dict[str, datetime] = {}
    one = Calendar(lambda key: plain[key])
    for name, key, at in steps:
        if name == "put" and key not in plain:
            plain[key] = at
            one.put(key, at)
        elif name == "drop" and key in plain:
            one.drop(key, plain.pop(key))
        elif name == "take":
            taken = one.take(at, int(key))
            ripe = [each for each in plain if plain[each] <= at]
            assert set(taken) <= set(ripe)
            assert len(taken) == min(len(ripe), int(key))
            for each in taken:
                del plain[each]
        assert one.first() == min(plain.values(), default=None)
        assert one.last() == max(plain.values(), default=None)
    assert len(one._numbers) == len(one._order)


def test_a_calendar_keeps_little_of_what_was_taken_out() -> None:
    one = Calendar(lambda _: NOW)
    for number in range(10_000):
        at = NOW + SECOND * (number % 7)
        one.put("key", at)
        one.drop("key", at)
    assert not one._slots
    assert len(one._order) <= 7


def test_the_first_rank_goes_first_then_the_first_end_then_the_first_key() -> None:
    one = Schedule()
    for key, rank, end in (("d", 2, NOW), ("c", 1, NOW + DAY), ("b", 1, NOW), ("a", 1, NOW)):
        one.put(key, AT_ONCE, rank=rank, end=end)
    one.put("e", NOW + SECOND, rank=0, end=NOW)
    assert one.rank(NOW) == 1
    assert one.next_at() == NOW + SECOND
    assert one.take(NOW, 2, worst=9) == ["a", "b"]
    assert one.take(NOW, 9, worst=1) == ["c"]
    assert one.take(NOW + SECOND, 9, worst=9) == ["e", "d"]
    assert one.rank(NOW + DAY) is None


def test_what_is_said_last_of_a_key_counts() -> None:
    one = Schedule()
    one.put("a", AT_ONCE, rank=3, end=NOW)
    one.put("a", AT_ONCE, rank=1, end=NOW)
    one.put("b", NOW + DAY, rank=0, end=NOW)
    one.put("b", AT_ONCE, rank=2, end=NOW)
    one.put("c", AT_ONCE, rank=0, end=NOW)
    one.put("c", NOW + DAY, rank=0, end=NOW)
    one.put("d", AT_ONCE, rank=0, end=NOW)
    one.drop("d")
    one.drop("nobody")
    assert one.take(NOW, 9, worst=9) == ["a", "b"]
    assert one.next_at() == NOW + DAY


def test_a_clock_that_is_set_back_takes_back_what_was_due() -> None:
    one = Schedule()
    one.put("a", NOW + SECOND, rank=0, end=NOW)
    one.put("b", AT_ONCE, rank=1, end=NOW)
    assert one.rank(NOW + DAY) == 0
    assert one.take(NOW, 9, worst=9) == ["b"]
    assert one.rank(NOW) is None
    assert one.next_at() == NOW + SECOND
    assert one.take(NOW + SECOND, 9, worst=9) == ["a"]


def test_what_is_said_again_and_again_does_not_pile_up() -> None:
    one = Schedule()
    for number in range(10_000):
        one.put("a", AT_ONCE, rank=0, end=NOW + SECOND * number)
        one.put("b", NOW + DAY, rank=0, end=NOW + SECOND * number)
    assert len(one._heap) <= 2 + schedule_module._STALE_AT_LEAST
    assert one.take(NOW + DAY, 9, worst=9) == ["a", "b"]


def test_when_very_many_fall_due_at_once_they_come_in_parts() -> None:
    one, count = Schedule(), schedule_module._MOVED_AT_ONCE + 500
    for number in range(count):
        one.put(f"{number}", NOW, rank=0, end=NOW)
    assert one.rank(NOW) == 0
    assert len(one._due) < count
    assert len(one.take(NOW, 10_000, worst=0)) == count
