"""The figures of an agent that can be fetched: what it holds, what ends next, and how it hears of changes."""

from __future__ import annotations

from collections.abc import Callable
from math import nan

from finial.agent.cache import Cache
from finial.agent.intake import Intake
from finial.agent.pushed import Pushed
from finial.runtime.clock import Clock
from finial.runtime.metrics import Counter, Registry

_KIB = 1_024


def mismatches(registry: Registry) -> Counter:
    """Counts how often what was pushed did not add up."""
    return registry.counter(
        "finial_agent_mismatches_total", "How often the agent held something else than its server said."
    )


def fetched_jwts(registry: Registry) -> tuple[Counter, Counter]:
    """Count the JWT-SVIDs that workloads asked for and that were held already, and the others."""
    name, text = "finial_agent_jwt_svids_fetched_total", "JWT-SVIDs that workloads have asked for."
    return (
        registry.counter(name, text, labels={"from": "cache"}),
        registry.counter(name, text, labels={"from": "server"}),
    )


def describe(registry: Registry, *, cache: Cache, intake: Intake, pushed: Pushed, clock: Clock) -> None:
    """Have the state of an agent looked at whenever somebody asks.

    Args:
        registry: Takes the figures.
        cache: Holds entries and SVIDs.
        intake: Knows when the server was last heard.
        pushed: Knows whether the server pushes.
        clock: Measures.
    """
    book, tokens = cache.book, cache.tokens

    def silence() -> float:
        return nan if intake.heard_at is None else clock.monotonic() - intake.heard_at

    def first_end() -> float:
        end = book.next_end()
        return nan if end is None else end.timestamp()

    figures: list[tuple[str, str, Callable[[], float]]] = [
        ("entries", "Entries that the agent may serve.", lambda: len(book.entries)),
        ("svids", "SVIDs of workloads that are held.", lambda: sum(book.resting.values())),
        ("svid_end_timestamp_seconds", "When the first SVID of a workload ends.", first_end),
        ("jwt_svids", "JWT-SVIDs that are held to be fetched again.", lambda: len(tokens)),
        ("jwt_svids_bytes", "What it costs to hold them.", lambda: tokens.weight * _KIB),
        ("pushed", "Whether the server tells of changes; 0 when it has to be asked.", pushed.live.is_set),
        ("heard_seconds", "How long ago the server has told what holds.", silence),
    ]
    for name, text, read in figures:
        registry.gauge(f"finial_agent_{name}", text, read)
