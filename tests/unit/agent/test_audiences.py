from __future__ import annotations

from contextlib import ExitStack

from hypothesis import given
from hypothesis import strategies as st

from finial.agent.audiences import Audience, Audiences, Content, View, Watcher
from finial.agent.change import Profile
from finial.core.selectors import Selector
from support.books import entry
from support.forge import B


def of(*values: str) -> frozenset[Selector]:
    return frozenset(Selector("t", each) for each in values)


def test_callers_that_have_gone_are_kept_in_mind_for_a_while_and_not_for_ever() -> None:
    one = Audiences()

    def come(number: int) -> Audience:
        with Watcher(one) as watcher:
            audience = one.join(watcher, of(f"v{number}"))
            if audience.entries is None:
                one.show(audience, (entry(f"e{number}", f"v{number}", federates_with=(B,)),))
            return audience

    with Watcher(one) as staying:
        watched = one.join(staying, of("v0"))
        one.show(watched, (entry("e0", "v0", federates_with=(B,)),))
        kept = come(1)
        assert come(1) is kept
        for number in range(300):
            come(number)
        assert len(one) == 257  # the one that is watched among them
        assert len(one._by_selector) == len(one._by_entry) == len(one._by_domain[B]) == 257
        assert come(1) is not kept
        assert one.concerned(["e0"], [], []) == {watched}
        assert one.concerned([], [], [B]) >= {watched}
    assert one.open == 0


def test_of_what_is_known_of_an_audience_that_is_forgotten_which_shows_what_has_changed() -> None:
    one = Audiences()
    nothing = Content(False, None, complete=True)
    views = {each: View(each, lambda *_: nothing) for each in Profile}
    with Watcher(one) as watcher:
        audience = one.join(watcher, of("a"))
        one.show(audience, (entry("e1", "a"),))
        audience.contents = dict.fromkeys(views.values(), nothing)
        audience.forget({Profile.JWT, Profile.WIT})
        assert list(audience.contents) == [views[Profile.X509]]
        assert one.concerned(["e1"], [], []) == {audience}  # it is told all the same until it looks again
        one.show(audience, ())
        assert not one.concerned(["e1"], [], [])
        assert not one._by_entry


def test_callers_that_do_not_stay_are_kept_in_mind_as_long_as_others() -> None:
    one = Audiences()
    kept = one.visit(of("v0"))
    assert one.visit(of("v0")) is kept
    assert one.open == 0
    for number in range(1, 256):
        one.visit(of(f"v{number}"))
    assert one.visit(of("v0")) is kept  # which makes it the youngest
    one.visit(of("v256"))
    assert one.visit(of("v0")) is kept
    with Watcher(one) as watcher:
        assert one.join(watcher, of("v0")) is kept
        assert one.visit(of("v0")) is kept
        for number in range(300):
            one.visit(of(f"w{number}"))
        assert one.visit(of("v0")) is kept  # somebody stays
    assert len(one) == 256


SELECTORS = st.frozensets(st.sampled_from("abcd"), min_size=1)


@given(callers=st.lists(SELECTORS, min_size=1, max_size=6), came=st.lists(SELECTORS, max_size=3))
def test_whoever_has_all_selectors_of_a_new_entry_is_concerned_and_nobody_else(
    callers: list[frozenset[str]], came: list[frozenset[str]]
) -> None:
    one = Audiences()
    with ExitStack() as stack:
        for values in callers:
            one.join(stack.enter_context(Watcher(one)), of(*values))
        assert len(one) == len(set(callers))
        assert sum(len(each.watchers) for each in one.everyone()) == len(callers) == one.open
        entries = [entry(f"e{number}", *values) for number, values in enumerate(came)]
        found = {each.selectors for each in one.concerned([], entries, [])}
        assert found == {of(*each) for each in callers if any(values <= each for values in came)}
