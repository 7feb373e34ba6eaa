from __future__ import annotations

import pytest

from finial.core.errors import SelectorError
from finial.core.selectors import Selector, SetMatch, canonical, set_matches

ONE, TWO, THREE = (Selector("unix", f"uid:{number}") for number in (1, 2, 3))


def test_a_selector_is_type_and_value() -> None:
    selector = Selector.parse("unix:uid:1000")
    assert (selector.type, selector.value) == ("unix", "uid:1000")
    assert str(selector) == "unix:uid:1000"
    assert Selector.parse("k8s::x").value == ":x"


@pytest.mark.parametrize("text", ["", "unix", "unix:", ":value"])
def test_malformed_text(text: str) -> None:
    with pytest.raises(SelectorError) as caught:
        Selector.parse(text)
    assert caught.value.reason.id == "selector-form"


def test_a_type_has_no_colon_and_both_faults_are_named() -> None:
    with pytest.raises(SelectorError) as caught:
        Selector("a:b", "")
    assert len(caught.value.findings) == 2


def test_canonical_order() -> None:
    other = Selector("docker", "label:x")
    assert canonical([TWO, ONE, other, TWO]) == (other, ONE, TWO)


@pytest.mark.parametrize(
    ("how", "stored", "matches"),
    [
        (SetMatch.EXACT, {ONE, TWO}, True),
        (SetMatch.EXACT, {ONE}, False),
        (SetMatch.SUBSET, {ONE}, True),
        (SetMatch.SUBSET, set(), False),
        (SetMatch.SUBSET, {ONE, THREE}, False),
        (SetMatch.SUPERSET, {ONE, TWO, THREE}, True),
        (SetMatch.SUPERSET, {ONE}, False),
        (SetMatch.ANY, {TWO, THREE}, True),
        (SetMatch.ANY, {THREE}, False),
    ],
)
def test_comparing_sets(how: SetMatch, stored: set[Selector], matches: bool) -> None:
    assert set_matches(frozenset(stored), frozenset({ONE, TWO}), how) is matches


def test_comparing_with_nothing_is_refused() -> None:
    with pytest.raises(SelectorError) as caught:
        set_matches(frozenset({ONE}), frozenset(), SetMatch.ANY)
    assert caught.value.reason.id == "selector-list-empty"
