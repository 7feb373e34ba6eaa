"""Logs: an event and its fields on one line, for people as text or for machines as JSON.

_log = logging.getLogger("finial.server")
_log.info("entry created", extra=fields(id=entry.id, spiffe_id=entry.spiffe_id))
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from functools import lru_cache
from typing import TextIO

from finial.runtime.text import visible

_FIELDS = "finial_fields"
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:@+,")
_JSON = json.JSONEncoder(default=str)
LEVELS = ("debug", "info", "warning", "error")


def fields(**values: object) -> dict[str, object]:
    """What `extra=` of a logging call takes; never a secret."""
    return {_FIELDS: values}


def _instant(record: logging.LogRecord) -> str:
    second, rest = divmod(record.created, 1)
    return f"{_second(second)}.{int(rest * 1_000):03d}+00:00"


@lru_cache(maxsize=1)
def _second(second: float) -> str:
    """A whole second, which many lines share."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _values(record: logging.LogRecord) -> dict[str, object]:
    found = getattr(record, _FIELDS, None)
    return found if isinstance(found, dict) else {}


class TextFormatter(logging.Formatter):
    """Instant, level, event, then `name=value` for each field."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        parts = [_instant(record), record.levelname.ljust(7), record.getMessage()]
        parts += [f"{name}={_shown(value)}" for name, value in _values(record).items()]
        line = visible(" ".join(parts))
        if record.exc_info:
            line += "\n" + visible(self.formatException(record.exc_info), keep="\n")
        return line


class JSONFormatter(logging.Formatter):
    """One JSON object a line: `time`, `level`, `logger`, `event` and the fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, object] = {
            "time": _instant(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **_values(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _JSON.encode(line)


def _shown(value: object) -> str:
    text = str(value)
    return text if text and _PLAIN.issuperset(text) else json.dumps(text)


class _Lines(logging.StreamHandler[TextIO]):
    """Writes each record at once, so that no line is lost with the process."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; the same as the class above, which takes its lock for each step."""
        try:
            self.stream.write(f"{self.format(record)}{self.terminator}")
            self.stream.flush()
        except RecursionError:
            raise
        except Exception:  # noqa: BLE001 - whoever has something to tell is not to fail by it
            self.handleError(record)


def start(level: str, *, as_json: bool = False, stream: TextIO | None = None) -> None:
    """Send what Finial logs to a stream, standard error by default.

    Args:
        level: One of `LEVELS`.
        as_json: For machines instead of people.
        stream: Where to.
    """
    # Documented ways to spare each record what no line of ours shows: thread, process, place in the code.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # noqa: SLF001
    handler = _Lines(stream or sys.stderr)
    handler.setFormatter(JSONFormatter() if as_json else TextFormatter())
    logger = logging.getLogger("finial")
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(level.upper())
