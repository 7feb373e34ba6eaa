"""Nodes of the server's API: what is shown of one, and the filters of lists."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from finial.core.ids import SpiffeID
from finial.core.selectors import Selector
from finial.wire import masks
from finial.wire.gen import spire_api_server_agent_v1 as agent_pb
from finial.wire.gen import spire_api_types as types
from finial.wire.registry import id_message, read_selector_match, selector_messages

# The zone stands there twice, as SPIRE's programs write it: `2026-08-01 10:00:00 +0200 +02`.
_INSTANT: Final = re.compile(
    r"(?P<instant>[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2} (?P<zone>[+-][0-9]{2})[0-9]{2})"
    r" (?P=zone)"
)

Filter = agent_pb.ListAgentsRequest.Filter | agent_pb.CountAgentsRequest.Filter


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentView:
    """What is shown of a node.

    Args:
        id: Agent ID.
        attestation_type: Name of the attestor.
        serial: Decimal serial number of its current SVID; empty when it is banned.
        expires_at: When that SVID ends, Unix seconds.
        selectors: What its attestor saw.
        can_reattest: Whether it attests again instead of renewing.
        version: What the agent says of itself.
    """

    id: SpiffeID
    attestation_type: str
    serial: str
    expires_at: int
    selectors: tuple[Selector, ...] = ()
    can_reattest: bool = False
    version: str = ""

    @property
    def banned(self) -> bool:
        """Whether it is kept out."""
        return not self.serial


Wanted = Callable[[AgentView], bool]


def to_message(agent: AgentView, mask: types.AgentMask | None = None) -> types.Agent:
    """A node as a message.

    Args:
        agent: The node.
        mask: What is wanted of it; None for everything.
    """
    message = types.Agent(
        id=id_message(agent.id),
        attestation_type=agent.attestation_type,
        x509svid_serial_number=agent.serial,
        x509svid_expires_at=agent.expires_at,
        selectors=selector_messages(agent.selectors),
        banned=agent.banned,
        can_reattest=agent.can_reattest,
        agent_version=agent.version,
    )
    return masks.cut(message, mask)


def list_filter(request: agent_pb.ListAgentsRequest) -> Wanted:
    """Whether a node is one that a list is to show.

    Raises:
        SelectorError: The filter's selectors are none, or malformed.
    """
    return _wanted(request.filter)


def count_filter(request: agent_pb.CountAgentsRequest) -> Wanted:
    """Whether a node is one that is to be counted.

    Raises:
        SelectorError: The filter's selectors are none, or malformed.
    """
    return _wanted(request.filter)


def expires_before(text: str) -> datetime | None:
    """The instant in a filter, `YYYY-MM-DD HH:MM:SS ±ZZZZ ±ZZ`; None for any other text.

    A malformed one counts as none, as in SPIRE.
    """
    match = _INSTANT.fullmatch(text)
    if match is None:
        return None
    try:
        return datetime.strptime(match["instant"], "%Y-%m-%d %H:%M:%S %z")
    except ValueError:  # the 30th of February
        return None


def _wanted(asked: Filter) -> Wanted:
    """Every part of the filter that is there has to hold."""
    parts: list[Wanted] = []
    kind = asked.by_attestation_type
    if kind:
        parts.append(lambda agent: agent.attestation_type == kind)
    if asked.HasField("by_selector_match"):
        match = read_selector_match(asked.by_selector_match)
        parts.append(lambda agent: match.matches(frozenset(agent.selectors)))
    if asked.HasField("by_banned"):
        banned = asked.by_banned.value
        parts.append(lambda agent: agent.banned is banned)
    if asked.HasField("by_can_reattest"):
        can_reattest = asked.by_can_reattest.value
        parts.append(lambda agent: agent.can_reattest is can_reattest)
    instant = expires_before(asked.by_expires_before)
    if instant is not None:
        limit = instant.timestamp()
        parts.append(lambda agent: agent.expires_at < limit)
    return lambda agent: all(part(agent) for part in parts)
