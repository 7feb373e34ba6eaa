"""How far changes have come: measured once, for those whom it concerns, and forgotten in time."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta

import pytest

from finial.rpc import RpcError
from finial.server.push import delivery
from finial.server.push.delivery import Deliveries, Delivery, Told
from finial.server.store.records import Change, ChangeKind, EntryRecord
from finial.wire.push import Stage, Step
from support.push_world import AGENT, OTHER, SERVER, World, a_node
from support.rpc import run

ALIAS = "spiffe://example.org/alias"


@dataclass(eq=False)
class _Stream:
    behind_since: float | None = None
    synced: bool = True

    def end(self, error: RpcError) -> None:
        raise AssertionError


class _All:
    """Says that an agent may serve everything."""

    def __init__(self, world: World) -> None:
        self._world = world

    def get(self, entry_id: str) -> EntryRecord | None:
        return self._world.index.entries.get(entry_id)


class _Scene:
    def __init__(self) -> None:
        self.world = World()
        self.deliveries = self.world.deliveries
        self.stack = ExitStack()

    def connect(self, agent_id: str = AGENT, stream: _Stream | None = None) -> _Stream:
        stream = stream or _Stream()
        self.stack.enter_context(self.world.hub.entered(agent_id, stream))
        return stream

    async def after(self, seconds: float) -> None:
        await self.world.clock.advance(timedelta(seconds=seconds))

    def applied(self, *entries: str, agent_id: str = AGENT) -> None:
        told = Told(self.deliveries)
        for entry_id in entries:
            told.tell(entry_id)
        self.deliveries.applied(agent_id, told.take())

    def reported(
        self,
        stage: Stage,
        *,
        entry_id: str = "a",
        agent_id: str = AGENT,
        revision: int = 0,
        trouble: str = "",
    ) -> None:
        step = Step(entry_id, revision, stage, trouble)
        self.deliveries.reported(agent_id, step, _All(self.world))

    def of(self, entry_id: str = "a", agent_id: str = AGENT) -> Delivery:
        found, _ = self.deliveries.of(entry_id)
        (one,) = (each for each in found if each.agent_id == agent_id)
        return one


def test_each_step_is_measured_from_the_commit_and_once() -> None:
    async def main() -> None:
        scene = _Scene()
        scene.connect()
        scene.world.put("a")
        await scene.after(0.5)
        scene.applied("a")
        await scene.after(0.5)
        scene.reported(Stage.SIGNED)
        await scene.after(1)
        scene.reported(Stage.DELIVERED)
        await scene.after(3600)
        for stage in Stage:
            scene.reported(stage)  # it has been renewed
        scene.applied("a")
        metric = scene.world.metric
        assert (metric.applied, metric.signed, metric.delivered) == ([0.5], [1.0], [2.0])
        found = scene.of()
        assert (found.applied, found.signed, found.delivered) == (0.5, 1.0, 2.0)
        assert found.current
        assert found.connected

    run(main())


def test_a_deletion_is_measured_too() -> None:
    async def main() -> None:
        scene = _Scene()
        scene.world.put("a")
        scene.world.remove("a")
        await scene.after(1)
        scene.applied("a")
        assert scene.world.metric.applied == [1.0]
        assert scene.deliveries.of("a") == ((), 0)

    run(main())


def test_what_has_changed_again_does_not_count() -> None:
    async def main() -> None:
        scene = _Scene()
        stream = scene.connect()
        scene.world.put("a", revision=1)
        scene.applied("a")
        scene.world.put("a", revision=2)
        stream.behind_since = scene.world.clock.monotonic()
        found = scene.of()
        assert (found.current, found.revision, found.applied) == (False, 1, None)
        told = Told(scene.deliveries)
        told.tell("a")
        scene.world.put("a", revision=3)
        scene.deliveries.applied(AGENT, told.take())
        assert not told.take()
        scene.reported(Stage.SIGNED, revision=2)
        assert scene.world.metric.applied == [0.0]
        assert not scene.world.metric.signed
        # Of what was two changes ago nothing is known any more.
        assert scene.of().revision == 0
        scene.applied("a")
        assert (scene.of().current, scene.of().revision) == (True, 3)

    run(main())


def test_what_an_agent_may_not_serve_is_none_of_its_business() -> None:
    scene = _Scene()
    scene.reported(Stage.FAILED, entry_id="nothing", trouble="lies")
    scene.reported(Stage.SIGNED, entry_id="nothing")
    assert not scene.deliveries._troubles
    assert not scene.world.metric.signed


def test_what_is_not_followed_is_not_measured() -> None:
    scene = _Scene()
    record = scene.world.record("a")
    scene.world.index.entries.put(record)  # as if it had been there at the start
    scene.connect()
    scene.applied("a")
    scene.reported(Stage.SIGNED)
    assert not scene.world.metric.applied
    assert not scene.world.metric.signed
    found = scene.of()
    assert (found.current, found.applied, found.signed) == (True, None, None)


def test_other_kinds_of_changes_are_not_followed() -> None:
    scene = _Scene()
    scene.world.bundle(sequence=2)
    scene.world.node(a_node())
    assert not scene.deliveries._commits


@pytest.mark.parametrize(
    ("stream", "current", "connected"),
    [
        (None, False, False),
        (_Stream(synced=False), False, True),
        (_Stream(), True, True),
        (_Stream(behind_since=1.0), False, True),
    ],
)
def test_whether_an_agent_has_an_entry_as_it_is_now(
    stream: _Stream | None, current: bool, connected: bool
) -> None:
    scene = _Scene()
    scene.world.put("a", revision=7)
    if stream is not None:
        scene.connect(stream=stream)
    found = scene.of()
    assert (found.current, found.connected) == (current, connected)
    assert found.revision == (7 if current else 0)
    # Once it has acknowledged it, that is known.
    scene.applied("a")
    assert scene.of().current


def test_an_agent_that_is_behind_has_what_did_not_change_lately() -> None:
    scene = _Scene()
    scene.world.index.entries.put(scene.world.record("old"))
    scene.connect(stream=_Stream(behind_since=1.0))
    assert scene.of("old").current


def test_troubles_are_made_fit_for_people_and_end_with_success() -> None:
    scene = _Scene()
    scene.world.put("a", "b")
    scene.reported(Stage.FAILED, trouble="no \x1b[31m" + "x" * 500)
    trouble = scene.of().trouble
    assert trouble.startswith("no \\x1b[31mx")
    assert len(trouble) == 200
    scene.reported(Stage.FAILED, entry_id="b", trouble="other")
    scene.reported(Stage.SIGNED, revision=99)
    assert scene.of().trouble == ""
    assert scene.of("b").trouble == "other"
    scene.reported(Stage.DELIVERED, entry_id="b")
    assert not scene.deliveries._troubles
    scene.reported(Stage.FAILED, trouble="again")
    scene.deliveries.left(AGENT)
    scene.deliveries.left(OTHER)
    assert scene.of().trouble == ""


def test_an_agent_has_so_many_troubles_and_no_more() -> None:
    scene = _Scene()
    names = [f"e{each}" for each in range(delivery.MOST_TROUBLES + 5)]
    scene.world.put(*names)
    for name in [*names, names[-1]]:
        scene.reported(Stage.FAILED, entry_id=name, trouble=name)
    assert list(scene.deliveries._troubles[AGENT]) == names[5:]


def _fleet(scene: _Scene, count: int) -> list[str]:
    """Agents that all may serve entry `a`, by an alias."""
    agents = [f"spiffe://example.org/spire/agent/join_token/n{each}" for each in range(count)]
    nodes = [a_node(each, seq=10 + number, selectors="x:1") for number, each in enumerate(agents)]
    scene.world.change(*(Change(ChangeKind.NODE, node.id, node) for node in nodes))
    scene.world.put("alias", parent=SERVER, selectors=nodes[0].selectors)
    scene.world.put("a", parent=ALIAS)
    return agents


def test_those_that_are_behind_are_named_first() -> None:
    scene = _Scene()
    agents = _fleet(scene, 5)
    for agent_id in agents[:3]:
        scene.applied("a", agent_id=agent_id)
    found, total = scene.deliveries.of("a")
    assert total == 5
    assert [each.agent_id for each in found] == [*agents[3:], *agents[:3]]


def test_of_too_many_agents_not_all_are_named_or_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "MOST_AGENTS", 4)
    scene = _Scene()
    agents = _fleet(scene, 10)
    for agent_id in agents:
        scene.applied("a", agent_id=agent_id)
        scene.reported(Stage.SIGNED, agent_id=agent_id)
        scene.reported(Stage.SIGNED, agent_id=agent_id)
    assert len(scene.world.metric.applied) == len(scene.world.metric.signed) == 4
    found, total = scene.deliveries.of("a")
    assert total == 10
    assert [each.current for each in found] == [False] * 4


def test_only_so_many_changes_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "MOST_COMMITS", 3)
    scene = _Scene()
    for name in ("a", "b", "c", "a", "d"):
        scene.world.put(name)
    assert [scene.deliveries.recent(name) is not None for name in "abcd"] == [True, False, True, True]
    scene.world.put("e", "f", "g", "h", "i")
    assert list(scene.deliveries._commits) == ["g", "h", "i"]


def test_only_so_many_steps_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "MOST_STEPS", 10)
    scene = _Scene()
    agents = _fleet(scene, 4)

    def steps(deliveries: Deliveries) -> int:
        commits = list(deliveries._commits.values())
        commits += [commit.before for commit in commits if commit.before is not None]
        return sum(len(commit.steps) for commit in commits)

    for number in range(12):
        name = f"e{number % 5}"
        scene.world.put(name, parent=ALIAS, revision=number)
        for agent_id in agents:
            scene.applied(name, agent_id=agent_id)
            assert steps(scene.deliveries) == scene.deliveries._count <= 10


def test_a_change_that_is_followed_by_more_agents_than_may_be_kept_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(delivery, "MOST_STEPS", 2)
    scene = _Scene()
    agents = _fleet(scene, 4)
    for agent_id in agents:
        scene.applied("a", agent_id=agent_id)
    assert scene.deliveries.recent("a") is None
    assert scene.deliveries._count == 0
    assert len(scene.world.metric.applied) == 3
