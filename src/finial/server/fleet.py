"""Which agents are there and what they have, as far as this server has been told since it started.

An agent that is told of changes as they happen acknowledges them and reports what it holds. Of one that polls
only its calls are seen: which bundle it has fetched, which SVID it shows, when it had something signed. What
cannot be known counts as not done. Nothing here decides what is served.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, NamedTuple

from finial.core.x509cert import Certificate
from finial.runtime.clock import Clock, wait_at_most
from finial.server.ca.kinds import authority_id_of
from finial.server.index.index import Index
from finial.server.store.records import Change, ChangeKind, NodeRecord

HEARD_WITHIN: Final = timedelta(minutes=10)
"""An agent that polls comes more often than that: SPIRE's back off to eight minutes."""
SETTLE: Final = timedelta(milliseconds=500)
"""From the last acknowledgement to the first use: workloads are handed a bundle, and say nothing about it."""
POLLING_SETTLE: Final = timedelta(seconds=2)
"""The same when an agent polls: what it has fetched it has yet to look at."""
LEAVE: Final = timedelta(seconds=5)
"""From the last report of SVIDs that rest on an authority to its end: workloads are handed other ones, and
say nothing about it. Nobody is in a hurry, so this is long enough for a machine that is busy renewing."""
RENEWED_AFTER: Final = timedelta(seconds=10)
"""An agent that polls has renewed what rests on a tainted authority when it fetched the taint that long ago
and has had nothing signed for as long: SPIRE's agents renew a hundred SVIDs every five seconds."""
RENEWED_AT_LAST: Final = timedelta(minutes=10)
"""The same for one that never stops: with many SVIDs there is always one whose time has come."""


@dataclass(frozen=True, slots=True)
class Laggard:
    """An agent that is waited for.

    Args:
        agent_id: Its ID.
        why: For people.
        svids: How many of its SVIDs rest on the authority, as far as is known.
    """

    agent_id: str
    why: str
    svids: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """How far an authority has come.

    Args:
        live: How many agents are there, or may be.
        behind: Those of them that do not have the bundle with the authority, as far as is known.
        away: How many could come back and have not been heard of lately.
        resting: How many SVIDs rest on the authority, as far as is known.
        resting_on: Whose; of a tainted authority also those agents of which it cannot be known.
        polling: How many of the live agents poll.
        settled: For how long none has been behind; zero while one is.
        settle: For how long that has to be so before the authority is used.
        left: For how long nothing has rested on the authority; zero while something does.
        leave: For how long that has to be so before the authority is trusted no more.
    """

    live: int
    behind: tuple[Laggard, ...]
    away: int
    resting: int
    resting_on: tuple[Laggard, ...]
    polling: int
    settled: timedelta
    settle: timedelta
    left: timedelta
    leave: timedelta

    @property
    def ready(self) -> bool:
        """Whether the authority may be used."""
        return not self.behind and self.settled >= self.settle


@dataclass(slots=True)
class _Agent:
    """What is known of an agent; instants are on the monotonic scale.

    Args:
        heard_at: None before its first call.
        streams: How many push streams it has open.
        pushes: Whether push was the last that it did.
        sequence: Of the newest own bundle that it has.
        fetched_at: When it last fetched it, or acknowledged a newer one.
        reached_at: Since when it has that, with the taints in it.
        signed_at: When it last had something signed.
        authority: What the SVID rests on that it shows.
        resting: SVIDs by authority, as it reports them; None when it has reported nothing.
        left_at: When its report was the first one, or the first without an authority.
    """

    heard_at: float | None = None
    streams: int = 0
    pushes: bool = False
    sequence: int = -1
    fetched_at: float = -1.0
    reached_at: float = 0.0
    signed_at: float | None = None
    authority: Certificate | None = None
    resting: Mapping[str, int] | None = None
    left_at: float = 0.0


class _Seen(NamedTuple):
    """A node that could call, with what is known of it."""

    id: str
    agent: _Agent
    live: bool
    unknown: bool  # not heard of, but it may well be there
    silence: float | None  # seconds since it was last heard of


@dataclass(frozen=True, slots=True)
class _Since:
    """When something appeared in the own bundle."""

    sequence: int
    at: float


_NOTHING: Final = _Agent()


