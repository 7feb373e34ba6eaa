from __future__ import annotations

from finial.cli.report import error_lines, expected
from finial.core.errors import Finding, FinialError, Kind, Reason, RefusedError

HINTED = Reason("test-hinted", Kind.INVALID, hint="Do that.")
PLAIN = Reason("test-plain", Kind.INVALID)


def test_an_error_is_one_line_with_the_next_step() -> None:
    assert error_lines(FinialError(HINTED, "it is\nwrong")) == ["finial: error: it is wrong. Do that."]
    assert error_lines(FinialError(HINTED, "it is wrong.")) == ["finial: error: it is wrong. Do that."]
    assert error_lines(FinialError(PLAIN, "it is wrong")) == ["finial: error: it is wrong"]


def test_a_terminal_obeys_no_error_of_a_server() -> None:
    (line,) = error_lines(FinialError(PLAIN, "refused: \x1b[2J"))
    assert line == "finial: error: refused: \\x1b[2J"


def test_each_finding_is_a_line() -> None:
    error = RefusedError([Finding(HINTED, "one", "here"), Finding(PLAIN, "two")])
    assert error_lines(error) == ["finial: error: here: one. Do that.", "finial: error: two"]


def test_a_group_is_told_by_its_members() -> None:
    inner = ExceptionGroup("inner", [FinialError(PLAIN, "two")])
    group = ExceptionGroup("tasks", [FinialError(PLAIN, "one"), inner])
    assert error_lines(group) == ["finial: error: one", "finial: error: two"]
    assert expected(group)


def test_a_missing_package_is_named_with_its_extra() -> None:
    error = ModuleNotFoundError("No module named 'sqlalchemy.orm'", name="sqlalchemy.orm")
    (line,) = error_lines(error)
    assert line.endswith("Install it with: pip install 'finial[server]'")
    assert expected(error)
    assert not expected(ModuleNotFoundError("No module named 'finial.x'", name="finial.x"))
    assert not expected(ModuleNotFoundError("?"))


def test_what_nobody_expected_is_said_to_be_a_fault() -> None:
    (line,) = error_lines(ZeroDivisionError())
    assert line.startswith(
        "finial: error: unexpected ZeroDivisionError: no details. This is a fault of Finial"
    )
    assert not expected(ZeroDivisionError())
