"""Every requirement id is proven by a test or excused in its table, and nobody cites an unknown one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finial.core.reasons import CATALOGUE
from finial.core.rules import broker, bundle, federation, jwt, spiffe_id, wit, wpt, x509
from finial.core.rules.engine import Table
from support.clauses import citations, citations_in, complaints, read_table, read_tables

TABLES: tuple[Table[Any], ...] = (
    spiffe_id.TABLE,
    x509.LEAF,
    x509.AUTHORITY,
    x509.INTERMEDIATE,
    x509.PATH,
    jwt.HEADER,
    jwt.CLAIMS,
    jwt.PRESENTED,
    wit.HEADER,
    wit.CLAIMS,
    wit.CONFIRMATION,
    wit.PRESENTED,
    wpt.HEADER,
    wpt.CLAIMS,
    wpt.PRESENTED,
    bundle.DOCUMENT,
    bundle.HINT,
    bundle.ENTRY,
    bundle.X509_ENTRY,
    bundle.TOKEN_ENTRY,
    bundle.MAP,
    federation.ENDPOINT_URL,
    federation.RELATIONSHIP,
    federation.REDIRECT,
    federation.ANSWER,
    broker.PROCESS,
    broker.OBJECT,
)
PLANTED = """
[ID-01]
level = "MUST"
binds = "parser"
[ID-02]
level = "must"
binds = "parser"
excuse = "for the test"
"""


def ruled() -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for reason in CATALOGUE.values():
        for clause in reason.clauses:
            found.setdefault(clause, []).append(reason.id)
    return found


def planted(cited: Mapping[str, list[str]], ruled: Mapping[str, list[str]] | None = None) -> list[str]:
    rows = {clause.id: clause for clause in read_table(PLANTED, "planted.toml")}
    return complaints(rows, cited, ruled or {})


def test_every_id_is_cited_or_excused() -> None:
    found = complaints(read_tables(), citations(), ruled())
    assert not found, "\n".join(["", *found])


WHOLE = ("spiffe-id", "x509-svid", "trust-domain-and-bundle", "jwt-svid", "wit-svid")
"""The standards of which everything is here."""


def test_no_must_is_excused_where_everything_is_here() -> None:
    excused = [clause for clause in read_tables().values() if clause.excuse]
    lax = [
        clause.id
        for clause in excused
        if clause.level.upper().startswith("MUST")
        and (
            clause.table.removesuffix(".toml") in WHOLE
            or (clause.table.startswith("workload-") and "-server" in clause.binds)
        )
    ]
    assert not lax, f"a must is excused: {lax}"


def test_every_id_that_a_rule_names_is_in_a_table() -> None:
    known = read_tables()
    unknown = sorted({clause for table in TABLES for clause in table.clauses()} - known.keys())
    assert not unknown, f"src/finial/core/reasons names ids that no table has: {unknown}; correct them there"


def test_every_rule_carries_a_clause_or_guards_a_bound() -> None:
    bare = {rule.reason for table in TABLES for rule in table.rules if not rule.reason.clauses}
    kinds = {reason.kind.value for reason in bare}
    assert kinds <= {"limit", "invalid", "untrusted"}
    assert {reason.id for reason in bare} == {
        "bundle-large",
        "federation-url-long",
        "key-type",
        "key-weak",
        "x509-name-constraint-limit",
    }


def test_a_planted_clause_without_a_test_is_reported() -> None:
    found = planted({})
    assert len(found) == 1
    assert "ID-01 (MUST, parser): no test cites it" in found[0]
    assert "planted.toml" in found[0]


def test_a_proven_clause_is_not_reported() -> None:
    assert planted({"ID-01": ["here:1"]}) == []


def test_a_clause_both_cited_and_excused_is_reported() -> None:
    found = planted({"ID-01": ["here:1"], "ID-02": ["there:2"]})
    assert len(found) == 1
    assert "there:2" in found[0]
    assert "Remove the excuse" in found[0]


def test_an_unknown_clause_is_reported_for_tests_and_for_rules() -> None:
    found = planted({"ID-01": ["here:1"], "ID-99": ["there:2"]}, {"ID-98": ["id-reason"]})
    assert [line.split(":")[0] for line in found] == ["ID-99", "ID-98"]


def test_a_level_that_is_none_is_reported() -> None:
    rows = {
        clause.id: clause
        for clause in read_table('[ID-01]\nlevel = "perhaps"\nbinds = "all"', "planted.toml")
    }
    assert "perhaps" in complaints(rows, {"ID-01": ["here:1"]}, {})[0]


def test_citations_are_read_from_functions_classes_and_parameters() -> None:
    source = """
@pytest.mark.spec("ID-01", "ID-02")
class TestThat:
    @pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.spec("ID-03"))])
    def test_it(self, x): ...
pytestmark = pytest.mark.spec("ID-04")
"""
    assert citations_in(source, "here.py") == {
        "ID-01": ["here.py::TestThat"],
        "ID-02": ["here.py::TestThat"],
        "ID-03": ["here.py::TestThat"],
        "ID-04": ["here.py"],
    }
