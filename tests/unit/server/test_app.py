"""The whole server: it starts, keeps what it acknowledged, and says what is wrong with its place."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import stat
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from finial.core.errors import FinialError
from finial.core.ids import TrustDomain
from finial.plugin.catalog import CatalogError
from finial.rpc import RpcError, StatusCode, Tcp
from finial.rpc.sockets import ListenError
from finial.runtime.files import FileError
from finial.server.ca.journal import JournalError
from finial.server.index.entries import EntryIndex
from finial.server.store import entries
from finial.server.store.errors import StoreError
from finial.wire.gen import grpc_health_v1 as health_pb
from finial.wire.gen import spire_api_server_agent_v1 as agent_pb
from finial.wire.gen import spire_api_server_entry_v1 as entry_pb
from support.clock import ManualClock
from support.server_app import an_entry, running

DAY = timedelta(days=1)


def test_what_was_acknowledged_is_there_after_a_restart(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as server:
            trust = await server.trust()
            agent = await server.join("/node")
            (entry_id,) = await server.create(an_entry("/web"))
        async with running(tmp_path) as server:
            assert await server.trust() == trust
            channel = await server.channel(agent.pair)
            reply = await channel.unary(
                entry_pb.Entry.GetAuthorizedEntries, entry_pb.GetAuthorizedEntriesRequest()
            )
            assert entry_id in {entry.id for entry in reply.entries}

    asyncio.run(main())


def test_files_are_for_the_right_eyes_only(tmp_path: Path) -> None:
    async def main() -> None:
        data = tmp_path / "data"
        async with running(data) as server:
            modes = {
                path.name: stat.S_IMODE(path.stat().st_mode)
                for path in (data, *data.rglob("*"))
                if path.exists()
            }
            assert modes["data"] == 0o750
            assert modes["private"] == 0o700
            keys = [path for path in data.rglob("*") if b"PRIVATE KEY" in _content(path)]
            assert keys
            assert all(stat.S_IMODE(key.stat().st_mode) == 0o600 for key in keys)
            assert stat.S_IMODE(server.settings.socket.stat().st_mode) == 0o770

    asyncio.run(main())


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def test_health_is_for_operators_and_knows_one_service(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as server:
            check = health_pb.Health.Check
            reply = await server.admin.unary(check, health_pb.HealthCheckRequest())
            assert reply.status == health_pb.HealthCheckResponse.SERVING
            with pytest.raises(RpcError, match="per-service health is not supported"):
                await server.admin.unary(check, health_pb.HealthCheckRequest(service="x"))
            remote = await server.channel()
            with pytest.raises(RpcError) as caught:
                await remote.unary(check, health_pb.HealthCheckRequest())
            assert caught.value.code is StatusCode.UNIMPLEMENTED

    asyncio.run(main())


async def _fails(folder: Path, **more: Any) -> FinialError:
    with pytest.raises(FinialError) as caught:
        async with running(folder, **more):
            pass
    assert "\n" not in str(caught.value)
    return caught.value


def test_the_folder_of_a_running_server_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path):
            error = await _fails(tmp_path)
            assert isinstance(error, FileError)
            assert "in use by another process" in str(error)

    asyncio.run(main())


def test_the_folder_of_another_trust_domain_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path):
            pass
        error = await _fails(tmp_path, trust_domain=TrustDomain("other.test"))
        assert isinstance(error, StoreError)
        assert "belongs to trust domain example.org, not other.test" in str(error)
        async with running(tmp_path):
            pass

    asyncio.run(main())


def test_a_port_or_socket_in_use_is_named(tmp_path: Path) -> None:
    async def main() -> None:
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            error = await _fails(tmp_path, bind=Tcp("127.0.0.1", port))
            assert isinstance(error, ListenError)
            assert f"127.0.0.1:{port}" in str(error)
        async with running(tmp_path / "first") as server:
            error = await _fails(tmp_path / "second", socket=server.settings.socket)
            assert str(server.settings.socket) in str(error)
            assert "another process does" in str(error)
            await server.trust()

    asyncio.run(main())


def test_a_socket_path_that_is_too_long_is_refused(tmp_path: Path) -> None:
    error = asyncio.run(_fails(tmp_path, socket=tmp_path / ("x" * 120)))
    assert "longer than 107 bytes" in str(error)


def test_a_damaged_database_and_a_damaged_journal_are_told_apart(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path):
            pass
        connection = sqlite3.connect(tmp_path / "server.db")
        connection.execute("UPDATE authorities SET certificate = x'00'")
        connection.commit()
        connection.close()
        error = await _fails(tmp_path)
        assert isinstance(error, JournalError)
        assert "slot 'A'" in str(error)
        (tmp_path / "server.db").write_bytes(b"garbage" * 1000)
        for name in ("server.db-wal", "server.db-shm"):
            (tmp_path / name).unlink(missing_ok=True)
        error = await _fails(tmp_path)
        assert isinstance(error, StoreError)
        assert "server.db" in str(error)

    asyncio.run(main())


def test_an_unknown_plugin_is_named(tmp_path: Path) -> None:
    for more in ({"key_manager": "disc"}, {"node_attestors": ("nobody",)}):
        error = asyncio.run(_fails(tmp_path, **more))
        assert isinstance(error, CatalogError)


def test_authorities_and_ended_things_go_with_time(tmp_path: Path) -> None:
    async def main() -> None:
        clock = ManualClock()
        async with running(tmp_path, clock=clock) as server:
            first = await server.trust()
            await server.token(ttl=5)
            await server.create(an_entry("/web"))
            for _ in range(3 * 24):
                await clock.advance(DAY / 24)
            last = await server.trust()
            old = {root.der for bundle in first.values() for root in bundle.x509_authorities}
            new = {root.der for bundle in last.values() for root in bundle.x509_authorities}
            assert not old & new
            agent = await server.join()  # TLS and signing go on by the new authority
            assert agent.id.startswith("spiffe://example.org/spire/agent/join_token/")
            count = await server.admin.unary(agent_pb.Agent.CountAgents, agent_pb.CountAgentsRequest())
            assert count.count == 1

    asyncio.run(main())


def test_whatever_has_ended_goes_in_one_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "_BATCH", 2)

    async def main() -> None:
        clock = ManualClock()
        async with running(tmp_path, clock=clock) as server:
            brief = [an_entry(f"/brief{number}") for number in range(5)]
            for each in brief:
                each.expires_at = int(clock.now().timestamp()) + 1
            await server.create(*brief, an_entry("/web"))
            await clock.advance(server.settings.prune_interval)
            async with asyncio.timeout(10):
                while True:
                    listed = await server.admin.unary(
                        entry_pb.Entry.ListEntries, entry_pb.ListEntriesRequest()
                    )
                    if len(listed.entries) == 1:
                        break
            assert listed.entries[0].spiffe_id.path == "/web"

    asyncio.run(main())


def test_a_server_whose_index_is_broken_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        def broken(*_: object) -> None:
            raise LookupError("a bug")

        async with running(tmp_path) as server:
            monkeypatch.setattr(EntryIndex, "put", broken)
            request = entry_pb.BatchCreateEntryRequest(entries=[an_entry("/web")])
            reply = await server.admin.unary(entry_pb.Entry.BatchCreateEntry, request)
            assert reply.results[0].status.code == StatusCode.UNAVAILABLE
            with pytest.raises(StoreError, match="not what the database says"):
                await server.task
            monkeypatch.undo()
        async with running(tmp_path) as server:
            listed = await server.admin.unary(entry_pb.Entry.ListEntries, entry_pb.ListEntriesRequest())
            assert [entry.spiffe_id.path for entry in listed.entries] == ["/web"]

    asyncio.run(main())
