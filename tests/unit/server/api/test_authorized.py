"""What an agent may serve, asked many times in one call."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest

from finial.core.ids import SpiffeID
from finial.rpc import RpcError, StatusCode
from finial.server.api.authorized import Authorized
from finial.server.api.chain import Caller
from finial.server.index.index import Index
from finial.server.policy import Role
from finial.server.store import entries, nodes
from finial.server.store.records import EntryRecord, NodeRecord
from support.server_store import an_entry, opened

AGENT = SpiffeID("spiffe://example.org/spire/agent/test/1")
NODE = NodeRecord(seq=0, id=AGENT.text, attestation_type="test", serial="1", expires_at=0)


@dataclass
class Asked:
    """Counts how often the index is asked."""

    index: Index
    times: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        find = self.index.authorized

        def authorized(agent_id: str, now: float) -> dict[str, EntryRecord]:
            self.times.append(now)
            return find(agent_id, now)

        self.index.authorized = authorized  # type: ignore[method-assign]  # a test counts


def _ids(found: Iterable[str]) -> list[str]:
    return sorted(found)


def test_the_index_is_asked_again_only_when_that_can_make_a_difference(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "db") as world:
            await world.store.write(lambda tx: nodes.put(tx, NODE))
            ends = world.clock.now() + timedelta(seconds=10)
            await world.create(
                an_entry("web", parent="spire/agent/test/1"),
                an_entry("brief", parent="spire/agent/test/1", expires_at=ends),
            )
            asked = Asked(world.index)
            authorized = Authorized(Caller(Role.AGENT, "192.0.2.1", AGENT), world.index, world.clock)
            for _ in range(3):
                assert _ids(authorized()) == ["brief", "web"]
            assert len(asked.times) == 1
            await world.create(an_entry("db", parent="spire/agent/test/1"))
            assert _ids(authorized()) == ["brief", "db", "web"]
            await world.store.write(lambda tx: entries.remove(tx, "web"))
            assert _ids(authorized()) == ["brief", "db"]
            await world.clock.advance(timedelta(seconds=11))
            assert _ids(authorized()) == ["db"]
            await world.store.write(lambda tx: nodes.put(tx, replace(nodes.get(tx, AGENT.text), serial="")))
            assert authorized() == {}
            assert len(asked.times) == 5

    asyncio.run(main())


def test_whoever_would_not_be_admitted_any_more_is_answered_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "db") as world:

            def gone() -> None:
                raise RpcError(StatusCode.PERMISSION_DENIED, "evicted")

            caller = Caller(Role.AGENT, "192.0.2.1", AGENT, recheck=gone)
            with pytest.raises(RpcError, match="evicted"):
                Authorized(caller, world.index, world.clock)()

    asyncio.run(main())
