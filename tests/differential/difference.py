"""What a documented difference is, and how a disagreement is held against them all."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from differential.kinds import Case
from differential.predicates import PREDICATES, Predicate

GO, OURS, BOTH = "go-spiffe", "finial", "both"

_TABLES = ("ids.toml", "bundles.toml", "chains.toml", "tokens.toml", "token_form.toml")


@dataclass(frozen=True)
class Difference:
    """A way in which verdicts may differ.

    Args:
        id: Names it here and in the document.
        kinds: Of the inputs in which it occurs.
        accepts: Who accepts them: `go-spiffe`, `finial`, or both, who then read different things.
        clauses: Ids of requirements and sections of RFCs that decide, or that leave it open.
        what: What differs.
        example: An input.
        right: Who is right, and why the other side is as it is.
        pattern: Found in the words of the side that refuses; where both accept, in the name of what differs.
        also: What else has to hold of the case and of the part of it.
    """

    id: str
    kinds: tuple[str, ...]
    accepts: str
    clauses: tuple[str, ...]
    what: str
    example: str
    right: str
    pattern: re.Pattern[str]
    also: Predicate

    @classmethod
    def read(cls, row: dict[str, Any]) -> Difference:
        """From a row of a table."""
        assert row["accepts"] in {GO, OURS, BOTH}, row["id"]
        what, right, example = (" ".join(row[name].split()) for name in ("what", "right", "example"))
        return cls(
            id=row["id"],
            kinds=tuple(row["kinds"]),
            accepts=row["accepts"],
            clauses=tuple(row["clauses"]),
            what=what,
            example=example,
            right=right,
            pattern=re.compile(row["pattern"]),
            also=PREDICATES[row.get("also", "always")],
        )

    def explains(self, case: Case, part: str) -> bool:
        """Whether a part of a disagreement is of this class."""
        return (
            case.kind in self.kinds
            and self.accepts == accepted_by(case)
            and self.pattern.search(part) is not None
            and self.also(case, part)
        )


def _read_all() -> tuple[Difference, ...]:
    tables = Path(__file__).with_name("tables")
    rows = [
        row for name in _TABLES for row in tomllib.loads((tables / name).read_text("utf-8"))["difference"]
    ]
    assert len({row["id"] for row in rows}) == len(rows), "two differences have one id"
    return tuple(map(Difference.read, rows))


DIFFERENCES = _read_all()
"""All of them; docs/differences.md is written from them."""


def accepted_by(case: Case) -> str:
    """Who accepts the input of a disagreement."""
    if case.ours.found is None:
        return GO
    return OURS if case.theirs.found is None else BOTH


def parts(case: Case) -> tuple[str, ...]:
    """Everything in a disagreement that has to be explained.

    Every reason of the side that refuses; where both accept, the name of everything that they read
    differently, followed by the key where it is read by key.
    """
    if case.ours.found is None:
        return case.ours.why
    if case.theirs.found is None:
        return case.theirs.why
    ours, theirs = case.ours.found, case.theirs.found
    found: list[str] = []
    for name in sorted(case.differing):
        mine, other = ours[name], theirs[name]
        if isinstance(mine, dict) and isinstance(other, dict):
            keys = sorted(mine.keys() | other.keys())
            found += [f"{name} {key}" for key in keys if mine.get(key) != other.get(key)]
        else:
            found.append(name)
    return tuple(found)


def explain(case: Case) -> tuple[set[str], list[str]]:
    """The ids of the classes that a disagreement is of, and the parts of it that are of none."""
    seen: set[str] = set()
    unexplained: list[str] = []
    for part in parts(case):
        matching = {each.id for each in DIFFERENCES if each.explains(case, part)}
        seen |= matching
        if not matching:
            unexplained.append(part)
    return seen, unexplained
