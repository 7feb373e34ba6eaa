"""What stands between Finial and a plugin: its errors say whose they are, and what it returns is checked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from finial.core.errors import FinialError, Kind, Reason, shown

_REPORT = "Report it to whoever maintains the plugin."
FAILED = Reason("plugin-failed", Kind.INTERNAL, hint=_REPORT, meaning="A plugin raised an unexpected error.")
ANSWER = Reason("plugin-answer", Kind.INTERNAL, hint=_REPORT, meaning="A plugin returned what it must not.")


class PluginError(FinialError):
    """A plugin refused, failed, or returned what it must not; the message begins with its kind and name."""


@contextmanager
def guarded(owner: str) -> Iterator[None]:
    """Let what a plugin raises leave as one error that says whose it is.

    Errors of ours keep their reason. Of others only the class is named, because nobody knows whether their
    text holds a secret; the text of the system's errors and of failed imports is safe and useful.

    Args:
        owner: Kind and name of the plugin, `keymanager(disk)`.

    Raises:
        PluginError: In place of whatever the plugin raised.
    """
    try:
        yield
    except FinialError as error:
        raise PluginError(error.reason, f"{owner}: {error.message}", subject=error.subject) from error
    except Exception as error:
        raise PluginError(FAILED, f"{owner}: {_told(error)}", subject=owner) from error


def wrong(owner: str, message: str) -> PluginError:
    """The error for a plugin that returned what it must not.

    Args:
        owner: Kind and name of the plugin.
        message: What was wrong, without the value itself.
    """
    return PluginError(ANSWER, f"{owner}: {message}", subject=owner)


def _told(error: Exception) -> str:
    name = type(error).__name__
    match error:
        case ImportError():
            return f"{name} {shown(str(error))}"
        case OSError():
            return f"{name} {shown(error.strerror or '')}"
    return f"raised {name}"
