"""A small, fixed part of what `python -m fuzz` does, so that each run of the tests fuzzes a little."""

from __future__ import annotations

import pytest

from fuzz.run import run
from fuzz.target import targets

COUNTS = {"ids": 8000, "certificates": 2000, "chains": 1500, "bundles": 2000}
TARGETS = targets()


@pytest.mark.parametrize("name", COUNTS)
def test_a_few_thousand_inputs(name: str) -> None:
    fault = run(TARGETS[name], 1, range(COUNTS[name]))
    assert fault is None, (
        f"{fault.what}; again: python -m fuzz --target {name} --seed 1 --start {fault.number} --count 1"
    )
