"""What has been fuzzed, written down for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fuzz import counts, seeds
from fuzz.reach import Tracer, reachable
from fuzz.run import corpus_of, input_at, try_one
from fuzz.target import Target

DOCUMENT = Path(__file__).parents[2] / "docs" / "fuzzing.md"
TRACED = 2_000
"""Inputs that are traced for each target, beside the corpus."""

_HEAD = """# What has been fuzzed

Written by `python -m fuzz report` (in `tests`); do not edit.

Each parser that reads what strangers send is a target in `tests/fuzz/targets`. It may accept an input, or
refuse it with its own class of error, whose findings stand on printable lines and never quote a token or a
private key. These are faults: any other exception or a warning, an accepted value that does not survive a
round trip or that an independent reader understands differently, a token or a chain that proves what nobody
signed, and more processor time than the target's budget.

Three of four inputs are mutated from a corpus, every fourth is generated with the structure that the parser
expects. Input *n* of a seed is the same in each process, so a run goes on where the last one stopped
(`tests/fuzz/counts.json`), and a fault is had again by its number. An input that reaches a branch which
nothing before it did is kept in `tests/fuzz/seeds/` and mutated in turn.

    cd tests
    python -m fuzz run --until 1000000    # until each target has stood so many; with signatures a tenth
    python -m fuzz run --target ids --count 100000
    python -m fuzz grow --target ids      # look for inputs that reach more, and keep them
    python -m fuzz report                 # write this page

`make test` runs a few thousand inputs of each target and everything that was kept; `make soak` runs many.

## Inputs and reach

*Lines reached* counts, of the lines in the functions that read in the modules named, those that the corpus
and 2,000 inputs reach; functions that write, sign or issue are left out.

| target | what it reads | inputs stood | kept | lines reached |
|---|---|---|---|---|
"""
_MISSED = """
## What is not reached

Lines that none of these inputs gets to. Most are written against what the code before them already rules out,
or against sizes that no input has.

| target | function | lines |
|---|---|---|
"""


@dataclass(frozen=True)
class Reach:
    """How much of a parser is reached.

    Args:
        lines: How many there are.
        missed: How many are not reached, by the functions that they stand in.
    """

    lines: int
    missed: Mapping[str, int]


def write(targets: Mapping[str, Target]) -> int:
    """Write the document; 0."""
    reach = {name: _reach(targets[name]) for name in sorted(targets)}
    rows = "".join(_row(targets[name], found) for name, found in reach.items())
    missed = "".join(
        f"| {name} | `{function.removeprefix('finial.')}` | {count} |\n"
        for name, found in reach.items()
        for function, count in sorted(found.missed.items())
    )
    DOCUMENT.write_text(_HEAD + rows + _MISSED + missed, "utf-8")
    print(f"wrote {DOCUMENT.name}")
    return 0


def _row(target: Target, reach: Reach) -> str:
    stood = counts.read().get(target.name, counts.Count()).stood
    reached = reach.lines - sum(reach.missed.values())
    share = f"{reached} of {reach.lines} ({100 * reached // reach.lines} %)"
    signed = ", with signatures" if target.verifies else ""
    modules = ", ".join(f"`{each.removeprefix('finial.')}`" for each in target.modules)
    return f"| {target.name}{signed} | {modules} | {stood:,} | {len(seeds.read(target.name))} | {share} |\n"


def _reach(target: Target) -> Reach:
    """What the corpus and some inputs reach."""
    corpus, tracer = corpus_of(target), Tracer(target.modules)
    inputs = [*corpus, *(input_at(target, corpus, (1, number)) for number in range(TRACED))]
    for data in inputs:
        tracer.run(lambda data=data: try_one(target, data, None))  # type: ignore[misc]
    reached = {(file, line) for file, _, line in tracer.arcs}
    lines = reachable(target.modules, target.omits)
    missed = {function: len(its - reached) for function, its in lines.items() if its - reached}
    return Reach(sum(map(len, lines.values())), missed)
