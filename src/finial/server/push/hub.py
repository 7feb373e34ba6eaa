"""Who is connected, and how they are: figures, and the bound on streams of one agent."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from finial.rpc.status import RpcError, StatusCode
from finial.runtime.clock import Clock
from finial.runtime.log import fields
from finial.server.push.conversation import Acknowledged, differs
from finial.server.push.rounds import Rounds
from finial.wire.push import State

_log = logging.getLogger("finial.server")

MOST_STREAMS: Final = 2
"""Streams of one agent: it makes the next one before it breaks the last."""
_SPREAD_MS = 4  # for each agent that is connected
_LATE = 1.0  # seconds
_MOST_REMEMBERED = 20_000


class Stream(Protocol):
    """A stream, as others see it."""

    @property
    def behind_since(self) -> float | None:
        """Since when the agent does not hold what it may serve, on the monotonic scale; None when it does."""

    @property
    def synced(self) -> bool:
        """Whether the agent has acknowledged anything, or said at the beginning what it may serve."""

    def end(self, error: RpcError) -> None:
        """End it."""


class Hub:
    """All streams. Owned by the event loop.

    Args:
        clock: Measures.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._streams: dict[str, list[Stream]] = {}  # by agent; the oldest first
        # What each agent has acknowledged last; those that did so longest ago stand first.
        self._acknowledged: dict[str, Acknowledged] = {}
        self.rounds = Rounds(clock)
        """Looks at all streams."""
        self.bytes_sent = 0
        """Of all messages to agents."""
        self.mismatches = 0
        """How often an agent held something else than what it had acknowledged."""

    @property
    def connected(self) -> int:
        """How many agents have a stream."""
        return len(self._streams)

    @property
    def spread_ms(self) -> int:
        """Over how much time agents are to spread when they lose this server."""
        return _SPREAD_MS * len(self._streams)

    def behind(self) -> int:
        """How many agents have not had everything for more than a second."""
        latest = self._clock.monotonic() - _LATE
        newest = (streams[-1].behind_since for streams in self._streams.values())
        return sum(1 for since in newest if since is not None and since < latest)

    def stream(self, agent_id: str) -> Stream | None:
        """The newest stream of an agent, if it has one."""
        found = self._streams.get(agent_id)
        return None if found is None else found[-1]

    @contextmanager
    def entered(self, agent_id: str, stream: Stream) -> Iterator[None]:
        """Count a stream. One too many ends the oldest of its agent."""
        streams = self._streams.setdefault(agent_id, [])
        streams.append(stream)
        if len(streams) > MOST_STREAMS:
            message = f"the agent has opened more than {MOST_STREAMS} streams; this was the oldest"
            streams.pop(0).end(RpcError(StatusCode.RESOURCE_EXHAUSTED, message))
        try:
            yield
        finally:
            if stream in streams:
                streams.remove(stream)
                if not streams:
                    del self._streams[agent_id]

    def acknowledged(self, agent_id: str, state: State) -> None:
        """An agent holds something from now on."""
        self._acknowledged.pop(agent_id, None)
        if len(self._acknowledged) >= _MOST_REMEMBERED:
            del self._acknowledged[next(iter(self._acknowledged))]
        self._acknowledged[agent_id] = Acknowledged(state, state.seq)

    def unchanged(self, agent_id: str, state: State) -> None:
        """An agent is told that what it holds has not changed.

        Args:
            agent_id: Which one.
            state: That, and how far the log is by now.
        """
        known = self._acknowledged.get(agent_id)
        if known is not None and known.state.says_alike(state):
            known.until = state.seq

    def check(self, agent_id: str, held: State | None) -> None:
        """Count it when an agent that stands where it stood holds something else now."""
        known = self._acknowledged.get(agent_id)
        if held is not None and known is not None and differs(held, known):
            self.mismatches += 1
            _log.warning(
                "an agent holds something else than what it has acknowledged, and is told the difference",
                extra=fields(agent=agent_id, entries=held.count, of=known.state.count, position=held.seq),
            )
