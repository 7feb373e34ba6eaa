"""Refuse files and functions that have grown too large to hold in the head."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

FILE_LINES = 400
FUNCTION_LINES = 60
ROOTS = ("src", "tests", "tools", "bench", "demo")
GENERATED = "src/finial/wire/gen/"
# A file that needs more says why in its first line, with this word.
EXCEPTION = "oversized:"


def complaints(path: str, text: str) -> Iterator[str]:
    """What is too large in one source file; an exception in its first line excuses the file's length.

    Args:
        path: Of the file, for the messages.
        text: Of the file.
    """
    lines = text.splitlines()
    if len(lines) > FILE_LINES and EXCEPTION not in lines[0]:
        yield f"{path}: {len(lines)} lines, at most {FILE_LINES}: split it by subject"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            size = (node.end_lineno or node.lineno) - node.lineno + 1
            if size > FUNCTION_LINES:
                where = f"{path}:{node.lineno}"
                yield f"{where}: {node.name} has {size} lines, at most {FUNCTION_LINES}: take a part out"


def main() -> int:
    """Check every Python file of the project."""
    found = [
        complaint
        for root in ROOTS
        for path in sorted(Path(root).rglob("*.py"))
        if not path.as_posix().startswith(GENERATED)
        for complaint in complaints(path.as_posix(), path.read_text(encoding="utf-8"))
    ]
    print("\n".join(found) or "sizes: every file and function is small enough")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
