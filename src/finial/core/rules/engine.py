"""What a rule is, and how a table of them is walked.

A table is the only place where a clause of its standard is decided. Parsing, verifying and issuing name
their stage and get the part of the table that applies there, so no two lists of checks can drift apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, TypeVar

from finial.core.errors import Finding, Reason

Subject = TypeVar("Subject")


class Stage(Enum):
    """At which point of a document's life a rule is asked."""

    PARSE = "parse"  # read from a file or a socket, not proven yet
    VERIFY = "verify"  # presented by a peer
    ISSUE = "issue"  # about to leave our own authority


EVERYWHERE = frozenset(Stage)
PROOF = frozenset({Stage.VERIFY, Stage.ISSUE})
ISSUING = frozenset({Stage.ISSUE})


@dataclass(frozen=True, slots=True)
class Rule(Generic[Subject]):
    """One rule.

    Args:
        reason: What a breach is reported as; carries the ids of the clauses.
        check: Returns what is wrong with the subject, one line, or the empty string.
        stages: Where the rule is asked.
    """

    reason: Reason
    check: Callable[[Subject], str]
    stages: frozenset[Stage] = EVERYWHERE


@dataclass(frozen=True, slots=True, eq=False)
class Table(Generic[Subject]):
    """The rules of one kind of subject, in the order in which breaches are reported; equal to itself alone.

    Args:
        name: What the rules are about, for listings.
        rules: All of them.
    """

    name: str
    rules: tuple[Rule[Subject], ...]
    _at: dict[Stage, tuple[Rule[Subject], ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        at = {stage: tuple(rule for rule in self.rules if stage in rule.stages) for stage in Stage}
        object.__setattr__(self, "_at", at)

    def findings(self, subject: Subject, stage: Stage, where: str = "") -> list[Finding]:
        """Every rule of this stage that the subject breaks; empty when it breaks none."""
        return [
            Finding(rule.reason, message, where)
            for rule in self._at[stage]
            if (message := rule.check(subject))
        ]

    def first(self, subject: Subject, stage: Stage, where: str = "") -> Finding | None:
        """The first rule of this stage that the subject breaks, or None; the rules after it are not asked."""
        for rule in self._at[stage]:
            if message := rule.check(subject):
                return Finding(rule.reason, message, where)
        return None

    def clauses(self) -> Sequence[str]:
        """Every clause id that a rule of the table cites, sorted."""
        return sorted({clause for rule in self.rules for clause in rule.reason.clauses})
