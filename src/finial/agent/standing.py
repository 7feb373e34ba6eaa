"""What a server's refusal says about the agent's own standing."""

from __future__ import annotations

from enum import StrEnum

from finial.core.errors import FinialError, Kind, Reason
from finial.core.ids import SpiffeID
from finial.rpc import RpcError
from finial.wire.statuses import Denial, denial

_TOKEN = "Make a token with finial server token generate and start the agent with it."  # noqa: S105 - advice
BANNED = Reason(
    "agent-banned",
    Kind.DENIED,
    hint="An operator banned this agent; finial server agent evict lets its node attest again.",
)
EXPELLED = Reason("agent-expelled", Kind.DENIED, hint=_TOKEN)
EXPIRED = Reason("agent-expired", Kind.DENIED, hint=_TOKEN)


class ExpelledError(FinialError):
    """The server no longer counts this agent as attested, and it cannot attest again."""


class Standing(StrEnum):
    """Why a server refused an agent, in words for people."""

    BANNED = "it is banned"
    EXPIRED = "its SVID has expired"
    NOT_ATTESTED = "the server does not know it"
    NOT_ACTIVE = "its SVID is not the current one"
    MUST_REATTEST = "it has to attest again"


_STANDINGS = {
    Denial.AGENT_BANNED: Standing.BANNED,
    Denial.AGENT_EXPIRED: Standing.EXPIRED,
    Denial.AGENT_NOT_ATTESTED: Standing.NOT_ATTESTED,
    Denial.AGENT_NOT_ACTIVE: Standing.NOT_ACTIVE,
    Denial.AGENT_MUST_REATTEST: Standing.MUST_REATTEST,
}


def standing_of(error: RpcError) -> Standing | None:
    """What a refusal says of the agent; None for every error that may pass by itself."""
    reason = denial(error)
    return None if reason is None else _STANDINGS.get(reason)


def expelled(agent_id: SpiffeID, standing: Standing, why_not: str = "") -> ExpelledError:
    """The error that ends an agent.

    Args:
        agent_id: Which.
        standing: What the server said.
        why_not: Why it did not help to attest again; empty when it was not tried.
    """
    reason = {Standing.BANNED: BANNED, Standing.EXPIRED: EXPIRED}.get(standing, EXPELLED)
    tail = f", and attesting again failed: {why_not}" if why_not else ""
    return ExpelledError(
        reason, f"the server refuses agent {agent_id}: {standing}{tail}", subject=agent_id.text
    )
