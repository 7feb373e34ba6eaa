"""Options that many commands have, and those that are made of the declarations of settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from finial.cli.show import JSON, PRETTY
from finial.runtime.config import Row, Settings, default_socket, rows

F = TypeVar("F", bound=Callable[..., object])

# A path is checked where it is used, which says more than click could.
FILE = click.Path(path_type=Path)


def socket_option(process: str, *, environ: str | None = None) -> Callable[[F], F]:
    """`--socket`, whose default is that of the process.

    Args:
        process: `server` or `agent`.
        environ: An environment variable that is asked before the default.
    """
    default = default_socket(process)
    shown = f"what {environ} says, else {default}" if environ else str(default)
    return click.option(
        "--socket",
        metavar="PATH",
        default=None if environ else str(default),
        help=f"The socket of the {process}.  [default: {shown}]",
    )


def output_option(function: F) -> F:
    """`--output`."""
    return click.option(
        "--output",
        type=click.Choice([PRETTY, JSON]),
        default=PRETTY,
        show_default=True,
        help="For people, or the reply as one line of JSON.",
    )(function)


def settings_options(cls: type[Settings], *, config: bool = True) -> Callable[[F], F]:
    """`--config` and an option for each setting of a class.

    Args:
        cls: Made by `settings`.
        config: Whether there is `--config`; a command without it gets its file in another way.
    """

    def decorate(function: F) -> F:
        for row in reversed([row for row in rows(cls) if row.option]):
            function = _setting_option(row)(function)
        if not config:
            return function
        return click.option("--config", type=FILE, metavar="FILE", help="A TOML file of settings.")(function)

    return decorate


def _setting_option(row: Row) -> Callable[[F], F]:
    shown = row.default_shown()
    text = f"{row.sentence}{' May be repeated.' if row.form.many else ''}"
    if row.required:
        text += "  [required here or in the file]"
    elif shown:
        text += f"  [default: {shown}]"
    if row.form.name == "BOOL":
        return click.option(f"{row.flag}/--no-{row.flag[2:]}", row.name, default=None, help=text)
    metavar = f"[{'|'.join(row.form.choices)}]" if row.form.choices else row.form.name
    return click.option(
        row.flag,
        row.name,
        multiple=row.form.many,
        default=() if row.form.many else None,
        metavar=metavar,
        help=text,
    )
