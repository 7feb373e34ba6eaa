"""The figures of a server that can be fetched: how fast changes arrive, who is behind, what ends next."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from finial.runtime.clock import Clock
from finial.runtime.metrics import Counter, Registry
from finial.server.index.index import Index
from finial.server.push.delivery import Observers
from finial.server.push.hub import Hub

STEPS: Final = "finial_server_commit_to_step_seconds"
_STEPS_TEXT: Final = "From the commit of an entry until an agent had it applied, signed, delivered."


def signed(registry: Registry, kind: str) -> Counter:
    """Counts SVIDs of workloads.

    Args:
        registry: Takes the figure.
        kind: `x509`, `jwt` or `wit`.
    """
    text = "SVIDs that were signed for workloads."
    return registry.counter("finial_server_svids_signed_total", text, labels={"kind": kind})


def broad(registry: Registry) -> tuple[Counter, Counter]:
    """Count JWT-SVIDs for several audiences, and those for a whole trust domain. Clauses: JWT-18, JWT-20."""
    several, wide = (
        registry.counter(
            "finial_server_broad_jwt_svids_total",
            "JWT-SVIDs that more than one service accepts, so that one can show them to another.",
            labels={"audience": audience},
        )
        for audience in ("several", "trust_domain")
    )
    return several, wide


def observers(registry: Registry) -> Observers:
    """Where the time goes that a change takes on its way; a histogram for each step."""
    made = {
        step: registry.histogram(STEPS, _STEPS_TEXT, labels={"step": step}).observe
        for step in ("applied", "signed", "delivered")
    }
    return Observers(made["applied"], made["signed"], made["delivered"])


def describe(
    registry: Registry,
    *,
    index: Index,
    hub: Hub,
    clock: Clock,
    authority_end: Callable[[], datetime | None],
) -> None:
    """Have the state of a server looked at whenever somebody asks.

    Args:
        registry: Takes the figures.
        index: Counts what there is.
        hub: Knows who is connected.
        clock: Judges what has ended.
        authority_end: When the authority that signs ends; None for unknown.
    """
    gauge = registry.gauge
    gauge("finial_server_entries", "Registration entries.", lambda: len(index.entries))
    gauge("finial_server_nodes", "Nodes that have attested, banned ones too.", lambda: len(index.nodes))
    gauge("finial_server_position", "The last change that is in force.", lambda: index.position)
    gauge("finial_server_agents_connected", "Agents that are told of changes.", lambda: hub.connected)
    gauge(
        "finial_server_agents_behind", "Those of them that lack something for more than a second.", hub.behind
    )
    gauge(
        "finial_server_agent_mismatches",
        "How often an agent held something else than what it had acknowledged.",
        lambda: hub.mismatches,
    )
    gauge("finial_server_pushed_bytes", "Bytes of all messages to agents.", lambda: hub.bytes_sent)
    gauge(
        "finial_server_authority_end_timestamp_seconds",
        "When the authority that signs ends.",
        lambda: _seconds(authority_end()),
    )
    gauge(
        "finial_server_soonest_node_end_timestamp_seconds",
        "When the SVID of a node ends that is the next to end and has not ended yet.",
        lambda: _soonest(index, clock.now().timestamp()),
    )


def _seconds(end: datetime | None) -> float:
    if end is None:
        raise LookupError("nothing signs yet")
    return end.timestamp()


def _soonest(index: Index, now: float) -> float:
    ends = (node.expires_at for node in index.nodes.after(0) if not node.banned)
    soonest = min((end for end in ends if end > now), default=None)
    if soonest is None:
        raise LookupError("no node has an SVID")
    return soonest
