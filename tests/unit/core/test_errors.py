from __future__ import annotations

import pytest

from finial.core.errors import Finding, FinialError, Kind, Reason, RefusedError, shown, translated

REASON = Reason("test-reason", Kind.INVALID, ("ID-01",))
OTHER = Reason("test-other", Kind.LIMIT)


def refuse(why: str) -> RefusedError:
    return RefusedError.because(REASON, why)


def test_an_error_carries_its_findings_and_the_first_ones_reason() -> None:
    error = RefusedError([Finding(REASON, "bad", "leaf"), Finding(OTHER, "worse")], subject="x")
    assert error.reason is REASON
    assert error.subject == "x"
    assert str(error) == "leaf: bad (and 1 more)"
    assert [str(finding) for finding in error.findings] == ["leaf: bad", "worse"]


def test_a_single_finding_is_the_message() -> None:
    error = RefusedError.because(OTHER, "too much", where="keys[3]")
    assert str(error) == error.message == "keys[3]: too much"
    assert isinstance(error, FinialError)


def test_shown_text_is_short_and_printable() -> None:
    assert shown("a\nb\u212a") == "'a\\nb\\u212a'"
    assert shown("x" * 81) == "'" + "x" * 80 + "'... (81 characters)"


class PanicException(BaseException):
    """Stands for the panic of the Rust code, whose class cannot be imported."""

    __module__ = "pyo3_runtime"


@pytest.mark.parametrize(
    "thrown",
    [ValueError("a\n b"), TypeError(), OverflowError(), RecursionError(), KeyError("x"), PanicException("p")],
)
def test_whatever_a_parser_throws_becomes_one_error(thrown: BaseException) -> None:
    def parse() -> None:
        raise thrown

    with pytest.raises(RefusedError) as caught:
        translated(parse, refuse)
    assert caught.value.__cause__ is thrown
    assert str(caught.value).isprintable()
    assert str(caught.value)


@pytest.mark.parametrize("thrown", [MemoryError(), KeyboardInterrupt(), SystemExit(1), refuse("own")])
def test_what_says_nothing_about_the_input_passes(thrown: BaseException) -> None:
    def parse() -> None:
        raise thrown

    with pytest.raises(type(thrown)) as caught:
        translated(parse, refuse)
    assert caught.value is thrown


def test_a_result_passes() -> None:
    assert translated(lambda: 7, refuse) == 7
