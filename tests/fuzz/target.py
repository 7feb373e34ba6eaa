"""What a fuzz target is. A new one is a file in `fuzz/targets/` that defines `TARGET`."""

from __future__ import annotations

import importlib
import pkgutil
import random  # noqa: TID251 - seeded
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import fuzz.targets
from finial.core.errors import RefusedError
from finial.rpc.status import RpcError, StatusCode

_SHORT = 12


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
        omits: Functions and classes of these modules that have nothing to do with what the target reads, by
            their names: those that write or issue, and what another target reads.
        verifies: Whether it checks signatures, each of which takes as long as reading a hundred inputs.
        budget_s: Seconds of processor time allowed for any input.
        budget_s_per_kib: Seconds allowed on top for each KiB of input.
    """

    name: str
    corpus: Callable[[], Sequence[bytes]]
    check: Callable[[bytes], None]
    generate: Callable[[random.Random], bytes]
    modules: tuple[str, ...] = ()
    omits: tuple[str, ...] = ()
    verifies: bool = False
    budget_s: float = 0.05
    budget_s_per_kib: float = 0.002


def refused_well(error: RefusedError, *secrets: str) -> None:
    """Assert that a refusal says what it has to say, on lines fit for a terminal, and keeps what is secret.

    Args:
        error: What was raised.
        secrets: What must not stand in it; those of few characters may do so by chance.
    """
    assert error.findings
    said = [str(error), error.subject, repr(error), *map(str, error.findings)]
    assert all(each.isprintable() for each in said)
    assert not any(secret in each for secret in secrets if len(secret) > _SHORT for each in said)


def settled(error: RpcError, *codes: StatusCode) -> None:
    """Assert that a refusal of a call has one of these codes, and a text fit for a terminal."""
    assert error.code in codes
    assert error.message
    assert error.message.isprintable()


def targets() -> dict[str, Target]:
    """Every target there is, by name."""
    found: dict[str, Target] = {}
    for module in pkgutil.iter_modules(fuzz.targets.__path__, "fuzz.targets."):
        target: Target = importlib.import_module(module.name).TARGET
        assert target.modules, f"fuzz target {target.name} does not say which modules it tests"
        assert target.name not in found, f"two fuzz targets are called {target.name}"
        found[target.name] = target
    return found
