"""What the standards demand, id by id, and the test that proves it: prints the table, or writes it down.

python tools/conformance.py            run the tests that cite an id and print what came of each
python tools/conformance.py --write    write docs/conformance.md
python tools/conformance.py --check    refuse a docs/conformance.md that is not what would be written
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from support.clauses import Clause, citations, complaints, read_tables  # noqa: E402 - the path comes first

DOCUMENT = ROOT / "docs" / "conformance.md"
_ORDER = (
    "spiffe-id",
    "x509-svid",
    "jwt-svid",
    "wit-svid",
    "trust-domain-and-bundle",
    "workload-endpoint",
    "workload-api",
    "federation",
    "broker",
    "stability",
)
_HERE = ("tests/unit", "tests/contract", "tests/conformance", "tests/property")
_HEAD = """# Conformance, requirement by requirement

Written by `make conformance`; do not edit. The ids are those of the tables in `tests/conformance/tables`,
which follow the SPIFFE standards of 2026-07-01 clause by clause. A level in capitals is the keyword of the
text; one in small letters marks what binds without a keyword. *Proven by* names a test that fails when the
requirement is not met, and how many more there are; *excused* says what has to come first. The command runs
all these tests and prints the same table with what came of each; an id without test or excuse fails
`make test`.
"""


class Outcomes:
    """Collects, as a plugin of pytest, what came of the tests that cite an id."""

    def __init__(self) -> None:
        self.of: dict[str, str] = {}
        """By test, without parameters: the worst that came of it."""
        self._ids: dict[str, tuple[str, ...]] = {}
        self.by_id: dict[str, list[str]] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Run only what cites an id."""
        for item in items:
            cited = [str(each) for mark in item.iter_markers("spec") for each in mark.args]
            self._ids[item.nodeid] = tuple(cited)
        items[:] = [item for item in items if self._ids[item.nodeid]]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note an outcome; a failed setup counts as well."""
        if report.when == "call" or report.outcome != "passed":
            for name in self._ids.get(report.nodeid, ()):
                self.by_id.setdefault(name, []).append(report.outcome)

    def status(self, name: str) -> str:
        """What came of the tests of an id."""
        found = self.by_id.get(name, ())
        for outcome in ("failed", "passed", "skipped"):
            if outcome in found:
                return outcome
        return ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print, write or check the table."""
    parser = argparse.ArgumentParser(prog="conformance", description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write docs/conformance.md")
    parser.add_argument("--check", action="store_true", help="refuse it if it is not current")
    chosen = parser.parse_args(arguments)
    clauses, cited = read_tables(), citations()
    wrong = complaints(clauses, cited, {})
    if wrong:
        print("\n".join(wrong))
        return 1
    text = "\n".join(document(clauses, cited)) + "\n"
    if chosen.write:
        DOCUMENT.write_text(text, "utf-8")
        print(f"conformance: wrote {DOCUMENT.relative_to(ROOT)}")
        return 0
    if chosen.check:
        current = DOCUMENT.exists() and DOCUMENT.read_text("utf-8") == text
        print("conformance: current" if current else "docs/conformance.md is not current: make conformance")
        return 0 if current else 1
    return _run(clauses, cited)


def document(clauses: Mapping[str, Clause], cited: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """The lines of the document.

    Args:
        clauses: Every row, by id.
        cited: The tests that cite an id.
    """
    yield _HEAD
    yield "| standard | requirements | `MUST` proven | `must` proven | others proven | excused |"
    yield "|---|---|---|---|---|---|"
    for table, rows in _by_table(clauses):
        yield _summary(table, rows)
    for table, rows in _by_table(clauses):
        yield f"\n## {table}\n"
        yield "| id | level | binds | proven by |"
        yield "|---|---|---|---|"
        for row in rows:
            yield f"| {row.id} | {row.level} | {row.binds} | {_proof(row, cited)} |"


def _summary(table: str, rows: Sequence[Clause]) -> str:
    proven = Counter(_weight(row) for row in rows if not row.excuse)
    all_of = Counter(map(_weight, rows))
    shares = " | ".join(f"{proven[each]} of {all_of[each]}" for each in ("MUST", "must", "other"))
    return f"| [{table}](#{table}) | {len(rows)} | {shares} | {sum(bool(row.excuse) for row in rows)} |"


def _weight(row: Clause) -> str:
    first = row.level.split()[0]
    return first if first in ("MUST", "must") else "other"


def _proof(row: Clause, cited: Mapping[str, Sequence[str]]) -> str:
    if row.excuse:
        return f"*excused:* {row.excuse}"
    tests = sorted(cited[row.id], key=lambda test: (not test.startswith("tests/conformance"), test))
    more = f" and {len(tests) - 1} more" if len(tests) > 1 else ""
    return f"`{tests[0].removeprefix('tests/')}`{more}"


def _by_table(clauses: Mapping[str, Clause]) -> Iterator[tuple[str, list[Clause]]]:
    tables: dict[str, list[Clause]] = {}
    for clause in clauses.values():
        tables.setdefault(clause.table.removesuffix(".toml"), []).append(clause)
    for name in sorted(
        tables, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name)
    ):
        yield name, tables[name]


def _run(clauses: Mapping[str, Clause], cited: Mapping[str, Sequence[str]]) -> int:
    """Run the tests that cite an id, print every id with what came of it, and say whether all is well."""
    outcomes = Outcomes()
    folders = [str(ROOT / each) for each in _HERE]
    code = pytest.main(["-q", "--no-header", "-p", "no:cacheprovider", *folders], plugins=[outcomes])
    for table, rows in _by_table(clauses):
        print(f"\n{table}")
        for row in rows:
            status = "excused" if row.excuse else outcomes.status(row.id) or "elsewhere"
            what = row.excuse or _plain(row, cited)
            print(f"  {row.id:<10} {row.level:<10} {status:<9} {what}")
    print()
    for line in _totals(clauses, outcomes):
        print(line)
    return int(code)


def _plain(row: Clause, cited: Mapping[str, Sequence[str]]) -> str:
    return _proof(row, cited).replace("`", "")


def _totals(clauses: Mapping[str, Clause], outcomes: Outcomes) -> Iterator[str]:
    counts = Counter(
        "excused" if row.excuse else outcomes.status(row.id) or "elsewhere" for row in clauses.values()
    )
    counted = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
    yield f"{len(clauses)} requirements: {counted}"
    if counts["elsewhere"]:
        yield "elsewhere: proven by tests with foreign programs, in `make interop`"


if __name__ == "__main__":
    sys.exit(main())
