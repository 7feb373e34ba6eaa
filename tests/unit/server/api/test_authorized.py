"""What an agent may serve, asked many times in one call, and walked over while it changes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from finial.core.ids import SpiffeID
from finial.rpc import RpcError, StatusCode
from finial.server.api.authorized import Authorized
from finial.server.api.chain import Caller
from finial.server.index import reach
from finial.server.policy import Role
from finial.server.store import entries, nodes
from finial.server.store.records import NodeRecord
from support.server_store import Stored, an_entry, opened

AGENT = SpiffeID("spiffe://example.org/spire/agent/test/1")
NODE = NodeRecord(seq=0, id=AGENT.text, attestation_type="test", serial="1", expires_at=0)
BELOW = "spire/agent/test/1"


def _test(path: Path, scenario: Callable[[Stored, Authorized], Awaitable[None]]) -> None:
    """Have an agent that has attested, and a call of it."""

    async def main() -> None:
        async with opened(path / "db") as world:
            await world.store.write(lambda tx: nodes.put(tx, NODE))
            caller = Caller(Role.AGENT, "192.0.2.1", AGENT)
            await scenario(world, Authorized(caller, world.index, world.clock))

    asyncio.run(main())


def _ids(authorized: Authorized) -> list[str]:
    return sorted(record.id for record in authorized.records())


def test_each_answer_is_what_is_so_now(tmp_path: Path) -> None:
    async def scenario(world: Stored, authorized: Authorized) -> None:
        ends = world.clock.now() + timedelta(seconds=10)
        await world.create(an_entry("web", parent=BELOW), an_entry("brief", parent=BELOW, expires_at=ends))
        assert _ids(authorized) == ["brief", "web"]
        await world.create(an_entry("db", parent=BELOW))
        assert _ids(authorized) == ["brief", "db", "web"]
        await world.store.write(lambda tx: entries.remove(tx, "web"))
        assert _ids(authorized) == ["brief", "db"]
        await world.clock.advance(timedelta(seconds=11))
        assert _ids(authorized) == ["db"]
        await world.store.write(lambda tx: nodes.put(tx, replace(nodes.get(tx, AGENT.text), serial="")))
        assert _ids(authorized) == []

    _test(tmp_path, scenario)


def test_a_walk_sees_each_entry_though_entries_change_behind_its_back(tmp_path: Path) -> None:
    async def scenario(world: Stored, authorized: Authorized) -> None:
        ends = world.clock.now() + timedelta(seconds=10)
        await world.create(
            *(an_entry(f"e{number}", parent=BELOW) for number in range(6)),
            an_entry("brief", parent=BELOW, expires_at=ends),
            an_entry("inner", parent="e4"),
        )
        with authorized.walk() as walk:
            found, more = walk.page(3)
            assert len(found) == 3
            assert more
            moved = found[0].id
            await world.store.write(
                lambda tx: entries.revise(
                    tx, moved, lambda old: replace(old, parent_id=SpiffeID("spiffe://example.org/inner"))
                )
            )
            await world.create(an_entry("late", parent=BELOW))
            await world.store.write(lambda tx: entries.remove(tx, "e5"))
            await world.clock.advance(timedelta(seconds=11))
            seen = {record.id: record.revision for record in found}
            while more:
                found, more = walk.page(3)
                assert len(found) <= 3
                seen |= {record.id: record.revision for record in found}
            now = {record.id: record.revision for record in authorized.records()}
            assert {name: seen[name] for name in now} == now
            assert walk.get(moved) is not None
            assert walk.get("e5") is None
            assert walk.get("brief") is None

    _test(tmp_path, scenario)


def test_a_walk_behind_whose_back_too_much_changes_goes_over_all_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reach, "MOST_DIRTY", 2)
    monkeypatch.setattr("finial.server.index.interest.MOST_DIRTY", 2)

    async def scenario(world: Stored, authorized: Authorized) -> None:
        await world.create(*(an_entry(f"e{number}", parent=BELOW) for number in range(4)))
        with authorized.walk() as walk:
            assert len(walk.page(2)[0]) == 2
            await world.create(*(an_entry(f"f{number}", parent=BELOW) for number in range(3)))
            found, more = walk.page(100)
            assert len(found) == 5
            assert more
            found, more = walk.page(100)
            assert len(found) == 7
            assert not more

    _test(tmp_path, scenario)


def test_whoever_would_not_be_admitted_any_more_is_answered_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "db") as world:

            def gone() -> None:
                raise RpcError(StatusCode.PERMISSION_DENIED, "evicted")

            caller = Caller(Role.AGENT, "192.0.2.1", AGENT, recheck=gone)
            authorized = Authorized(caller, world.index, world.clock)
            with pytest.raises(RpcError, match="evicted"):
                authorized.records()
            with authorized.walk() as walk:
                with pytest.raises(RpcError, match="evicted"):
                    walk.page(1)
                with pytest.raises(RpcError, match="evicted"):
                    walk.get("web")

    asyncio.run(main())
