"""What commands print: blocks and tables for people, JSON for programs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import click

from finial.runtime.text import visible

PRETTY, JSON = "pretty", "json"


def say(text: str) -> None:
    """One or more lines on standard output; what a terminal would obey is spelled out."""
    click.echo(visible(text, keep="\n"))


def note(text: str) -> None:
    """A line for people on standard error, where it does not mix with output."""
    click.echo(f"finial: {visible(text)}", err=True)


def block(lines: Iterable[tuple[str, str]]) -> str:
    """Names and values below each other, aligned; no value can look like a further line."""
    pairs = list(lines)
    width = max(len(name) for name, _ in pairs)
    return "\n".join(f"{name.ljust(width)} : {visible(value)}".rstrip() for name, value in pairs)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on standard output: drawn on a terminal, plain columns that never wrap elsewhere.

    Args:
        head: Names of the columns.
        rows: As many values each.
    """
    rows = [[visible(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _draw(head, rows)
        return
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in [head, *rows]:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _draw(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich import box  # noqa: PLC0415 - half of the start-up time of everything else
    from rich.console import Console  # noqa: PLC0415 - as above
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in head:
        drawn.add_column(name, overflow="fold")
    for row in rows:
        drawn.add_row(*map(Text, row))
    Console().print(drawn)


def instant(unix: int, never: str = "never") -> str:
    """A time for people, in UTC; the word for none when it is 0."""
    if not unix:
        return never
    try:
        return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):  # a year that Python does not know
        return f"{unix} seconds after 1970"


def yes_no(value: bool) -> str:
    """A truth for people."""
    return "yes" if value else "no"
