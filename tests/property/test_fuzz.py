"""A small, fixed part of what `python -m fuzz` does, so that each run of the tests fuzzes a little."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from finial.core import base64url
from fuzz import counts, seeds
from fuzz.counts import Count
from fuzz.reach import reachable
from fuzz.run import Fault, grow, input_at, run, try_one
from fuzz.target import Target, targets

COUNTS = {
    "addresses": 8000,
    "bundle_maps": 4000,
    "bundles": 4000,
    "certificates": 4000,
    "chains": 1500,
    "claims": 6000,
    "entries": 6000,
    "federation": 6000,
    "fields": 4000,
    "frames": 3000,
    "headers": 10000,
    "ids": 10000,
    "jwt_validation": 2000,
    "kept_bundles": 1500,
    "keys": 2000,
    "messages": 6000,
    "objects": 8000,
    "pem": 6000,
    "pushes": 4000,
    "references": 8000,
    "requests": 4000,
    "responses": 4000,
    "settings": 1200,
    "tokens": 6000,
    "wit_validation": 2000,
    "wits": 6000,
}
TARGETS = targets()
FOLDER = Path(__file__).parents[1]


def test_every_target_has_its_run() -> None:
    assert set(COUNTS) == set(TARGETS)


@pytest.mark.parametrize("name", COUNTS)
def test_a_few_thousand_inputs(name: str) -> None:
    fault = run(TARGETS[name], 1, range(COUNTS[name]))
    assert fault is None, (
        f"{fault.what}; again: python -m fuzz run --target {name} --seed 1 --start {fault.number} --count 1"
    )


@pytest.mark.parametrize("name", COUNTS)
def test_what_was_kept_is_stood(name: str) -> None:
    for data in (*TARGETS[name].corpus(), *seeds.read(name)):
        assert try_one(TARGETS[name], data, None) == ""


def test_an_input_is_the_same_in_each_process() -> None:
    code = "from property.test_fuzz import inputs; print(*inputs(), sep='\\n')"
    there = subprocess.run(
        [sys.executable, "-c", code], cwd=FOLDER, capture_output=True, check=True, text=True
    )
    assert there.stdout.splitlines() == inputs()


def inputs() -> list[str]:
    """The first inputs of each target, shortened to be compared."""
    return [
        f"{name} {seeds.digest([input_at(target, target.corpus(), (1, number)) for number in range(40)])}"
        for name, target in TARGETS.items()
    ]


def test_what_is_left_out_has_to_be_there() -> None:
    some = reachable(["finial.core.base64url"], ["encode_number"])
    assert "finial.core.base64url.decode" in some
    assert "finial.core.base64url.encode_number" not in some
    with pytest.raises(AssertionError, match="no_such"):
        reachable(["finial.core.base64url"], ["no_such"])
    for target in TARGETS.values():
        assert reachable(target.modules, target.omits)


def test_what_reaches_a_branch_of_its_own_is_kept() -> None:
    target = replace(planted(lambda data: None), check=_branches, modules=("finial.core.base64url",))
    found = grow(target, 1, range(200))
    assert isinstance(found, list)
    assert 1 <= len(found) < 20
    assert [len(each) for each in found] == sorted(len(each) for each in found)
    fault = grow(replace(target, check=_stumbles), 1, range(200))
    assert isinstance(fault, Fault)
    assert "ValueError" in fault.what


def test_an_input_that_is_kept_comes_back() -> None:
    with TemporaryDirectory() as folder:
        seeds.write("planted", [b"\x00\xff", b""], Path(folder))
        assert seeds.read("planted", Path(folder)) == [b"\x00\xff", b""]
        assert seeds.read("other", Path(folder)) == []
    assert seeds.digest([b"ab", b"c"]) != seeds.digest([b"a", b"bc"])


def test_counting_goes_on_until_the_corpus_is_another() -> None:
    count = Count().on("one").after(10)
    assert count.on("one").after(5) == Count(1, "one", 15, 15)
    assert count.on("two").after(5) == Count(2, "two", 5, 15)
    with TemporaryDirectory() as folder:
        path = Path(folder, "counts.json")
        assert counts.read(path) == {}
        counts.write({"planted": count}, path)
        assert counts.read(path) == {"planted": count}


def _branches(data: bytes) -> None:
    with suppress(ValueError):
        base64url.decode(data.decode("latin-1"))


def _stumbles(data: bytes) -> None:
    base64url.decode(data.decode("latin-1"))


def planted(check: Callable[[bytes], None]) -> Target:
    return Target("planted", lambda: [b"abc"], check, lambda source: source.randbytes(4), budget_s=1)


def test_a_planted_fault_is_found_and_found_again_by_its_number() -> None:
    def check(data: bytes) -> None:
        assert b"z" not in data

    fault = run(planted(check), 3, range(20_000))
    assert fault is not None
    assert "AssertionError" in fault.what
    again = run(planted(check), 3, range(fault.number, fault.number + 1))
    assert again == fault


def test_slowness_counts_only_when_it_lasts() -> None:
    clock = Ticks([0, 5, 5, 5.1])
    assert try_one(planted(lambda data: None), b"x", clock) == ""
    clock = Ticks([0, 5, 5, 10, 10, 15])
    assert "processor time" in try_one(planted(lambda data: None), b"x", clock)


def test_an_interrupt_is_no_fault() -> None:
    def check(data: bytes) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        try_one(planted(check), b"x", None)


class Ticks:
    """A clock that shows what it is told."""

    def __init__(self, instants: list[float]) -> None:
        self.instants = iter(instants)

    def __call__(self) -> float:
        return next(self.instants)
