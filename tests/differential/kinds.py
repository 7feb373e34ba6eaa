"""What is compared: inputs of five kinds, our verdicts on them, and what two verdicts have to agree on."""

from __future__ import annotations

import base64
import random  # noqa: TID251 - seeded
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from finial.core.errors import Finding, RefusedError

Question = Mapping[str, Any]
Found = dict[str, object]


@dataclass(frozen=True)
class Verdict:
    """What one side makes of an input.

    Args:
        found: What it read in it; None when it refuses.
        why: Why it refuses, each reason in words; ours begin with the id of the reason. Ours also says why it
            passed over parts of an input that it accepted.
    """

    found: Found | None
    why: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """An input with both verdicts.

    Args:
        kind: Which kind of input.
        number: Which of its seed.
        question: The input, as go-spiffe is asked about it.
        ours: Our verdict.
        theirs: That of go-spiffe.
    """

    kind: str
    number: int
    question: Question
    ours: Verdict
    theirs: Verdict

    @property
    def agreed(self) -> bool:
        """Whether both refuse, or both read the same."""
        return self.ours.found == self.theirs.found

    @property
    def differing(self) -> frozenset[str]:
        """In what two verdicts differ that both accept."""
        ours, theirs = self.ours.found or {}, self.theirs.found or {}
        return frozenset(name for name in ours if ours[name] != theirs[name])


@dataclass(frozen=True)
class Kind:
    """One kind of input.

    Args:
        name: How it is called, also as a question.
        draw: Makes an input; sound, nearly sound or nonsense.
        judge: Our verdict on it.
        read: What in an accepting answer of go-spiffe has to be as we read it.
    """

    name: str
    draw: Callable[[random.Random, datetime], Question]
    judge: Callable[[Question, datetime], Verdict]
    read: Callable[[Mapping[str, Any]], Found]


def refused(error: RefusedError) -> Verdict:
    """Our verdict, from the error."""
    return Verdict(None, words(error.findings))


def words(findings: Iterable[Finding]) -> tuple[str, ...]:
    """Reasons with their ids."""
    return tuple(f"{each.reason.id}: {each}" for each in findings)


def theirs(kind: Kind, answer: Mapping[str, Any]) -> Verdict:
    """Their verdict, from the answer."""
    if answer["ok"]:
        return Verdict(kind.read(answer))
    return Verdict(None, (str(answer["why"]),))


def data(text: str) -> bytes:
    """The bytes of a text in base64."""
    return base64.b64decode(text)
