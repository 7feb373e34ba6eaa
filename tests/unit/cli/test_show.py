from __future__ import annotations

import sys
from datetime import UTC, datetime

import pytest

from finial.cli.inputs import only, unix_time
from finial.cli.show import block, instant, note, say, table

LONG = "spiffe://example.org/" + "x" * 200


def test_a_table_that_is_piped_never_wraps(capsys: pytest.CaptureFixture[str]) -> None:
    table(["ID", "N"], [[LONG, "1"], ["a", "22"]])
    assert capsys.readouterr().out.splitlines() == [
        f"{'ID'.ljust(len(LONG))}  N",
        f"{LONG}  1",
        f"{'a'.ljust(len(LONG))}  22",
    ]


def test_a_table_is_drawn_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    table(["ID", "N"], [["[red]a[/red]", "1"]])
    out = capsys.readouterr().out
    assert "[red]a[/red]" in out  # text, not markup
    assert "──" in out


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_obeys_nothing_that_an_agent_or_an_entry_says(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    monkeypatch.setenv("COLUMNS", "80")
    table(["VERSION"], [["\x1b]0;owned\x07\r"]])
    say(block([("Hint", "x\nAdmin : no\x1b[1A")]))
    say("* spiffe://\x1b[2J")
    note("no identity: \x1b[2J\r")
    told = capsys.readouterr()
    for obeyed in ("\x1b]", "\x1b[1A", "\x1b[2J", "\x07", "\r"):
        assert obeyed not in told.out + told.err
    assert "\\x1b]0;owned\\x07" in told.out
    assert "Hint : x\\nAdmin : no\\x1b[1A" in told.out.splitlines()


def test_times_are_for_people() -> None:
    assert instant(0) == "never"
    assert instant(60) == "1970-01-01 00:01:00 UTC"
    assert instant(1 << 62) == f"{1 << 62} seconds after 1970"


def test_an_instant_is_read() -> None:
    assert unix_time("60") == 60
    assert unix_time("2027-01-31T13:00:00+01:00") == datetime(2027, 1, 31, 12, tzinfo=UTC).timestamp()
    for text in ("2027-01-31T12:00:00", "soon", "-1", "9" * 30, "\u0661"):
        with pytest.raises(ValueError, match="is not Unix seconds or an instant"):
            unix_time(text)


def test_one_value_is_read_or_refused() -> None:
    assert only("--x", lambda: 0) == 0
