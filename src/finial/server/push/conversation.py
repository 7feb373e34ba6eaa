"""What a stream begins with, decided from what both sides hold. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from finial.wire.push import State

_SLACK: Final = 10_000


class Opening(Enum):
    """How an agent is brought to what it may serve."""

    CURRENT = "current"  # it holds that already
    BUNDLES = "bundles"  # the entries are right, so the bundles alone are told, all of them
    COMPARE = "compare"  # it says what it holds, and is told the difference
    WHOLE = "whole"  # it is told everything, and forgets the rest


@dataclass(slots=True)
class Acknowledged:
    """What an agent has acknowledged.

    Args:
        state: That.
        until: Up to which position of the log it has been told that this holds still.
    """

    state: State
    until: int


def opening(held: State | None, here: State) -> Opening:
    """How to begin.

    Args:
        held: What the agent says that it holds; None for nothing.
        here: What it may serve.
    """
    if held is None or held.count > most_held(here.count):
        return Opening.WHOLE
    if not held.same_entries(here):
        return Opening.COMPARE
    return Opening.CURRENT if held.bundles == here.bundles else Opening.BUNDLES


def is_ahead(held: State, epoch: str, position: int) -> bool:
    """Whether an agent has seen more of a database than a server that reads the same one.

    Args:
        held: What the agent says that it holds.
        epoch: Of the server's database.
        position: How far the server has read its log.
    """
    return held.epoch == epoch and held.seq > position


def most_held(count: int) -> int:
    """How many entries an agent may compare; one that holds more is sooner told everything.

    Args:
        count: How many it may serve.
    """
    return 2 * count + _SLACK


def differs(held: State, known: Acknowledged) -> bool:
    """Whether an agent that stands where it stood when it acknowledged a change holds something else now."""
    state = known.state
    if held.epoch != state.epoch or not state.seq <= held.seq <= known.until:
        return False
    return not held.says_alike(state)
