from __future__ import annotations

from contextlib import ExitStack

from hypothesis import given
from hypothesis import strategies as st

from finial.agent.audiences import Audience, Audiences, Content, Watcher
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


def test_what_is_known_of_an_audience_is_forgotten_when_something_changes() -> None:
    one = Audiences()
    with Watcher(one) as watcher:
        audience = one.join(watcher, of("a"))
        one.show(audience, (entry("e1", "a"),))
        audience.svids = audience.bundles = Content(False, None, complete=True)
        audience.forget()
        assert not any([audience.entries, audience.svids, audience.bundles])
        assert one.concerned(["e1"], [], []) == {audience}  # it is told all the same until it looks again
        one.show(audience, ())
        assert not one.concerned(["e1"], [], [])
        assert not one._by_entry


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
