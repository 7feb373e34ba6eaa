"""What has ended follows the clock, forwards and backwards, and stale items do not pile up."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from finial.server.index.endings import Endings

_NAMES = st.sampled_from(["a", "b", "c"])
_put = st.tuples(_NAMES, st.integers(0, 6))
_steps = st.lists(_put | _NAMES | st.integers(1, 8), max_size=60)


@settings(deadline=None, max_examples=300)
@given(_steps)
def test_any_history_gives_what_the_definition_says(steps: list[tuple[str, int] | str | int]) -> None:
    endings, at, now = Endings(), dict[str, int](), 0
    ended: set[str] = set()
    for step in steps:
        match step:
            case str(name):
                endings.drop(name)
                at.pop(name, None)
                ended.discard(name)
            case int(now):
                gone, back = endings.look(now)
                expected = {name for name, end in at.items() if 0 < end <= now}
                assert sorted(gone) == sorted(expected - ended)
                assert sorted(back) == sorted(ended - expected)
                ended = expected
            case name, end:
                at[name] = end
                has_ended = 0 < end <= now
                assert endings.put(name, end) == has_ended
                ended = ended | {name} if has_ended else ended - {name}
        assert endings.ended == ended
        coming = [end for name, end in at.items() if end and name not in ended]
        assert endings.next() == min(coming, default=None)


def test_ends_that_are_put_off_again_and_again_do_not_pile_up() -> None:
    endings = Endings()
    for number in range(10_000):
        endings.put("web", 1_000_000 + number)
    assert len(endings._coming) < 100
    endings.look(2_000_000)
    for number in range(10_000):
        endings.put("web", 1_000_000 + number)
    assert len(endings._past) < 100
    assert endings.ended == {"web"}
    assert endings.look(999_999) == ([], ["web"])
