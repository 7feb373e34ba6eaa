"""Runs a command and turns whatever happens into a line and an exit code."""

from __future__ import annotations

import io
import os
import sys
import traceback

import click

from finial.cli.report import error_lines, expected, sentence
from finial.cli.root import Invocation, root

FAILED, MISUSED, INTERRUPTED = 1, 2, 130


def run(words: list[str]) -> int:
    """Run the command that some words name; returns the exit code.

    Args:
        words: Behind the program's name.
    """
    invocation = Invocation()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a locale may know less than a hint says
    try:
        code = root.main(words, prog_name="finial", standalone_mode=False, obj=invocation)
        if sys.stdout is not None:  # else it was closed by whoever started us
            sys.stdout.flush()
    except click.UsageError as error:
        return _misused(error)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        _give_output_up()  # whoever read it has seen enough
        return FAILED
    except OSError as error:
        if error.filename is not None:
            return _failed(error, debug=invocation.debug)
        # Files and sockets have errors of ours; what is left is where the output goes.
        sys.stderr.write(f"finial: error: cannot write the output: {error.strerror or error}\n")
        _give_output_up()
        return FAILED
    except Exception as error:  # noqa: BLE001 - the operator gets a line, whatever it is
        return _failed(error, debug=invocation.debug)
    return code if isinstance(code, int) else 0


def _give_output_up() -> None:
    """Let what is still unwritten go nowhere: Python would try once more at its exit, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _misused(error: click.UsageError) -> int:
    message = error.format_message()
    if isinstance(error, click.NoSuchOption) and error.ctx is not None:
        message = f"there is no option {error.option_name}{_nearest_option(error.option_name, error.ctx)}"
    path = error.ctx.command_path if error.ctx is not None else "finial"
    sys.stderr.write(f"finial: error: {sentence(message, f'See: {path} --help')}\n")
    return MISUSED


def _nearest_option(name: str, context: click.Context) -> str:
    from finial.runtime.config.forms import did_you_mean, nearest  # noqa: PLC0415 - only for a refusal

    # Compared without the dashes, which would make short names alike that are not.
    known = [option for each in context.command.get_params(context) for option in each.opts]
    found = nearest(name.lstrip("-"), [option.lstrip("-") for option in known])
    return did_you_mean(None if found is None else f"--{found}")


def _failed(error: Exception, *, debug: bool) -> int:
    if debug and not expected(error):
        traceback.print_exception(error)
    sys.stderr.write("".join(f"{line}\n" for line in error_lines(error)))
    return FAILED
