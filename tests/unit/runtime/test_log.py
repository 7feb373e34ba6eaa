"""Log lines: one event each, its fields readable by people and by machines."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from finial.runtime import log
from finial.runtime.log import fields

_log = logging.getLogger("finial.test")
_SPARED = ("logThreads", "logProcesses", "logMultiprocessing", "_srcfile")


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    logger = logging.getLogger("finial")
    before = logger.handlers[:], logger.propagate, logger.level
    spared = {name: getattr(logging, name) for name in _SPARED}
    yield
    logger.handlers[:], logger.propagate, level = before
    logger.setLevel(level)
    for name, value in spared.items():
        setattr(logging, name, value)


def test_text_has_the_event_then_its_fields() -> None:
    stream = io.StringIO()
    log.start("info", stream=stream)
    _log.info("entry created", extra=fields(id="e1", hint="two words", empty="", newline="a\nb"))
    line = stream.getvalue()
    assert line.endswith('INFO    entry created id=e1 hint="two words" empty="" newline="a\\nb"\n')
    assert line.startswith("20")


def test_an_event_cannot_forge_another_line() -> None:
    stream = io.StringIO()
    log.start("info", stream=stream)
    _log.info("one\n2026-01-01 INFO two")
    assert stream.getvalue().count("\n") == 1


def test_a_terminal_obeys_no_event_and_no_exception() -> None:
    stream = io.StringIO()
    log.start("info", stream=stream)
    try:
        int("\x1b[2J\r")
    except ValueError:
        _log.exception("from \x1b[2J\r")
    assert not {"\x1b", "\r"}.intersection(stream.getvalue())
    assert "from \\x1b[2J\\r\nTraceback" in stream.getvalue()


def test_json_is_one_object_a_line() -> None:
    stream = io.StringIO()
    log.start("debug", as_json=True, stream=stream)
    _log.debug("entry %s", "created", extra=fields(id="e1", count=3, other=ValueError("x")))
    found = json.loads(stream.getvalue())
    assert found.pop("time").endswith("+00:00")
    assert found == {
        "level": "debug",
        "logger": "finial.test",
        "event": "entry created",
        "id": "e1",
        "count": 3,
        "other": "x",
    }


@pytest.mark.parametrize("as_json", [False, True])
def test_an_exception_is_shown_with_its_traceback(as_json: bool) -> None:
    stream = io.StringIO()
    log.start("info", as_json=as_json, stream=stream)
    try:
        int("broken")
    except ValueError:
        _log.exception("failed")
    assert "ValueError: invalid literal" in stream.getvalue()
    assert "Traceback" in stream.getvalue()


def test_what_is_below_the_level_is_not_shown() -> None:
    stream = io.StringIO()
    log.start("warning", stream=stream)
    _log.info("quiet")
    _log.warning("loud")
    assert "quiet" not in stream.getvalue()
    assert "loud" in stream.getvalue()


@pytest.mark.parametrize(
    ("created", "wanted"),
    [
        (1_764_000_000.0, "2025-11-24T16:00:00.000+00:00"),
        (1_764_000_000.0625, "2025-11-24T16:00:00.062+00:00"),
        (1_764_000_000.9999, "2025-11-24T16:00:00.999+00:00"),
        (1_764_000_001.5, "2025-11-24T16:00:01.500+00:00"),
    ],
)
def test_the_instant_has_milliseconds_and_is_utc(created: float, wanted: str) -> None:
    record = logging.makeLogRecord({"levelname": "INFO", "msg": "x", "created": created})
    assert log.TextFormatter().format(record).startswith(f"{wanted} ")


def test_a_line_that_cannot_be_written_is_no_trouble_of_whoever_tells(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    stream = io.StringIO()
    log.start("info", stream=stream)
    stream.close()
    _log.info("lost")


class _Endless:
    def __str__(self) -> str:
        return str(self)


def test_a_value_that_never_ends_is_told_to_whoever_tells() -> None:
    log.start("info", stream=io.StringIO())
    with pytest.raises(RecursionError):
        _log.info("x", extra=fields(value=_Endless()))


def test_each_line_is_out_when_it_is_told() -> None:
    class Counting(io.StringIO):
        flushed = 0

        def flush(self) -> None:
            self.flushed += 1

    stream = Counting()
    log.start("info", stream=stream)
    for number in range(1, 4):
        _log.info("one")
        assert (stream.flushed, stream.getvalue().count("\n")) == (number, number)
