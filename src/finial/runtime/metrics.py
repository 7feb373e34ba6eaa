"""Figures of a process, counted in plain objects and written in Prometheus's text format when somebody asks.

calls = registry.counter("finial_calls_total", "Calls that were answered.", labels={"code": "ok"})
calls.inc()

What is counted often has an object of its own for each value of its labels, made once: counting then is an
addition, and no name is looked up. All of it is owned by the event loop.
"""

from __future__ import annotations

import logging
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from typing import Final, Protocol

from finial.runtime.log import fields

_log = logging.getLogger("finial.metrics")

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""Of what a registry writes."""

BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Up to how many seconds the buckets of a histogram go, each with those below it."""

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*", re.ASCII)
_LABEL = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_NO_LABELS: Final[Mapping[str, str]] = {}

_ENDING: Final[Mapping[str, str]] = {"counter": "_total", "gauge": "", "histogram": "_seconds"}
_TAKEN: Final = frozenset({"le", "quantile"})  # labels that the format uses itself


class Counter:
    """Counts what has happened since the process began."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0
        """So many; only ever rises."""

    def inc(self) -> None:
        """One more."""
        self.value += 1

    def add(self, amount: int) -> None:
        """So many more.

        Raises:
            ValueError: It is less than none.
        """
        if amount < 0:
            raise ValueError(f"a counter cannot take {amount} away")
        self.value += amount

    def lines(self, name: str, labels: str) -> Iterator[str]:
        """The sample."""
        yield f"{name}{_braced(labels)} {self.value}"


class Histogram:
    """Counts how often something took how long."""

    __slots__ = ("buckets", "seconds")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS) + 1)
        """How often it took no longer than each bound and longer than the one before; the last has none."""
        self.seconds = 0.0
        """All together."""

    def observe(self, seconds: float) -> None:
        """It took so long; less than nothing, as a clock that was set may say, counts as nothing."""
        if not seconds >= 0.0:
            seconds = 0.0
        self.buckets[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds

    def lines(self, name: str, labels: str) -> Iterator[str]:
        """The samples."""
        before = f"{labels}," if labels else ""
        counts = list(accumulate(self.buckets))
        for bound, count in zip(_BOUND_TEXTS, counts, strict=True):
            yield f'{name}_bucket{{{before}le="{bound}"}} {count}'
        yield f"{name}_sum{_braced(labels)} {_number(self.seconds)}"
        yield f"{name}_count{_braced(labels)} {counts[-1]}"


class _Gauge:
    """Something that is looked at when somebody asks."""

    __slots__ = ("_read",)

    def __init__(self, read: Callable[[], float]) -> None:
        self._read = read

    def lines(self, name: str, labels: str) -> Iterator[str]:
        """The sample; none when it cannot be read, for a wrong figure is worse than none."""
        try:
            value = _number(self._read())
        except Exception as error:  # noqa: BLE001 - one figure that fails takes no other with it
            _log.warning("a figure cannot be read", extra=fields(name=name, error=error))
            return
        yield f"{name}{_braced(labels)} {value}"


class _Figure(Protocol):
    """What can be written."""

    def lines(self, name: str, labels: str) -> Iterator[str]:
        """The samples of a name with these labels."""


class _Family:
    """All figures of one name: of one kind, with one sentence, told apart by labels of the same names."""

    __slots__ = ("figures", "head", "label_names")

    def __init__(self, head: str, label_names: frozenset[str]) -> None:
        self.head = head
        self.label_names = label_names
        self.figures: dict[str, _Figure] = {}  # by their labels as written


class Registry:
    """The figures of a process, by name and labels. Mistakes in naming are found when a figure is made."""

    def __init__(self) -> None:
        self._families: dict[str, _Family] = {}

    def counter(self, name: str, text: str, *, labels: Mapping[str, str] = _NO_LABELS) -> Counter:
        """A new counter.

        Args:
            name: Ends in `_total`.
            text: What is counted, in a sentence.
            labels: Tell it from others of the same name.

        Raises:
            ValueError: The name is none, or is taken.
        """
        made = Counter()
        self._take(made, name, _head(name, text, "counter"), labels=labels)
        return made

    def histogram(self, name: str, text: str, *, labels: Mapping[str, str] = _NO_LABELS) -> Histogram:
        """A new histogram.

        Args:
            name: Ends in `_seconds`.
            text: What is measured, in a sentence.
            labels: Tell it from others of the same name.

        Raises:
            ValueError: The name is none, or is taken.
        """
        made = Histogram()
        self._take(made, name, _head(name, text, "histogram"), labels=labels)
        return made

    def gauge(
        self, name: str, text: str, read: Callable[[], float], *, labels: Mapping[str, str] = _NO_LABELS
    ) -> None:
        """Have something looked at whenever somebody asks.

        Args:
            name: Says the unit at its end.
            text: What it is, in a sentence.
            read: Looks; quick, on the loop. One that raises leaves the figure out.
            labels: Tell it from others of the same name.

        Raises:
            ValueError: The name is none, or is taken.
        """
        self._take(_Gauge(read), name, _head(name, text, "gauge"), labels=labels)

    def render(self) -> bytes:
        """All figures as they are now, in Prometheus's text format."""
        lines: list[str] = []
        for name, family in self._families.items():
            lines.append(family.head)
            for labels, figure in family.figures.items():
                lines.extend(figure.lines(name, labels))
        lines.append("")
        return "\n".join(lines).encode()

    def _take(self, figure: _Figure, name: str, head: str, *, labels: Mapping[str, str]) -> None:
        for label in labels:
            if not _LABEL.fullmatch(label) or label in _TAKEN:
                raise ValueError(f"{label!r} is no name for a label")
        written = ",".join(f'{label}="{_quoted(value)}"' for label, value in sorted(labels.items()))
        written.encode()  # text that is no Unicode is refused here and not when somebody asks
        family = self._families.setdefault(name, _Family(head, frozenset(labels)))
        if family.head != head or family.label_names != frozenset(labels):
            raise ValueError(f"there is another {name}, of another kind, sentence or set of labels")
        if written in family.figures:
            raise ValueError(f"{name}{_braced(written)} is there already")
        family.figures[written] = figure


def _head(name: str, text: str, kind: str) -> str:
    if not _NAME.fullmatch(name) or not name.endswith(_ENDING[kind]):
        raise ValueError(f"{name!r} is no name for a {kind}, which ends in {_ENDING[kind]!r}")
    text.encode()
    return f"# HELP {name} {_escaped(text)}\n# TYPE {name} {kind}"


def _braced(labels: str) -> str:
    return f"{{{labels}}}" if labels else ""


def _number(value: float) -> str:
    """A number as Prometheus reads it.

    Raises:
        TypeError: It is none.
    """
    if value == float("inf"):
        return "+Inf"
    return repr(float(value)).replace("inf", "Inf").replace("nan", "NaN")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', '\\"')


_BOUND_TEXTS: Final = (*map(_number, BOUNDS), "+Inf")
