"""The rows of a table of figures: theirs, ours, the ratio, the goal, and what falls short of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_WIDTHS = (66, 13, 13, 8, 10)
_HEADS = ("", "SPIRE", "Finial", "ratio", "goal")


@dataclass(frozen=True)
class Row:
    """One figure.

    Args:
        what: Is measured; long enough to be understood alone.
        unit: Of all the numbers in the row.
        spire: The peer's; None where there is none.
        ours: None where it cannot be had yet.
        goal: What ours is to reach; None where nothing is promised.
        floor: What it must reach in any case.
        more: Whether more is better.
        note: How it was taken, or why it is not there.
    """

    what: str
    unit: str
    spire: float | None = None
    ours: float | None = None
    goal: float | None = None
    floor: float | None = None
    more: bool = False
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times better ours is."""
        if not self.spire or not self.ours:
            return None
        return self.ours / self.spire if self.more else self.spire / self.ours

    @property
    def verdict(self) -> str:
        """Whether it is what it is to be."""
        if self.ours is None:
            return "not measured" if self.goal is not None else ""
        if self.floor is not None and not self._reaches(self.floor):
            return f"MISSES THE FLOOR of {shown(self.floor)} {self.unit}"
        if self.goal is None:
            return ""
        return "good" if self._reaches(self.goal) else "FALLS SHORT"

    def _reaches(self, bound: float) -> bool:
        assert self.ours is not None
        return self.ours >= bound if self.more else self.ours <= bound


def shown(value: float | None) -> str:
    """A number with three or more digits that mean something."""
    if value is None:
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3g}"


def show(rows: Iterable[Row]) -> None:
    """Print the rows."""
    print("".join(f"{head:<{width}}" for head, width in zip(_HEADS, _WIDTHS, strict=True)))
    for row in rows:
        ratio = "-" if row.ratio is None else f"{shown(row.ratio)}x"
        cells = (f"{row.what}, {row.unit}", shown(row.spire), shown(row.ours), ratio, shown(row.goal))
        line = "".join(f"{cell:<{width - 1}} " for cell, width in zip(cells, _WIDTHS, strict=True))
        print(f"{line}{row.verdict}".rstrip())
        if row.note:
            print(f"    {row.note}")


def percentile(values: Sequence[float], part: float) -> float:
    """The value below which that part (0 to 1) of the values lie, by the nearest rank."""
    ordered = sorted(values)
    return ordered[min(int(part * len(ordered)), len(ordered) - 1)]
