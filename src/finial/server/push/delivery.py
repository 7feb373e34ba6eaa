"""How far changed entries have come: applied by agents, signed, delivered; and what agents say is wrong.

Figures alone rest on it, so it is bounded everywhere, and what is too much is forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from finial.runtime.clock import Clock
from finial.runtime.text import visible
from finial.server.index.index import Index
from finial.server.push.hub import Hub
from finial.server.store.records import Change, ChangeKind, EntryRecord
from finial.wire.push import Stage, Step

MOST_COMMITS: Final = 20_000
MOST_AGENTS: Final = 1_000
"""Agents that are followed for one change, and that are told of for one entry."""
MOST_STEPS: Final = 100_000
"""Agents that are followed for all changes together."""
MOST_TROUBLES: Final = 20
"""Troubles of one agent that are remembered."""
LONGEST_TROUBLE: Final = 200

Observe = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Observers:
    """Where the seconds go that pass from the commit of an entry.

    Args:
        applied: Until an agent has put it in force.
        signed: Until an agent has an SVID for it.
        delivered: Until a workload has been sent that.
    """

    applied: Observe
    signed: Observe
    delivered: Observe


@dataclass(slots=True)
class _Steps:
    """Seconds from the commit, for one agent."""

    applied: float | None = None
    signed: float | None = None
    delivered: float | None = None


@dataclass(slots=True, eq=False)
class Commit:
    """One change of one entry, while it is followed.

    Args:
        entry_id: Of which entry.
        at: When, on the monotonic scale.
        revision: Of the entry from then on; None when it is gone.
        before: The change before it, as far as it is known.
    """

    entry_id: str
    at: float
    revision: int | None
    before: Commit | None = None
    steps: dict[str, _Steps] = field(default_factory=dict)
    """By agent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """How far an entry has come at one agent.

    Args:
        agent_id: Which one.
        connected: Whether it is told of changes as they happen.
        revision: Of the entry as the agent has it, as far as is known; else 0.
        applied: Seconds from the commit; None when it has not happened or is not known.
        signed: Likewise.
        delivered: Likewise.
        current: Whether the agent holds the entry as it is now, whenever it got it.
        trouble: What the agent says is wrong.
    """

    agent_id: str
    connected: bool
    revision: int
    applied: float | None
    signed: float | None
    delivered: float | None
    current: bool
    trouble: str


class Authorized(Protocol):
    """Answers which entries an agent may serve."""

    def get(self, entry_id: str) -> EntryRecord | None:
        """The entry, if the agent may serve it now."""


