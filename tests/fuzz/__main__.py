"""The command: `python -m fuzz --target ids --count 1000000 --seed 1 [--start 5000]`."""

from __future__ import annotations

import argparse
import sys
from time import process_time

from fuzz.run import run
from fuzz.target import targets

STEP = 20_000


def main() -> int:
    """Run one target, or each of them, and say how far it came."""
    known = targets()
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--target", choices=[*known, "all"], default="all")
    parser.add_argument("--count", type=int, default=100_000, help="how many inputs")
    parser.add_argument("--seed", type=int, default=1, help="which sequence of inputs")
    parser.add_argument("--start", type=int, default=0, help="the number of the first input; resumes a run")
    chosen = parser.parse_args()
    for name in known if chosen.target == "all" else [chosen.target]:
        end = chosen.start + chosen.count
        for start in range(chosen.start, end, STEP):
            numbers = range(start, min(start + STEP, end))
            fault = run(known[name], chosen.seed, numbers, clock=process_time)
            if fault is not None:
                again = f"--target {name} --seed {chosen.seed} --start {fault.number} --count 1"
                print(f"{name}: {fault.what}\n  input: {fault.data!r}\n  again: python -m fuzz {again}")
                return 1
            print(f"{name}: seed {chosen.seed}, inputs up to {numbers.stop} of {end} stood", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
