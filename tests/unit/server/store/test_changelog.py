"""The log: numbers, catching up with what others have written, and what pruning takes away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection

from finial.server.store import changelog, database, nodes, pruning
from support.clock import FixedChance, ManualClock
from support.neighbours import NODE, neighbour, tamper
from support.server_store import DOMAIN, an_entry

AGED = pruning.LOG_AGE + timedelta(hours=1)


def _looked_up(path: Path, look: Callable[[Connection], int]) -> int:
    engine = database.open_engine(path)
    try:
        with engine.begin() as connection:
            return look(connection)
    finally:
        engine.dispose()


def test_what_a_neighbour_has_written_is_told_before_our_own_changes(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "db"
        async with neighbour(path, "one") as one, neighbour(path, "two") as two:
            await one.create(an_entry("a"), an_entry("b"))
            await one.store.write(lambda tx: nodes.put(tx, NODE))
            await one.bundle("other.test", 3)
            assert two.mirror.told == []
            await two.create(an_entry("c"))
            expected = ["a", "b", NODE.id, "other.test", "c"]
            assert two.mirror.told == [([(key, True) for key in expected], 5)]
            assert two.up_to_date()
            assert not one.up_to_date()
            await one.store.follow()
            assert one.mirror.told[-1] == ([("c", True)], 5)
            assert one.up_to_date()

    asyncio.run(main())


def test_who_has_no_neighbour_is_told_its_own_changes_and_no_more(tmp_path: Path) -> None:
    async def main() -> None:
        async with neighbour(tmp_path / "db") as one:
            await one.create(an_entry("a"))
            await one.store.follow()
            await one.store.write(lambda _: None)
            await one.create(an_entry("b"), an_entry("c"))
            assert one.mirror.told == [([("a", True)], 1), ([("b", True), ("c", True)], 3)]
            assert not one.store.alone

    asyncio.run(main())


def test_a_key_that_changed_often_is_told_once_as_it_is_now(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "db"
        async with neighbour(path, "one") as one, neighbour(path, "two") as two:
            await one.create(an_entry("a"), an_entry("b"))
            for hint in ("x", "y", "z"):
                await one.revise("a", hint)
            await one.remove("b")
            await one.create(an_entry("c"))
            await one.remove("c")
            await one.create(an_entry("b"))
            await two.store.follow()
            assert two.mirror.told == [([("a", True), ("b", True), ("c", False)], 9)]
            assert two.up_to_date()

    asyncio.run(main())


def test_what_both_have_changed_is_told_once_too(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "db"
        async with neighbour(path, "one") as one, neighbour(path, "two") as two:
            await one.create(an_entry("a"), an_entry("b"))
            await two.remove("a")
            assert two.mirror.told == [([("b", True), ("a", False)], 3)]
            await two.revise("b", "again")
            await one.store.follow()
            assert one.up_to_date()

    asyncio.run(main())


def test_a_thousand_of_a_neighbour_are_caught_up_with(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "db"
        async with neighbour(path, "one") as one, neighbour(path, "two") as two:
            await one.create(*(an_entry(f"e{number}") for number in range(1_000)))
            await two.store.follow()
            ((changes, position),) = two.mirror.told
            assert [key for key, _ in changes] == [f"e{number}" for number in range(1_000)]
            assert position == 1_000
            assert two.up_to_date()

    asyncio.run(main())


def test_a_number_that_was_not_used_is_not_waited_for(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "db"
        async with neighbour(path) as one:
            await one.create(an_entry("a"))
            tamper(path, "UPDATE sqlite_sequence SET seq = 50 WHERE name = 'changes'")
            await one.create(an_entry("b"))
            assert one.mirror.told[-1] == ([("b", True)], 51)
            assert one.mirror.reloads == 0

    asyncio.run(main())


def test_kinds_of_a_newer_release_are_passed_by(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "db"
        async with neighbour(path) as one:
            tamper(
                path, "INSERT INTO changes (server, kind, key, revision, at) VALUES ('x', 'new', 'k', 0, 0)"
            )
            await one.store.follow()
            assert one.mirror.told == [([], 1)]

    asyncio.run(main())


@pytest.mark.parametrize("by", ["writing", "following"])
def test_whoever_comes_after_the_log_was_pruned_is_told_everything(
    tmp_path: Path, by: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        path, clock = tmp_path / "db", ManualClock()
        async with neighbour(path, "one", clock=clock) as one, neighbour(path, "two", clock=clock) as two:
            await two.create(an_entry("gone"))
            await one.create(an_entry("a"))
            await one.remove("gone")
            await clock.advance(AGED)
            await one.prune()
            await one.create(an_entry("b"))
            if by == "writing":
                await two.create(an_entry("c"))
            else:
                await two.store.follow()
            assert two.mirror.reloads == 1
            assert two.up_to_date()
            await two.create(an_entry("d"))
            assert two.mirror.reloads == 1
            assert two.up_to_date()

    with caplog.at_level("WARNING", logger="finial.server"):
        asyncio.run(main())
    assert [record.message for record in caplog.records] == [
        "the log of changes has not all that has happened, so everything was read again"
    ]


def test_pruning_what_everybody_has_seen_disturbs_nobody(tmp_path: Path) -> None:
    async def main() -> None:
        path, clock = tmp_path / "db", ManualClock()
        async with neighbour(path, "one", clock=clock) as one, neighbour(path, "two", clock=clock) as two:
            await one.create(an_entry("a"))
            await two.store.follow()
            await clock.advance(AGED)
            await one.create(an_entry("b"))
            await one.prune()
            await two.store.follow()
            await two.create(an_entry("c"))
            assert two.mirror.told == [([("a", True)], 1), ([("b", True)], 2), ([("c", True)], 3)]
            assert (one.mirror.reloads, two.mirror.reloads) == (0, 0)

    asyncio.run(main())


def test_the_position_outlives_the_rows(tmp_path: Path) -> None:
    async def main() -> None:
        path, clock = tmp_path / "db", ManualClock()
        async with neighbour(path, clock=clock) as one:
            assert _looked_up(path, changelog.position) == 0
            await one.create(an_entry("a"), an_entry("b"))
            await clock.advance(AGED)
            await one.prune()
            assert _looked_up(path, changelog.position) == _looked_up(path, changelog.pruned) == 2
            await one.prune()
        async with neighbour(path, clock=clock) as again:
            await again.create(an_entry("c"))
            assert again.mirror.told == [([("c", True)], 3)]
            assert again.mirror.reloads == 0

    asyncio.run(main())


def test_how_far_the_log_was_pruned_never_falls(tmp_path: Path) -> None:
    async def main() -> None:
        path, clock = tmp_path / "db", ManualClock()
        async with neighbour(path, clock=clock) as one:
            await one.create(an_entry("a"))
            clock.jump(-2 * AGED)  # a machine whose clock is wrong
            await one.create(an_entry("b"))
            clock.jump(2 * AGED)
            await one.prune()
            assert _looked_up(path, changelog.pruned) == 2
            await clock.advance(AGED)
            await one.prune()
            assert _looked_up(path, changelog.pruned) == 2
            assert _looked_up(path, changelog.position) == 2

    asyncio.run(main())


def test_a_log_without_its_first_rows_and_without_a_note_of_that_is_used_as_it_is(tmp_path: Path) -> None:
    """So is one that an earlier release has pruned."""

    async def main() -> None:
        path = tmp_path / "db"
        async with neighbour(path) as one:
            await one.create(an_entry("a"), an_entry("b"))
        tamper(path, "DELETE FROM changes")
        async with neighbour(path) as again:
            await again.create(an_entry("c"))
            assert again.mirror.told == [([("c", True)], 3)]
            assert again.mirror.reloads == 0

    asyncio.run(main())


def test_a_log_that_became_shorter_is_not_trusted(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "db"
        async with neighbour(path) as one:
            await one.create(an_entry("a"), an_entry("b"), an_entry("c"))
            set_back = (
                "DELETE FROM entries WHERE id <> 'a'",
                "DELETE FROM changes WHERE seq > 1",
                "UPDATE sqlite_sequence SET seq = 1 WHERE name = 'changes'",
            )
            tamper(path, *set_back)
            await one.create(an_entry("d"))
            assert one.mirror.reloads == 1
            assert one.up_to_date()
            one.mirror.position = 0
            tamper(path, *set_back)
            await one.store.follow()
            assert one.mirror.reloads == 2
            assert one.up_to_date()

    asyncio.run(main())


def test_a_new_epoch_makes_neighbours_read_everything_again(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "db"
        async with neighbour(path, "one") as one, neighbour(path, "two") as two:
            before = await one.store.write(lambda tx: database.epoch(tx.sql))
            chance = FixedChance()
            chance.token(1)
            drawn = await one.store.write(lambda tx: database.renew_epoch(tx, chance=chance))
            assert drawn != before
            assert len(drawn) == len(before)
            assert await one.store.write(lambda tx: database.epoch(tx.sql)) == drawn
            for at in (one, two):
                await at.store.follow()
                await at.store.follow()
            assert (one.mirror.reloads, two.mirror.reloads) == (0, 1)
        engine = database.open_engine(path)
        assert database.prepare(engine, path, DOMAIN, chance=FixedChance()) == drawn
        engine.dispose()

    asyncio.run(main())
