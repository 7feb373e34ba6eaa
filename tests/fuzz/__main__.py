"""The commands: `python -m fuzz run|grow|report`.

run     Inputs by their numbers; goes on where the last run stopped, unless --start says where to begin.
grow    Fewer inputs, each traced: what reaches a branch that nothing has reached is kept in seeds/.
report  Writes docs/fuzzing.md: how many inputs each parser has stood, and how much of it they reach.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from time import process_time

from fuzz import counts, seeds
from fuzz.report import write
from fuzz.run import Fault, corpus_of, grow, run
from fuzz.target import Target, targets

STEP = 20_000


def main() -> int:
    """Do what the arguments say."""
    warnings.simplefilter("error")  # what a stranger sends is no reason to warn either
    known = targets()
    parser = argparse.ArgumentParser(
        prog="python -m fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["run", "grow", "report"])
    parser.add_argument("--target", choices=[*known, "all"], default="all")
    parser.add_argument("--count", type=int, help="how many inputs; 100,000, or 20,000 to grow")
    parser.add_argument(
        "--until", type=int, help="run only until the target has stood so many in all; a tenth for signatures"
    )
    parser.add_argument("--seed", type=int, default=1, help="which sequence of inputs, with --start")
    parser.add_argument("--start", type=int, help="the number of the first input; nothing is counted then")
    chosen = parser.parse_args()
    if chosen.command == "report":
        return write(known)
    for name in known if chosen.target == "all" else [chosen.target]:
        if chosen.command == "grow":
            code = _grow(known[name], chosen.seed, chosen.count or 20_000)
        elif chosen.start is not None:
            end = chosen.start + (chosen.count or 100_000)
            code = _told(known[name], chosen.seed, _steps(known[name], chosen.seed, range(chosen.start, end)))
        else:
            code = _run(known[name], chosen.count or 100_000, chosen.until)
        if code:
            return code
    return 0


def _steps(target: Target, seed: int, numbers: range) -> Fault | None:
    return run(target, seed, numbers, clock=process_time)


def _run(target: Target, inputs: int, until: int | None) -> int:
    """Go on with a target, and count."""
    corpus = corpus_of(target)
    count = counts.read().get(target.name, counts.Count()).on(seeds.digest(corpus))
    if until is not None:
        inputs = max(0, (until // 10 if target.verifies else until) - count.stood)
    end = count.next + inputs
    while count.next < end:
        numbers = range(count.next, min(count.next + STEP, end))
        fault = run(target, count.seed, numbers, clock=process_time, corpus=corpus)
        if fault is not None:
            return _told(target, count.seed, fault)
        count = count.after(len(numbers))
        counts.write({**counts.read(), target.name: count})
        print(f"{target.name}: seed {count.seed}, {count.next} of {end}; {count.stood} in all", flush=True)
    return 0


def _grow(target: Target, seed: int, inputs: int) -> int:
    """Keep what reaches more."""
    before = len(seeds.read(target.name))
    found = grow(target, seed, range(inputs))
    if isinstance(found, Fault):
        print(f"{target.name}: {found.what}\n  input: {found.data!r}")
        return 1
    seeds.write(target.name, found)
    print(f"{target.name}: {len(found)} inputs kept, {before} before", flush=True)
    return 0


def _told(target: Target, seed: int, fault: Fault | None) -> int:
    if fault is None:
        print(f"{target.name}: stood", flush=True)
        return 0
    again = f"run --target {target.name} --seed {seed} --start {fault.number} --count 1"
    print(f"{target.name}: {fault.what}\n  input: {fault.data!r}\n  again: python -m fuzz {again}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
