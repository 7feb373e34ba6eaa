"""Commands and groups of commands: SPIRE's spellings, examples in the help, imports only when needed."""

from __future__ import annotations

import importlib
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

from finial.cli.spelling import Option, translate
from finial.core.errors import shown
from finial.runtime.text import is_unicode

_PATHS = frozenset({"DIR", "FILE", "PATH"})  # what metavars call a path
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Command(click.Command):
    """A command whose help ends with examples and which understands SPIRE's spellings.

    Args:
        examples: Whole command lines, one a line.
    """

    def __init__(self, *args: Any, examples: str, **kwargs: Any) -> None:  # noqa: ANN401 - click's own
        kwargs.setdefault("context_settings", CONTEXT)
        super().__init__(*args, **kwargs)
        self.examples = textwrap.dedent(examples).strip().splitlines()

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the command line, in our words."""
        words = translate(args, [_known(each) for each in self._options(ctx)])
        try:
            rest = super().parse_args(ctx, words)
            for option in self._options(ctx):
                _check_text(option, ctx)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx  # click leaves it out of some; the refusal names the command
            raise
        return rest

    def _options(self, ctx: click.Context) -> list[click.Option]:
        return [each for each in self.get_params(ctx) if isinstance(each, click.Option)]

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, unwrapped, so that they can be copied."""
        with formatter.section("Examples"):
            for line in self.examples:
                formatter.write(f"  {line}\n")


def _check_text(option: click.Option, ctx: click.Context) -> None:
    """Refuse bytes that are no UTF-8 in all values but paths, which may hold any."""
    if option.metavar in _PATHS:
        return
    given = ctx.params.get(option.name or "")
    for value in given if isinstance(given, tuple) else (given,):
        if isinstance(value, str) and not is_unicode(value):
            raise click.BadParameter(f"{shown(value)} is not UTF-8", ctx, option)


def _known(option: click.Option) -> Option:
    long = next(name for name in option.opts if name.startswith("--"))
    negative = next(iter(option.secondary_opts), "")
    return Option(long, negative, takes_value=not option.is_flag)


@dataclass(frozen=True, slots=True)
class Lazy:
    """A command that is imported when somebody wants it.

    Args:
        where: `module:name`.
        help: The line in the group's help.
    """

    where: str
    help: str

    def load(self) -> click.Command:
        """The command."""
        module, _, name = self.where.partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        return command


class Group(click.Group):
    """A group that imports a command only to run it or to show its help.

    Args:
        lazy: Its commands by their names, in the order of the help.
    """

    def __init__(self, *args: Any, lazy: Mapping[str, Lazy], **kwargs: Any) -> None:  # noqa: ANN401 - as above
        kwargs.setdefault("context_settings", CONTEXT)
        super().__init__(*args, **kwargs)
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the commands, in the order of their declaration."""
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command by its name; None when there is none."""
        found = self.lazy.get(cmd_name)
        return None if found is None else found.load()

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, each.help) for name, each in self.lazy.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first word names.

        Raises:
            UsageError: There is none; the nearest one is named.
        """
        from finial.runtime.config.forms import did_you_mean, nearest  # noqa: PLC0415 - only for a refusal

        if not args[0].startswith("-") and args[0] not in self.lazy:
            near = did_you_mean(nearest(args[0], self.lazy))
            ctx.fail(f"there is no command {args[0]!r}{near}")
        return super().resolve_command(ctx, args)


def group(name: str, lazy: Mapping[str, Lazy], help: str) -> Group:  # noqa: A002 - click's word
    """A group without options of its own.

    Args:
        name: Of the group.
        lazy: Its commands.
        help: What they are for.
    """
    return Group(name, lazy=lazy, help=help)
