"""The requirement ids of the standards: which there are, which a test proves, which are excused and why.

The tests are read as text, never imported, so the answer does not depend on what a run collects.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
TABLES = TESTS / "conformance" / "tables"
LEVELS = frozenset(
    {"MUST", "MUST NOT", "SHOULD", "SHOULD NOT", "MAY", "must", "should", "must not", "should not", "may"}
)


@dataclass(frozen=True)
class Clause:
    """One row of a table: its id, its level, whom it binds, and why no test can prove it yet."""

    id: str
    level: str
    binds: str
    excuse: str
    table: str


def read_table(text: str, table: str) -> tuple[Clause, ...]:
    """The rows of a table in TOML."""
    rows: Mapping[str, Mapping[str, str]] = tomllib.loads(text)
    return tuple(
        Clause(name, row["level"], row["binds"], row.get("excuse", ""), table) for name, row in rows.items()
    )


def read_tables(folder: Path = TABLES) -> dict[str, Clause]:
    """Every row of every table in a folder, by id."""
    found: dict[str, Clause] = {}
    for path in sorted(folder.glob("*.toml")):
        for clause in read_table(path.read_text("utf-8"), path.name):
            assert clause.id not in found, (
                f"{clause.id} stands in {found[clause.id].table} and in {path.name}"
            )
            found[clause.id] = clause
    return found


def citations_in(source: str, where: str) -> dict[str, list[str]]:
    """The ids that `spec` markers in a Python source name, each with the tests that bear them.

    Args:
        source: Of the file.
        where: Its path, for the names of tests: `tests/x/test_y.py::test_z`, or the path alone for a mark
            of the whole file.
    """
    found: dict[str, list[str]] = {}
    tree = ast.parse(source)
    for node in tree.body:
        named = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        test = f"{where}::{node.name}" if named else where  # type: ignore[attr-defined]
        for name in _marked(node, where):
            if test not in found.setdefault(name, []):
                found[name].append(test)
    return found


def _marked(tree: ast.AST, where: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if not (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "spec"
        ):
            continue
        for argument in node.args:
            # A computed id could not be read here, so it would silently not count.
            assert isinstance(argument, ast.Constant), f"{where}:{node.lineno}: write spec ids as literals"
            yield str(argument.value)


def citations(folder: Path = TESTS) -> dict[str, list[str]]:
    """The ids that the tests under a folder cite, each with the tests."""
    found: dict[str, list[str]] = {}
    for path in sorted(folder.rglob("test_*.py")):
        where = str(path.relative_to(folder.parent))
        for name, tests in citations_in(path.read_text("utf-8"), where).items():
            found.setdefault(name, []).extend(tests)
    return found


def complaints(
    clauses: Mapping[str, Clause], cited: Mapping[str, Iterable[str]], ruled: Mapping[str, Iterable[str]]
) -> list[str]:
    """What is wrong between the tables, the tests and the rules, one line with the next step for each.

    Args:
        clauses: The rows.
        cited: Ids that tests name, with places.
        ruled: Ids that rules and reasons of the code name, with places.
    """
    prefixes = {name.rpartition("-")[0] for name in clauses}
    found = [
        f"{clause.id} ({clause.level}, {clause.binds}): no test cites it. Add"
        f" @pytest.mark.spec({clause.id!r}) to the test that proves it, or an excuse to its row in"
        f" tests/conformance/tables/{clause.table}."
        for clause in clauses.values()
        if clause.id not in cited and not clause.excuse
    ]
    found += [
        f"{clause.id}: it has an excuse and is cited at {', '.join(cited[clause.id])}. Remove the excuse from"
        f" tests/conformance/tables/{clause.table}."
        for clause in clauses.values()
        if clause.id in cited and clause.excuse
    ]
    for what, named in (("test", cited), ("rule", ruled)):
        found += [
            f"{name}: a {what} names it at {', '.join(places)}, but no table has it. Correct the id."
            for name, places in named.items()
            if name not in clauses and name.rpartition("-")[0] in prefixes
        ]
    found += [
        f"{clause.id}: level {clause.level!r} is none. Correct tests/conformance/tables/{clause.table}."
        for clause in clauses.values()
        if clause.level not in LEVELS
    ]
    return found
