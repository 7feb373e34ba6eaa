"""What a fuzz target is. A new one is a file in `fuzz/targets/` that defines `TARGET`."""

from __future__ import annotations

import importlib
import pkgutil
import random  # noqa: TID251 - seeded
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import fuzz.targets
from finial.core.errors import RefusedError


@dataclass(frozen=True)
class Target:
    """One parser under test.

    Args:
        name: What `--target` calls it.
        corpus: Makes the inputs that mutation begins with; called once per run.
        check: Feeds one input to the parser. It returns when the parser accepted or refused properly, and
            raises whatever else happened: any exception that comes out is a finding.
        generate: Makes one input with the structure that the parser expects, for what mutation never reaches.
        modules: The parser, for saying how much of it is reached.
        verifies: Whether it checks signatures, each of which takes as long as reading a hundred inputs.
        budget_s: Seconds of processor time allowed for any input.
        budget_s_per_kib: Seconds allowed on top for each KiB of input.
    """

    name: str
    corpus: Callable[[], Sequence[bytes]]
    check: Callable[[bytes], None]
    generate: Callable[[random.Random], bytes]
    modules: tuple[str, ...] = ()
    verifies: bool = False
    budget_s: float = 0.05
    budget_s_per_kib: float = 0.002


def refused_well(error: RefusedError) -> None:
    """Assert that a refusal says what it has to say, on one line fit for a terminal."""
    assert error.findings
    assert str(error).isprintable()


def targets() -> dict[str, Target]:
    """Every target there is, by name."""
    found: dict[str, Target] = {}
    for module in pkgutil.iter_modules(fuzz.targets.__path__, "fuzz.targets."):
        target: Target = importlib.import_module(module.name).TARGET
        assert target.modules, f"fuzz target {target.name} does not say which modules it tests"
        assert target.name not in found, f"two fuzz targets are called {target.name}"
        found[target.name] = target
    return found
