"""The document of differences is the table of differences."""

from __future__ import annotations

import re
from pathlib import Path

from differential.difference import DIFFERENCES
from differential.document import document

_TABLES = Path(__file__).parents[1] / "conformance" / "tables"
_ROW = re.compile(r"\b[A-Z][A-Z0-9]+-\d{2,}\b")
_DOCUMENT = Path(__file__).parents[2] / "docs" / "differences.md"


def test_the_document_has_every_difference_of_the_table() -> None:
    listed = re.findall(r"^### (\S+)$", _DOCUMENT.read_text("utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(each.id for each in DIFFERENCES)


def test_the_document_is_the_one_that_the_table_gives() -> None:
    assert _DOCUMENT.read_text("utf-8") == document(), "write it again: its head says how"


def test_every_difference_names_clauses_that_are_there() -> None:
    known = {row for table in _TABLES.glob("*.toml") for row in _ROW.findall(table.read_text("utf-8"))}
    for each in DIFFERENCES:
        assert each.clauses, each.id
        named = {clause for clause in each.clauses if not clause.startswith("RFC ")}
        assert named <= known, each.id