class Deliveries:
    """Follows entries from their commits. Owned by the event loop.

    Args:
        index: Says who may serve an entry; `changed` is to be subscribed to it.
        hub: Says who is connected.
        clock: Measures.
        observers: Are told of each step once.
    """

    def __init__(self, index: Index, hub: Hub, *, clock: Clock, observers: Observers) -> None:
        self._index = index
        self._hub = hub
        self._clock = clock
        self._observers = observers
        # By entry; the oldest stands first.
        self._commits: dict[str, Commit] = {}
        self._count = 0  # of all their steps
        self._troubles: dict[str, dict[str, str]] = {}  # by agent and entry; the oldest stands first

    def changed(self, changes: Sequence[Change]) -> None:
        """Something has been committed."""
        now = self._clock.monotonic()
        for change in changes[-MOST_COMMITS:]:
            if change.kind is ChangeKind.ENTRY:
                revision = change.record.revision if isinstance(change.record, EntryRecord) else None
                self._follow(Commit(change.key, now, revision))

    def _follow(self, commit: Commit) -> None:
        old = self._commits.pop(commit.entry_id, None)
        if old is not None:
            self._drop(old.before)
            old.before = None
            commit.before = old
        self._commits[commit.entry_id] = commit
        while len(self._commits) > MOST_COMMITS:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        oldest = self._commits.pop(next(iter(self._commits)))
        self._drop(oldest.before)
        self._drop(oldest)

    def _drop(self, commit: Commit | None) -> None:
        if commit is not None:
            self._count -= len(commit.steps)

    def recent(self, entry_id: str) -> Commit | None:
        """The last change of an entry, if it is followed."""
        return self._commits.get(entry_id)

    def applied(self, agent_id: str, commits: Iterable[Commit]) -> None:
        """An agent has put changes in force."""
        now = self._clock.monotonic()
        for commit in commits:
            if self._commits.get(commit.entry_id) is not commit:
                continue  # it has changed again, and this is not what counts any more
            steps = self._steps(commit, agent_id)
            if steps is not None and steps.applied is None:
                steps.applied = now - commit.at
                self._observers.applied(steps.applied)

    def reported(self, agent_id: str, step: Step, authorized: Authorized) -> None:
        """An agent says what has happened; nothing when that is none of its business.

        Args:
            agent_id: Which one.
            step: What it says.
            authorized: Which entries it may serve.
        """
        record = authorized.get(step.entry_id)
        if record is None:
            return
        if step.stage is Stage.FAILED:
            self._note_trouble(agent_id, step)
            return
        self._forget_trouble(agent_id, step.entry_id)
        commit = self._commits.get(step.entry_id)
        if commit is None or step.revision != record.revision:
            return
        steps = self._steps(commit, agent_id)
        if steps is None:
            return
        passed = self._clock.monotonic() - commit.at
        if steps.signed is None and step.stage is Stage.SIGNED:
            steps.signed = passed
            self._observers.signed(passed)
        elif steps.delivered is None and step.stage is Stage.DELIVERED:
            steps.delivered = passed
            self._observers.delivered(passed)

    def _steps(self, commit: Commit, agent_id: str) -> _Steps | None:
        """What is known of an agent; None when too many are followed."""
        steps = commit.steps.get(agent_id)
        if steps is None and len(commit.steps) < MOST_AGENTS:
            steps = commit.steps[agent_id] = _Steps()
            self._count += 1
            while self._count > MOST_STEPS and self._commits:
                self._drop_oldest()
        return steps

    def _note_trouble(self, agent_id: str, step: Step) -> None:
        troubles = self._troubles.setdefault(agent_id, {})
        troubles.pop(step.entry_id, None)
        if len(troubles) >= MOST_TROUBLES:
            del troubles[next(iter(troubles))]
        troubles[step.entry_id] = visible(step.trouble)[:LONGEST_TROUBLE]

    def _forget_trouble(self, agent_id: str, entry_id: str) -> None:
        troubles = self._troubles.get(agent_id)
        if troubles is not None and troubles.pop(entry_id, None) is not None and not troubles:
            del self._troubles[agent_id]

    def left(self, agent_id: str) -> None:
        """An agent has no stream any more: what it has said is wrong may be right by now."""
        self._troubles.pop(agent_id, None)

    def of(self, entry_id: str) -> tuple[Sequence[Delivery], int]:
        """How far an entry has come.

        Args:
            entry_id: Which one.

        Returns:
            Agents that may serve it, first those that do not hold it as it is now, and not all when they are
            too many; and how many there are.
        """
        record = self._index.entries.get(entry_id)
        if record is None:
            return (), 0
        commit = self._commits.get(entry_id)
        behind: list[Delivery] = []
        current: list[Delivery] = []
        total = 0
        for agent_id in self._index.agents_of(entry_id):
            total += 1
            found = self._delivery(agent_id, record, commit)
            chosen = current if found.current else behind
            if len(chosen) < MOST_AGENTS:
                chosen.append(found)
        return (behind + current)[:MOST_AGENTS], total

    def _delivery(self, agent_id: str, record: EntryRecord, commit: Commit | None) -> Delivery:
        stream = self._hub.stream(agent_id)
        steps = _NONE if commit is None else commit.steps.get(agent_id, _NONE)
        if steps.applied is not None:
            current = True
        elif stream is None or not stream.synced:
            current = False
        else:
            # What has not changed lately has been told long ago.
            current = commit is None or stream.behind_since is None
        before = commit.before if commit is not None else None
        revision = record.revision if current else 0
        if not current and before is not None and agent_id in before.steps:
            revision = before.revision or 0
        return Delivery(
            agent_id=agent_id,
            connected=stream is not None,
            revision=revision,
            applied=steps.applied,
            signed=steps.signed,
            delivered=steps.delivered,
            current=current,
            trouble=self._troubles.get(agent_id, {}).get(record.id, ""),
        )


_NONE: Final = _Steps()


class Told:
    """Which changes are told by a message in the making. Owned by one stream.

    Args:
        deliveries: Follows changes.
    """

    def __init__(self, deliveries: Deliveries) -> None:
        self._deliveries = deliveries
        self._commits: dict[str, Commit] = {}  # by entry; no more than are followed

    def tell(self, entry_id: str) -> None:
        """An entry is told as it is now, or that it is gone."""
        commit = self._deliveries.recent(entry_id)
        if commit is not None:
            self._commits[entry_id] = commit

    def take(self) -> Sequence[Commit]:
        """All since the last call."""
        taken, self._commits = tuple(self._commits.values()), {}
        return taken
