"""Every measurement beside a stock SPIRE, one after another, in one table."""

from __future__ import annotations

from bench import entries, fleet, flood, propagation, rotation, streams, tokens
from bench.run import Bench, run
from bench.table import Row

_PARTS = (propagation, rotation, tokens, fleet, entries, flood, streams)


async def measure(bench: Bench) -> list[Row]:
    """All rows of all."""
    rows: list[Row] = []
    for part in _PARTS:
        rows += await part.measure(bench)
    return rows


if __name__ == "__main__":
    run(measure, __doc__)
