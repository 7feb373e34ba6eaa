from __future__ import annotations

from finial.core.errors import Kind, Reason
from finial.core.rules.engine import ISSUING, PROOF, Rule, Stage, Table

ODD = Reason("number-odd", Kind.INVALID, ("T-2", "T-1"))
BIG = Reason("number-big", Kind.LIMIT, ("T-2",))
NEGATIVE = Reason("number-negative", Kind.INVALID)
TABLE: Table[int] = Table(
    "numbers",
    (
        Rule(ODD, lambda number: "odd" if number % 2 else ""),
        Rule(BIG, lambda number: "big" if number > 9 else "", PROOF),
        Rule(NEGATIVE, lambda number: "negative" if number < 0 else "", ISSUING),
    ),
)


def test_a_stage_asks_its_rules_in_order() -> None:
    assert [finding.message for finding in TABLE.findings(11, Stage.PARSE)] == ["odd"]
    assert [finding.message for finding in TABLE.findings(11, Stage.VERIFY, "here")] == ["odd", "big"]
    assert [finding.message for finding in TABLE.findings(-1, Stage.ISSUE)] == ["odd", "negative"]
    assert TABLE.findings(2, Stage.VERIFY) == []
    assert TABLE.findings(11, Stage.VERIFY, "here")[0].where == "here"


def test_the_first_breach_alone() -> None:
    first = TABLE.first(11, Stage.VERIFY, "here")
    assert first is not None
    assert (first.reason, first.where) == (ODD, "here")
    assert TABLE.first(2, Stage.VERIFY) is None


def test_a_table_knows_its_clauses() -> None:
    assert TABLE.clauses() == ["T-1", "T-2"]
