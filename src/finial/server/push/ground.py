"""What the streams of a server stand on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from finial.runtime.chance import Chance
from finial.runtime.clock import Clock
from finial.server.index.index import Index
from finial.server.push.delivery import Deliveries
from finial.server.push.failover import Failover
from finial.server.push.hub import Hub
from finial.server.push.turns import Turns


class Fleet(Protocol):
    """Keeps what is known of agents, for operators and for the rotation of authorities."""

    def joined(self, agent_id: str) -> None:
        """A stream of an agent has begun."""

    def left(self, agent_id: str) -> None:
        """A stream of an agent is over."""

    def has_bundle(self, agent_id: str, sequence: int) -> None:
        """An agent has this own bundle in force."""

    def resting(self, agent_id: str, counts: Mapping[str, int]) -> None:
        """How many SVIDs of an agent each authority has signed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """All of it.

    Args:
        index: What agents may serve.
        hub: Who is connected.
        turns: Who may transfer much.
        failover: Who has to wait.
        deliveries: How far changes have come.
        fleet: What is known of agents.
        clock: Measures.
        chance: Spreads heartbeats.
    """

    index: Index
    hub: Hub
    turns: Turns
    failover: Failover
    deliveries: Deliveries
    fleet: Fleet
    clock: Clock
    chance: Chance
