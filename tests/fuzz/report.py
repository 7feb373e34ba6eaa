"""What has been fuzzed, written down for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from fuzz import counts, seeds
from fuzz.reach import Tracer, reachable
from fuzz.run import corpus_of, input_at, try_one
from fuzz.target import Target

DOCUMENT = Path(__file__).parents[2] / "docs" / "fuzzing.md"
TRACED = 2_000
"""Inputs that are traced for each target, beside the corpus."""

_HEAD = """# What has been fuzzed

Written by `python -m fuzz report` (in `tests`); do not edit. Each parser that reads what strangers send is a
target in `tests/fuzz/targets`: it may accept an input or refuse it with findings on one printable line; any
other exception, a value that does not survive a round trip, and more processor time than its budget are
faults. Three of four inputs are mutated from a corpus, every fourth is generated with the structure that the
parser expects. Input *n* of a seed is always the same, so a run goes on where the last one stopped, and a
fault is had again by its number. What reached a branch that nothing before it did is kept in `seeds/` and
mutated in turn. `make test` runs a few thousand of each, `make soak` many.

| target | what it reads | inputs stood | kept | lines reached |
|---|---|---|---|---|
"""


def write(targets: Mapping[str, Target]) -> int:
    """Write the document; 0."""
    DOCUMENT.write_text(_HEAD + "".join(_rows(targets)), "utf-8")
    print(f"wrote {DOCUMENT.name}")
    return 0


def _rows(targets: Mapping[str, Target]) -> Iterator[str]:
    known = counts.read()
    for name in sorted(targets):
        target = targets[name]
        stood = known.get(name, counts.Count()).stood
        reached, there = _reach(target)
        share = f"{reached} of {there} ({100 * reached // there} %)"
        signed = ", with signatures" if target.verifies else ""
        modules = ", ".join(f"`{each.removeprefix('finial.')}`" for each in target.modules)
        yield f"| {name}{signed} | {modules} | {stood:,} | {len(seeds.read(name))} | {share} |\n"


def _reach(target: Target) -> tuple[int, int]:
    """How many lines of the parser's functions the corpus and some inputs reach, and how many there are."""
    corpus, tracer = corpus_of(target), Tracer(target.modules)
    inputs = [*corpus, *(input_at(target, corpus, (1, number)) for number in range(TRACED))]
    for data in inputs:
        tracer.run(lambda data=data: try_one(target, data, None))  # type: ignore[misc]
    lines = set().union(*(reachable(each) for each in target.modules))
    return len({(file, line) for file, _, line in tracer.arcs} & lines), len(lines)
