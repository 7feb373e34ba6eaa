"""What an operator is told when something goes wrong: one line for each fault, never a traceback. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from finial.core.errors import FinialError, RefusedError
from finial.runtime.text import visible

# Which extra brings a module that may be missing.
_EXTRAS = {
    "alembic": "server",
    "click": "agent",
    "msgspec": "agent",
    "ngh2": "agent",
    "rich": "agent",
    "sqlalchemy": "server",
}


def error_lines(error: BaseException) -> list[str]:
    """The lines for an error, each begins with `finial: error:`.

    Args:
        error: Ours, one of Python's, or a group of them.
    """
    return [f"finial: error: {line}" for leaf in _leaves(error) for line in _lines(leaf)]


def expected(error: BaseException) -> bool:
    """Whether the operator can mend it, so that a traceback would tell nothing more."""
    return all(isinstance(leaf, FinialError) or _extra(leaf) for leaf in _leaves(error))


def sentence(message: str, hint: str = "") -> str:
    """A message and the next step on one line; what a terminal would obey is spelled out."""
    line = visible(" ".join(message.split()))
    if not hint:
        return line
    end = "" if line.endswith((".", "!", "?")) else "."
    return f"{line}{end} {hint}"


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error


def _lines(error: BaseException) -> Iterator[str]:
    if isinstance(error, RefusedError):
        for finding in error.findings:
            yield sentence(str(finding), finding.reason.hint)
    elif isinstance(error, FinialError):
        yield sentence(error.message, error.reason.hint)
    elif extra := _extra(error):
        hint = f"Install it with: pip install 'finial[{extra}]'"
        yield sentence(f"this command needs a package that is not installed ({error})", hint)
    else:
        text = str(error) or "no details"
        hint = "This is a fault of Finial; for its details repeat the command as: finial --debug ..."
        yield sentence(f"unexpected {type(error).__name__}: {text}", hint)


def _extra(error: BaseException) -> str:
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return ""
    return _EXTRAS.get(error.name.partition(".")[0], "")
