"""Running a target: input n of a seed is the same in each run, so a run can go on where one stopped."""

from __future__ import annotations

import itertools
import random  # noqa: TID251 - seeded
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from fuzz import seeds
from fuzz.mutate import mutated
from fuzz.reach import Arc, Tracer
from fuzz.target import Target

Clock = Callable[[], float]

LONGEST_KEPT = 8 << 10
"""Bytes of an input that is kept: what it takes a long one to reach, a generator has to make."""


@dataclass(frozen=True)
class Fault:
    """An input that a target did not stand.

    Args:
        number: Which input of the seed.
        data: The input.
        what: What happened, one line.
    """

    number: int
    data: bytes
    what: str


def corpus_of(target: Target) -> list[bytes]:
    """What mutation begins with: the target's own inputs, then those that were kept."""
    return [*target.corpus(), *seeds.read(target.name)]


def input_at(target: Target, corpus: Sequence[bytes], key: tuple[int, int]) -> bytes:
    """An input by seed and number.

    Args:
        target: For its generator, which makes every fourth input.
        corpus: What the others are mutated from.
        key: Seed and number.
    """
    seed, number = key
    source = random.Random(f"{target.name} {seed} {number}")
    return target.generate(source) if number % 4 == 0 else mutated(source, corpus)


def try_one(target: Target, data: bytes, clock: Clock | None) -> str:
    """What an input does wrong, one line; empty when it is handled as it should be.

    Args:
        target: The parser.
        data: The input.
        clock: Seconds of processor time; without it no budget is held.
    """
    begin = clock() if clock else 0.0
    try:
        target.check(data)
    except BaseException as caught:
        if isinstance(caught, KeyboardInterrupt):
            raise
        return f"{type(caught).__module__}.{type(caught).__name__}: {caught}"
    if clock is None:
        return ""
    budget = target.budget_s + target.budget_s_per_kib * len(data) / 1024
    took = clock() - begin
    # Asked again before it counts: the first time may have paid for something else, such as freeing memory.
    for _ in range(2):
        if took <= budget:
            return ""
        begin = clock()
        target.check(data)
        took = min(took, clock() - begin)
    return f"took {took:.3f} s of processor time, {budget:.3f} s are allowed for {len(data)} bytes"


def run(
    target: Target, seed: int, numbers: range, *, clock: Clock | None = None, corpus: Sequence[bytes] = ()
) -> Fault | None:
    """The first fault among some inputs, or None.

    Args:
        target: The parser.
        seed: Which sequence of inputs.
        numbers: Which of its inputs.
        clock: See `try_one`.
        corpus: Of `corpus_of`, where it is at hand.
    """
    corpus = corpus or corpus_of(target)
    for number in numbers:
        data = input_at(target, corpus, (seed, number))
        what = try_one(target, data, clock)
        if what:
            return Fault(number, data, what)
    return None


def grow(target: Target, seed: int, numbers: range) -> list[bytes] | Fault:
    """The inputs to be kept: those so far that still reach something of their own, and new ones that do.

    Of inputs that reach the same the shortest is kept, and none that is long.

    Args:
        target: The parser.
        seed: Which sequence of inputs.
        numbers: Which of its inputs to try; each runs several times slower than otherwise.
    """
    own = target.corpus()
    reached = [_reached(target, data)[0] for data in own]
    known = set[Arc]().union(*reached)
    kept: list[tuple[bytes, set[Arc]]] = []
    inputs = itertools.chain(
        seeds.read(target.name),
        (input_at(target, [*own, *(data for data, _ in kept)], (seed, number)) for number in numbers),
    )
    for at, data in enumerate(inputs):
        arcs, what = _reached(target, data)
        if what:
            return Fault(at, data, what)
        if len(data) > LONGEST_KEPT:
            continue
        if not arcs <= known or any(len(data) < len(other) and arcs >= its for other, its in kept):
            kept.append((data, arcs))
            known |= arcs
    return _fewest(kept, set[Arc]().union(*reached))


def _reached(target: Target, data: bytes) -> tuple[set[Arc], str]:
    """What an input reaches, and what is wrong with it."""
    tracer, what = Tracer(target.modules), [""]

    def work() -> None:
        what[0] = try_one(target, data, None)

    tracer.run(work)
    return tracer.arcs, what[0]


def _fewest(kept: Iterable[tuple[bytes, set[Arc]]], known: set[Arc]) -> list[bytes]:
    """Inputs of which each reaches something that shorter ones do not."""
    chosen = []
    for data, arcs in sorted(kept, key=lambda each: (len(each[0]), each[0])):
        if not arcs <= known:
            chosen.append(data)
            known |= arcs
    return chosen
