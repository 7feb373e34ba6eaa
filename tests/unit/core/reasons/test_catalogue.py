from __future__ import annotations

import importlib
import pkgutil
import re
from types import ModuleType

import pytest

import finial.core
from finial.core.errors import Kind, Reason
from finial.core.reasons import CATALOGUE, collect


def modules() -> list[ModuleType]:
    found = pkgutil.walk_packages(finial.core.__path__, "finial.core.")
    return [importlib.import_module(module.name) for module in found]


def test_every_reason_of_the_core_is_in_the_catalogue() -> None:
    used = {value.id for module in modules() for value in vars(module).values() if isinstance(value, Reason)}
    assert used == set(CATALOGUE)


def test_every_reason_is_used() -> None:
    names = {
        name: value.id
        for module in modules()
        if module.__name__.startswith("finial.core.reasons.")
        for name, value in vars(module).items()
        if isinstance(value, Reason)
    }
    sources = "".join(
        importlib.util.find_spec(module.__name__).loader.get_source(module.__name__)  # type: ignore[union-attr]
        for module in modules()
        if ".reasons" not in module.__name__
    )
    unused = sorted(name for name in names if not re.search(rf"\b{name}\b", sources))
    assert unused == []


@pytest.mark.parametrize("reason", CATALOGUE.values(), ids=lambda reason: reason.id)
def test_a_reason_is_fit_to_be_looked_up(reason: Reason) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", reason.id)
    assert reason.kind in Kind
    assert reason.hint or reason.meaning, f"{reason.id} needs a hint or a meaning"
    for sentence in (reason.hint, reason.meaning):
        assert not sentence or (sentence[0].isupper() and sentence.endswith("."))
    clause = r"(ID|X509|BUNDLE|JWT|WIT|FED|BROKER|EP|WAPI)-\d{2}"
    assert all(re.fullmatch(clause, each) for each in reason.clauses)


def test_an_id_cannot_be_used_twice() -> None:
    first, second = ModuleType("first"), ModuleType("second")
    first.ONE = Reason("same-id", Kind.INVALID)  # type: ignore[attr-defined]
    second.TWO = Reason("same-id", Kind.LIMIT)  # type: ignore[attr-defined]
    assert list(collect([first, first])) == ["same-id"]
    with pytest.raises(ValueError, match="same-id"):
        collect([first, second])