class Fleet:
    """What the agents of this server have. Owned by the event loop.

    Args:
        index: Loaded; says which agents exist, and has the own bundle.
        clock: Measures silence.
    """

    def __init__(self, index: Index, *, clock: Clock) -> None:
        self._index = index
        self._clock = clock
        self._started = clock.monotonic()
        self._agents: dict[str, _Agent] = {}  # of those that exist, or have a stream open
        self._published: dict[str, _Since] = {}  # by authority ID, of the authorities of the own bundle
        self._tainted: dict[str, _Since] = {}  # those of certificates, for nobody asks what rests on a key
        self._newest = _Since(0, self._started)  # the own bundle, with its taints, as it is now
        self._moved: asyncio.Event | None = None  # somebody waits for the next change
        self.version = 0
        """Rises with whatever may change a rollout, but for time."""
        self._take_bundle()
        index.subscribe(self._changed)

    async def changed(self, version: int, most: timedelta) -> None:
        """Return when a rollout may be another than it was, or after some time.

        Args:
            version: As it was before the rollout was looked at.
            most: For how long to wait.
        """
        if self.version == version:
            if self._moved is None:
                self._moved = asyncio.Event()
            await wait_at_most(self._clock, self._moved, most)

    # What agents do.

    def heard(self, agent_id: str, authority: Certificate | None = None, *, signing: bool = False) -> None:
        """An agent has made a call.

        Args:
            agent_id: Its ID, proven.
            authority: What its SVID rests on.
            signing: The call has something signed.
        """
        agent = self._known(agent_id)
        if agent is None:
            return
        now = self._clock.monotonic()
        if agent.heard_at is None or agent.authority is not authority:
            self._bump()
        agent.heard_at = now
        agent.authority = authority or agent.authority
        if signing:
            agent.signed_at = now

    def joined(self, agent_id: str) -> None:
        """An agent has opened a push stream."""
        agent = self._agents.setdefault(agent_id, _Agent())
        agent.heard_at = self._clock.monotonic()
        agent.streams += 1
        agent.pushes = True
        self._bump()

    def left(self, agent_id: str) -> None:
        """A push stream of an agent has ended."""
        agent = self._agents.get(agent_id)
        if agent is None or not agent.streams:
            return
        agent.heard_at = self._clock.monotonic()
        agent.streams -= 1
        if not agent.streams and self._index.nodes.get(agent_id) is None:
            del self._agents[agent_id]
        self._bump()

    def has_bundle(self, agent_id: str, sequence: int) -> None:
        """An agent has acknowledged the own bundle over its push stream, or has fetched it.

        Args:
            agent_id: Its ID, proven.
            sequence: Of the bundle.
        """
        agent = self._known(agent_id)
        if agent is None:
            return
        now = agent.heard_at = self._clock.monotonic()
        if agent.pushes and not agent.streams:
            agent.pushes, agent.resting, agent.fetched_at = False, None, -1.0  # it has gone over to polling
            self._bump()
        # A taint changes no sequence number.
        if sequence > agent.sequence or agent.fetched_at < self._newest.at:
            agent.sequence, agent.reached_at = max(sequence, agent.sequence), now
            self._bump()
        agent.fetched_at = now

    def resting(self, agent_id: str, counts: Mapping[str, int]) -> None:
        """An agent reports how many SVIDs it holds, its own among them.

        Args:
            agent_id: Its ID, proven.
            counts: By authority ID; what is in no bundle is not kept.
        """
        agent = self._known(agent_id)
        if agent is not None:
            found = {key: value for key, value in counts.items() if value and key in self._published}
            if agent.resting is None or not agent.resting.keys() <= found.keys():
                agent.left_at = self._clock.monotonic()
            agent.resting = found
            self._bump()

    # What is asked.

    def rollout(self, authority_id: str) -> Rollout:
        """How far an authority has come; looks at every agent, and at nothing else.

        Args:
            authority_id: Of an authority in the own bundle.
        """
        now = self._clock.monotonic()
        since = self._published.get(authority_id, self._newest)
        settled_at, left_at, live, away, polling, resting = since.at, since.at, 0, 0, 0, 0
        behind: list[Laggard] = []
        resting_on: list[Laggard] = []
        for seen in self._seen(now):
            agent = seen.agent
            if seen.live or seen.unknown:
                live += 1
                polling += seen.live and not agent.pushes
                settled_at = max(settled_at, agent.reached_at)
                if agent.sequence < since.sequence:
                    behind.append(Laggard(seen.id, _why_behind(seen)))
            else:
                away += 1
            left_at = max(left_at, agent.left_at)
            found = self._rests(seen, authority_id, now)
            if found is not None:
                resting += found.svids
                resting_on.append(found)
        return Rollout(
            live=live,
            behind=tuple(behind),
            away=away,
            resting=resting,
            resting_on=tuple(resting_on),
            polling=polling,
            settled=timedelta(seconds=0 if behind else now - settled_at),
            settle=POLLING_SETTLE if polling else SETTLE if live else timedelta(0),
            left=timedelta(seconds=0 if resting_on else now - left_at),
            leave=LEAVE if live else timedelta(0),
        )

    def _seen(self, now: float) -> Iterator[_Seen]:
        wall = self._clock.now().timestamp()
        within = HEARD_WITHIN.total_seconds()
        young = now - self._started < within
        for node in self._index.nodes.after(-1):
            if not _may_call(node, wall):
                continue
            agent = self._agents.get(node.id, _NOTHING)
            silence = None if agent.heard_at is None else now - agent.heard_at
            live = agent.streams > 0 or (silence is not None and silence < within)
            yield _Seen(node.id, agent, live, silence is None and young, silence)

    def _rests(self, seen: _Seen, authority_id: str, now: float) -> Laggard | None:
        """What rests on an authority at an agent; None for nothing, or nothing that is known."""
        agent = seen.agent
        tainted = self._tainted.get(authority_id)
        if agent.resting is not None:
            svids = agent.resting.get(authority_id, 0)
            return Laggard(seen.id, _whereabouts(seen), svids) if svids else None
        own = agent.authority is not None and authority_id_of(agent.authority) == authority_id
        if own and not agent.pushes:
            return Laggard(seen.id, f"{_whereabouts(seen)}; its own SVID", 1)
        if tainted is None:
            return None
        why = _why_unsure(agent, tainted, now)
        return Laggard(seen.id, f"{_whereabouts(seen)}; {why}") if why else None

    # What changes.

    def _known(self, agent_id: str) -> _Agent | None:
        """The agent, if it exists."""
        agent = self._agents.get(agent_id)
        if agent is None and self._index.nodes.get(agent_id) is not None:
            agent = self._agents[agent_id] = _Agent()
        return agent

    def _bump(self) -> None:
        self.version += 1
        if self._moved is not None:
            self._moved.set()
            self._moved = None

    def _changed(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if change.kind is ChangeKind.NODE:
                self._take_node(change.key, gone=change.record is None)
            elif change.kind is ChangeKind.BUNDLE and change.key == self._index.trust_domain.name:
                self._take_bundle()

    def _take_node(self, agent_id: str, *, gone: bool) -> None:
        agent = self._agents.get(agent_id)
        if gone:
            # Whoever attests under this ID afterwards is somebody else; but a stream may still be open.
            streams = 0 if agent is None else agent.streams
            self._agents.pop(agent_id, None)
            if streams:
                self._agents[agent_id] = _Agent(streams=streams, pushes=True)
        elif agent is None:
            self._agents[agent_id] = _Agent(heard_at=self._clock.monotonic())  # it has just attested
        self._bump()

    def _take_bundle(self) -> None:
        bundle = self._index.bundle
        if bundle is None:
            return
        since = self._newest = _Since(bundle.sequence, self._clock.monotonic())
        keys = (*bundle.jwt_authorities, *bundle.wit_authorities)
        published = [*map(authority_id_of, bundle.x509_authorities), *map(authority_id_of, keys)]
        self._published = {key: self._published.get(key, since) for key in published}
        tainted = map(authority_id_of, bundle.tainted)
        self._tainted = {key: self._tainted.get(key, since) for key in tainted}
        self._bump()


def _may_call(node: NodeRecord, wall: float) -> bool:
    return bool(node.serial) and (wall < node.expires_at or wall < node.pending_expires_at)


def _whereabouts(seen: _Seen) -> str:
    if seen.agent.streams:
        return "connected"
    if seen.silence is None:
        return "not heard of since the server started"
    return f"last heard of {_ago(seen.silence)} ago"


def _why_behind(seen: _Seen) -> str:
    if seen.agent.streams:
        return "connected, but has not acknowledged the bundle"
    if seen.silence is None:
        return _whereabouts(seen)
    return f"has not fetched the bundle; {_whereabouts(seen)}"


def _why_unsure(agent: _Agent, tainted: _Since, now: float) -> str:
    """Why an agent that reports nothing may have SVIDs below a tainted authority; empty when it has not."""
    if agent.pushes:
        return "has not reported what it holds"
    if agent.authority is None:
        return "what it holds is not known"
    if agent.fetched_at < tainted.at:
        return "has not fetched the bundle that says so"
    since = now - agent.reached_at
    quiet = since if agent.signed_at is None else min(since, now - agent.signed_at)
    if quiet >= RENEWED_AFTER.total_seconds() or since >= RENEWED_AT_LAST.total_seconds():
        return ""
    return "may be renewing what it holds"


def _ago(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
