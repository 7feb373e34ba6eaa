"""What the demonstration prints: chapters, sentences, commands and what came back, narrow and plain."""

from __future__ import annotations

import shlex
import sys
import textwrap
from collections.abc import Sequence
from typing import Final

WIDTH: Final = 92
_RULE, _INDENT, _BAR = "-" * WIDTH, "    ", "    | "
_BOLD, _DIM, _CYAN, _GREEN, _RED = "1", "2", "36", "32", "1;31"


class Screen:
    """Prints to standard output at once.

    Args:
        colour: Whether escape sequences may be used.
    """

    def __init__(self, *, colour: bool) -> None:
        self._colour = colour

    def chapter(self, number: int, title: str) -> None:
        """Begin a chapter."""
        self._print(f"\n{_RULE}\n{number}. {title}\n{_RULE}", _BOLD)

    def tell(self, text: str) -> None:
        """A paragraph for the reader."""
        self._print("\n" + textwrap.fill(" ".join(text.split()), WIDTH, break_on_hyphens=False))

    def plain(self, line: str) -> None:
        """A line as it stands."""
        self._print(line)

    def command(self, *pipeline: Sequence[str], into: str = "") -> None:
        """A command line that is run now.

        Args:
            pipeline: Words; of several programs when they are connected.
            into: The file that the output goes to; empty for none.
        """
        lines: list[str] = []
        for words in pipeline:
            lines += _wrapped(words, "$ " if not lines else "    | ")
        lines[-1] += f" > {into}" if into else ""
        last = len(lines) - 1
        lines = [line if at == last else f"{line} \\" for at, line in enumerate(lines)]
        self._print("\n" + "\n".join(f"{_INDENT}{line}" for line in lines), _CYAN)

    def output(self, text: str) -> None:
        """What a program has written."""
        for line in text.rstrip("\n").splitlines():
            pieces = textwrap.wrap(line, WIDTH - len(_BAR), subsequent_indent="  ", break_on_hyphens=False)
            for piece in pieces or [""]:
                self._print(f"{_BAR}{piece}".rstrip(), _DIM)

    def says(self, who: str, text: str) -> None:
        """What a process reports of itself."""
        head = f"{_INDENT}{who.ljust(8)} says: "
        self._print(
            textwrap.fill(
                text,
                WIDTH,
                initial_indent=head,
                subsequent_indent=" " * len(head),
                break_on_hyphens=False,
                break_long_words=False,
            )
        )

    def good(self, text: str) -> None:
        """Something that happened as it had to."""
        self._print(textwrap.fill(text, WIDTH, initial_indent="  [ok] ", subsequent_indent=" " * 7), _GREEN)

    def bad(self, text: str) -> None:
        """Something that did not."""
        self._print(f"\n{text}", _RED)

    def _print(self, text: str, style: str = "") -> None:
        if self._colour and style:
            text = f"\x1b[{style}m{text}\x1b[0m"
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


def _wrapped(words: Sequence[str], prompt: str) -> list[str]:
    """A program's words on as many lines as they need; an option stays with its value."""
    lines = [prompt]
    for at, word in enumerate(words):
        piece = shlex.quote(word)
        if at and words[at - 1].startswith("--") and not word.startswith("--"):
            continue  # it stands with its option already
        if word.startswith("--") and at + 1 < len(words) and not words[at + 1].startswith("--"):
            piece += f" {shlex.quote(words[at + 1])}"
        if len(lines[-1]) + 1 + len(piece) > WIDTH - len(_INDENT) - 2:
            lines.append("     ")
        lines[-1] += piece if lines[-1] == prompt else f" {piece}"
    return lines
