"""Which lines of a parser an input reaches, and which lines there are."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

_AT_IMPORT = frozenset({"<dictcomp>", "<genexpr>", "<listcomp>", "<setcomp>"})
"""What these are called outside of any function."""

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


@cache
def file_of(module: str) -> Path:
    """Where a module's source is."""
    spec = find_spec(module)
    assert spec is not None, f"there is no module {module}"
    assert spec.origin is not None
    return Path(spec.origin)


Line = tuple[str, int]
"""A file and a line of it."""


def reachable(modules: Sequence[str], omits: Sequence[str] = ()) -> dict[str, set[Line]]:
    """The lines of the functions of some modules by their names; what runs at import alone is none of them.

    Args:
        modules: By their names.
        omits: Functions and classes that do not count, by their names.

    Raises:
        AssertionError: There is none of a name that is to be left out.
    """
    found: dict[str, set[Line]] = {}
    unknown = set(omits)
    for module in modules:
        path = file_of(module)
        for code in _functions(compile(path.read_text("utf-8"), str(path), "exec")):
            names = {code.co_qualname, code.co_qualname.partition(".")[0]}
            if names.isdisjoint(omits):
                lines = {(str(path), line) for line in _lines(code)}
                found.setdefault(f"{module}.{code.co_qualname}", set()).update(lines)
            unknown -= names
    assert not unknown, f"there is no {sorted(unknown)} to leave out"
    return found


def _functions(code: CodeType) -> Iterator[CodeType]:
    for each in code.co_consts:
        if isinstance(each, CodeType):
            if each.co_flags & inspect.CO_OPTIMIZED and each.co_qualname not in _AT_IMPORT:
                yield each
            yield from _functions(each)


def _lines(code: CodeType) -> Iterator[int]:
    yield from (line for _, _, line in code.co_lines() if line is not None and line != code.co_firstlineno)
