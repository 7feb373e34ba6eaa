from __future__ import annotations

import asyncio

import pytest

from finial.core.errors import FinialError, Kind, Reason
from finial.plugin.guard import PluginError, guarded, wrong

_REASON = Reason("test-refused", Kind.DENIED, hint="Knock first.")


def raised(error: BaseException) -> PluginError:
    with pytest.raises(PluginError) as caught, guarded("keymanager(x)"):
        raise error
    assert caught.value.__cause__ is error
    return caught.value


def test_an_error_of_ours_keeps_its_reason_and_says_whose_it_is() -> None:
    error = raised(FinialError(_REASON, "the door is shut", subject="door"))
    assert error.reason is _REASON
    assert str(error) == "keymanager(x): the door is shut"
    assert error.subject == "door"


def test_the_text_of_a_foreign_error_may_hold_a_secret() -> None:
    error = raised(ValueError("password 1234 is wrong"))
    assert str(error) == "keymanager(x): raised ValueError"
    assert error.reason.id == "plugin-failed"
    assert error.reason.kind is Kind.INTERNAL


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(2, "No such file or directory", "/secret"), "FileNotFoundError 'No such file or directory'"),
        (OSError("odd"), "OSError ''"),
        (ModuleNotFoundError("No module named 'tpm'"), "ModuleNotFoundError \"No module named 'tpm'\""),
    ],
)
def test_what_the_system_says_is_told(error: Exception, text: str) -> None:
    assert str(raised(error)) == f"keymanager(x): {text}"


def test_being_cancelled_is_no_failure() -> None:
    with pytest.raises(asyncio.CancelledError), guarded("keymanager(x)"):
        raise asyncio.CancelledError


def test_a_wrong_answer() -> None:
    error = wrong("keymanager(x)", "returned nothing")
    assert str(error) == "keymanager(x): returned nothing"
    assert error.reason.id == "plugin-answer"
