"""The command line, which says at SIGUSR1 what it has imported. Run as a program of its own."""

from __future__ import annotations

import signal
import sys

from finial.cli.main import main

WORD = "imported:"
"""Begins the line."""


def _tell(*_: object) -> None:
    print(WORD, *sorted(sys.modules), file=sys.stderr)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, _tell)
    sys.exit(main())
