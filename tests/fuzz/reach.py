"""Which lines of a parser an input reaches, and which lines there are."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

Arc = tuple[str, int, int]
"""A file, the line before, and the line: which branch was taken."""


class Tracer:
    """Notes the arcs that are walked in some modules.

    Args:
        modules: By their names.
    """

    def __init__(self, modules: Sequence[str]) -> None:
        self._files = {str(file_of(module)) for module in modules}
        self._before: dict[FrameType, int] = {}
        self.arcs: set[Arc] = set()

    def run(self, work: Callable[[], object]) -> None:
        """Do the work, and note what it walks; whatever it raises passes."""
        sys.settrace(self._enter)
        try:
            work()
        finally:
            sys.settrace(None)
            self._before.clear()

    def _enter(self, frame: FrameType, _event: str, _argument: object) -> Callable[..., Any] | None:
        if frame.f_code.co_filename not in self._files:
            return None
        self._before[frame] = 0
        return self._line

    def _line(self, frame: FrameType, event: str, _argument: object) -> Callable[..., Any]:
        if event == "line":
            self.arcs.add((frame.f_code.co_filename, self._before.get(frame, 0), frame.f_lineno))
            self._before[frame] = frame.f_lineno
        return self._line


def file_of(module: str) -> Path:
    """Where a module's source is."""
    spec = find_spec(module)
    assert spec is not None, f"there is no module {module}"
    assert spec.origin is not None
    return Path(spec.origin)


def reachable(module: str) -> set[tuple[str, int]]:
    """The lines of all functions of a module; what runs at its import alone is none of them."""
    path = file_of(module)
    code = compile(path.read_text("utf-8"), str(path), "exec")
    return {(str(path), line) for each in _functions(code) for line in _lines(each)}


def _functions(code: CodeType) -> Iterator[CodeType]:
    for each in code.co_consts:
        if isinstance(each, CodeType):
            if each.co_flags & inspect.CO_OPTIMIZED:
                yield each
            yield from _functions(each)


def _lines(code: CodeType) -> Iterator[int]:
    yield from (line for _, _, line in code.co_lines() if line is not None and line != code.co_firstlineno)
