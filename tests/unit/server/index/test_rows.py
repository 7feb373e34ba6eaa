"""Rows stay sorted and whole, whatever comes and goes, in chunks of any size."""

from __future__ import annotations

from dataclasses import dataclass
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from finial.server.index import rows
from finial.server.index.rows import Rows


@dataclass(frozen=True)
class Row:
    seq: int
    say: int


_steps = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 9) | st.none()), max_size=80)


@settings(deadline=None)
@given(_steps, st.integers(2, 6), st.integers(-1, 31), st.integers(0, 8))
def test_rows_are_what_a_sorted_list_is(
    steps: list[tuple[int, int | None]], most: int, after: int, limit: int
) -> None:
    table: Rows[Row] = Rows()
    model: dict[int, Row] = {}
    with mock.patch.object(rows, "_MOST", most):
        for seq, say in steps:
            if say is not None:
                model[seq] = Row(seq, say)
                table.put(model[seq])
            elif model.pop(seq, None) is not None:
                table.take(seq)
    expected = [model[seq] for seq in sorted(model)]
    assert list(table) == expected
    behind = [row for row in expected if row.seq > after]
    assert table.after(after) == behind
    assert table.after(after, limit) == behind[:limit]
    assert all(0 < len(chunk) <= most for chunk in table._chunks)


def test_what_was_asked_for_stays_what_it_was() -> None:
    table: Rows[Row] = Rows()
    for seq in range(1, 4):
        table.put(Row(seq, 0))
    found = table.after(1)
    table.take(2)
    table.put(Row(3, 7))
    assert found == [Row(2, 0), Row(3, 0)]
