"""The figures of a server, as Prometheus fetches them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from finial.rpc import Tcp
from finial.runtime.metrics import Registry
from finial.server.figures import broad, describe, observers, signed
from finial.server.push.hub import Hub
from finial.server.store import nodes
from finial.server.store.records import NodeRecord
from support.clock import START
from support.daemon import free_port
from support.server_app import running
from support.server_store import Stored, an_entry, opened


def _read(text: str) -> Mapping[str, float]:
    """The samples without labels, and of a histogram how often each step was taken."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if not sample.labels:
                found[sample.name] = sample.value
            elif sample.name.endswith("_count"):
                found[sample.labels["step"]] = sample.value
    return found


def _described(world: Stored, end: datetime | None) -> Registry:
    registry = Registry()
    describe(registry, index=world.index, hub=Hub(world.clock), clock=world.clock, authority_end=lambda: end)
    return registry


def test_what_there_is_and_what_ends_next(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "db") as world:
            await world.create(an_entry("web"), an_entry("api"))
            now = int(START.timestamp())
            for name, serial, end in (
                ("ended", "1", now - 1),
                ("next", "2", now + 60),
                ("later", "3", now + 90),
                ("banned", "", now + 30),
            ):
                node = NodeRecord(
                    seq=0, id=f"spiffe://example.org/spire/agent/{name}", attestation_type="test",
                    serial=serial, expires_at=end,
                )  # fmt: skip
                await world.store.write(partial(nodes.put, node=node))
            authority_end = START + timedelta(hours=1)
            found = _read(_described(world, authority_end).render().decode())
            assert found["finial_server_entries"] == 2
            assert found["finial_server_nodes"] == 4
            assert found["finial_server_position"] == world.index.position == 6
            assert found["finial_server_agents_connected"] == found["finial_server_agents_behind"] == 0
            assert found["finial_server_authority_end_timestamp_seconds"] == authority_end.timestamp()
            assert found["finial_server_soonest_node_end_timestamp_seconds"] == now + 60

    asyncio.run(main())


def test_what_cannot_be_said_is_left_out(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "db") as world:
            found = _read(_described(world, None).render().decode())
            assert found["finial_server_entries"] == 0
            assert not [name for name in found if name.endswith("end_timestamp_seconds")]

    asyncio.run(main())


def test_each_step_of_a_change_has_its_own_histogram() -> None:
    registry = Registry()
    made = observers(registry)
    made.applied(0.004)
    made.applied(0.004)
    made.signed(0.01)
    found = _read(registry.render().decode())
    assert (found["applied"], found["signed"], found["delivered"]) == (2, 1, 0)


def test_what_is_signed_is_counted_by_its_kind_and_broad_tokens_by_whom_they_are_for() -> None:
    registry = Registry()
    signed(registry, "x509").add(2)
    signed(registry, "jwt").inc()
    several, wide = broad(registry)
    several.inc()
    wide.add(3)
    lines = [line for line in registry.render().decode().splitlines() if not line.startswith("#")]
    assert lines == [
        'finial_server_svids_signed_total{kind="x509"} 2',
        'finial_server_svids_signed_total{kind="jwt"} 1',
        'finial_server_broad_jwt_svids_total{audience="several"} 1',
        'finial_server_broad_jwt_svids_total{audience="trust_domain"} 3',
    ]


def test_a_server_is_asked_for_them_where_it_was_told_to_listen(tmp_path: Path) -> None:
    async def main() -> None:
        port = free_port()
        async with running(tmp_path, metrics_bind=Tcp("127.0.0.1", port)):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = (await reader.read()).decode()
            writer.close()
            head, _, body = answer.partition("\r\n\r\n")
            assert head.startswith("HTTP/1.1 200")
            assert _read(body)["finial_server_entries"] == 0
            for kind in ("x509", "jwt", "wit"):
                assert f'finial_server_svids_signed_total{{kind="{kind}"}} 0' in body

    asyncio.run(main())
