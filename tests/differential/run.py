"""Asking go-spiffe and ourselves about the same inputs."""

from __future__ import annotations

import random  # noqa: TID251 - seeded
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from differential import bundles, chains, ids, tokens
from differential.difference import DIFFERENCES, explain
from differential.kinds import Case, Kind, theirs
from finial.runtime.clock import SystemClock
from support.judge import Judge

KINDS = {kind.name: kind for kind in (ids.KIND, bundles.KIND, chains.KIND, tokens.JWT, tokens.WIT)}
"""By name."""

_BATCH = 100  # questions in one line


@dataclass
class Tally:
    """What came of a run.

    Args:
        accepted: Inputs that both read alike.
        refused: Inputs that both refuse.
        classes: How often each documented difference was seen.
        unexplained: Cases with the parts that are of no documented difference.
    """

    accepted: int = 0
    refused: int = 0
    classes: Counter[str] = field(default_factory=Counter)
    unexplained: list[tuple[Case, list[str]]] = field(default_factory=list)

    def add(self, case: Case) -> None:
        """Count a case."""
        if case.agreed:
            self.refused += case.ours.found is None
            self.accepted += case.ours.found is not None
            return
        seen, unexplained = explain(case)
        self.classes.update(seen)
        if unexplained:
            self.unexplained.append((case, unexplained))

    def never_seen(self, kind: str) -> list[str]:
        """The documented differences in inputs of a kind that did not occur."""
        return [each.id for each in DIFFERENCES if kind in each.kinds and not self.classes[each.id]]


async def cases(judge: Judge, kind: Kind, seed: int, numbers: range) -> AsyncIterator[Case]:
    """Inputs with both verdicts.

    Args:
        judge: go-spiffe.
        kind: Of the inputs.
        seed: Which sequence of them.
        numbers: Which of its inputs.
    """
    for start in range(numbers.start, numbers.stop, _BATCH):
        some = range(start, min(start + _BATCH, numbers.stop))
        now = SystemClock().now()  # for tokens go-spiffe looks at its own clock
        questions = [kind.draw(random.Random(f"{kind.name} {seed} {number}"), now) for number in some]
        answers = await judge.ask_all(questions)
        for number, asked, answer in zip(some, questions, answers, strict=True):
            yield Case(kind.name, number, asked, kind.judge(asked, now), theirs(kind, answer))
