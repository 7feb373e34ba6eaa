"""A journal has the last ids for whoever comes in time, and says so to whoever comes too late."""

from __future__ import annotations

from finial.server.index.reach import _SPARE, MOST_DIRTY, Journal


def test_a_reader_finds_what_came_behind_its_place() -> None:
    journal = Journal()
    journal.write(["a", "b"])
    place = journal.end
    assert journal.since(place) == []
    journal.write(["c"])
    assert journal.since(place) == ["c"]
    assert journal.since(0) == ["a", "b", "c"]


def test_too_many_to_be_named_are_missed_by_all_who_read_before() -> None:
    journal = Journal()
    early = journal.end
    journal.write(["a"])
    late = journal.end
    journal.write(None)
    assert journal.since(early) is None
    assert journal.since(late) is None
    assert journal.since(journal.end) == []


def test_a_journal_keeps_no_more_than_it_has_to() -> None:
    journal = Journal()
    for number in range(3 * MOST_DIRTY):
        journal.write([str(number)])
        assert len(journal._ids) <= MOST_DIRTY + _SPARE
    assert journal.end == 3 * MOST_DIRTY
    assert journal.since(0) is None
    last = journal.since(journal.end - MOST_DIRTY)
    assert last is not None
    assert len(last) == MOST_DIRTY
    assert last[-1] == str(3 * MOST_DIRTY - 1)
