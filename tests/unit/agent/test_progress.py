"""What an agent tells its server of its entries: the latest of each, bounded, to somebody who listens."""

from __future__ import annotations

from finial.agent.progress import Progress, Stage, Step


def test_nothing_is_kept_while_nobody_listens() -> None:
    progress = Progress()
    progress.note(Step("a", 0, Stage.SIGNED))
    assert not progress.some.is_set()
    progress.listen(on=True)
    assert progress.take() == ()


def test_the_latest_of_each_kind_counts() -> None:
    progress = Progress()
    progress.listen(on=True)
    progress.note(Step("a", 0, Stage.SIGNED))
    progress.note(Step("a", 0, Stage.DELIVERED))
    progress.note(Step("a", 1, Stage.SIGNED))
    assert progress.some.is_set()
    assert progress.take() == (Step("a", 1, Stage.SIGNED), Step("a", 0, Stage.DELIVERED))
    assert not progress.some.is_set()
    assert progress.take() == ()


def test_whoever_stops_listening_leaves_nothing_behind() -> None:
    progress = Progress()
    progress.listen(on=True)
    progress.note(Step("a", 0, Stage.FAILED, "the server is away"))
    progress.listen(on=False)
    progress.listen(on=True)
    assert progress.take() == ()


def test_it_is_bounded() -> None:
    progress = Progress()
    progress.listen(on=True)
    for number in range(6_000):
        progress.note(Step(str(number), 0, Stage.SIGNED))
    kept = progress.take()
    assert len(kept) == 5_000
    assert kept[-1].entry_id == "5999"


def test_it_is_taken_in_portions() -> None:
    progress = Progress()
    progress.listen(on=True)
    for number in range(5):
        progress.note(Step(str(number), 0, Stage.SIGNED))
    assert [step.entry_id for step in progress.take(3)] == ["0", "1", "2"]
    assert progress.some.is_set()
    assert [step.entry_id for step in progress.take(3)] == ["3", "4"]
    assert not progress.some.is_set()


def test_whoever_tells_can_be_made_to_look() -> None:
    progress = Progress()
    progress.look()
    assert progress.some.is_set()
    assert progress.take() == ()
    assert not progress.some.is_set()
