from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from finial.runtime import collector


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


def test_a_start_is_not_interrupted_and_what_goes_on_is_looked_at_as_ever() -> None:
    before = gc.get_threshold()
    collector.rarely()
    assert gc.get_threshold()[0] > 100 * before[0]
    assert gc.isenabled()
    collector.usually()
    assert gc.get_threshold() == before


def test_what_is_there_is_never_looked_at_again() -> None:
    gc.unfreeze()
    collector.keep()
    assert gc.get_freeze_count()
