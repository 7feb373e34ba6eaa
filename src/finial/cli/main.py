"""Where the program begins."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from finial.cli.report import error_lines
from finial.runtime import collector


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code: 0, 1 for a failure, 2 for words that are not understood.

    Args:
        argv: The words behind the program's name; None takes those of the process.
    """
    if argv is None:  # the process is ours
        collector.rarely()
    try:
        # The base install has no click; the operator is to be told so in one line.
        from finial.cli.program import run  # noqa: PLC0415
    except ModuleNotFoundError as error:
        sys.stderr.write("".join(f"{line}\n" for line in error_lines(error)))
        return 1
    return run(list(sys.argv[1:] if argv is None else argv))


if __name__ == "__main__":
    sys.exit(main())
