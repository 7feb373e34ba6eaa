"""Calls of the Entry service, and the messages they take."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from finial.core.bundle import Bundle
from finial.core.ids import TrustDomain
from finial.server.store import bundles
from finial.wire import bundles as wire_bundles
from finial.wire import registry
from finial.wire.gen import spire_api_server_entry_v1 as entry_pb
from finial.wire.gen import spire_api_types as types
from support.clock import START, ManualClock
from support.rpc import run
from support.server_api import Served, served
from support.server_store import an_entry

SERVICE = entry_pb.Entry
NOW = int(START.timestamp())


def scenario_on(
    path: Path, scenario: Callable[[Served], Awaitable[None]], clock: ManualClock | None = None
) -> None:
    async def main() -> None:
        async with served(path / "db", clock=clock) as server:
            await scenario(server)

    run(main())


def an_id(path: str, domain: str = "example.org") -> types.SPIFFEID:
    return types.SPIFFEID(trust_domain=domain, path=path)


def told(name: str = "web", **more: object) -> types.Entry:
    """An entry with this id and path; what is named besides is put in, however wrong it is."""
    message = registry.entry_message(an_entry())
    message.id, message.spiffe_id.path = name, f"/{name}"
    message.MergeFrom(types.Entry(**more))  # type: ignore[arg-type]  # what a test names
    return message


async def create(server: Served, *wanted: types.Entry) -> list[entry_pb.BatchCreateEntryResponse.Result]:
    reply = await server.call(SERVICE.BatchCreateEntry, entry_pb.BatchCreateEntryRequest(entries=wanted))
    return list(reply.results)


async def set_bundle(server: Served, name: str) -> None:
    bundle = Bundle(trust_domain=TrustDomain(name))
    await server.world.store.write(lambda tx: bundles.put(tx, bundle, wire_bundles.encode(bundle)))


def statuses_of(
    results: Iterable[
        entry_pb.BatchCreateEntryResponse.Result
        | entry_pb.BatchUpdateEntryResponse.Result
        | entry_pb.BatchDeleteEntryResponse.Result
    ],
) -> list[tuple[int, str]]:
    return [(result.status.code, result.status.message) for result in results]


OK = (0, "OK")
