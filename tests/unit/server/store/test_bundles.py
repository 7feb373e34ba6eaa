"""Bundles and the journal of the authority in the store: published together, sequenced, pruned."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from finial.core.bundle import Bundle
from finial.core.ids import TrustDomain
from finial.core.x509_profile import CARequest, Order, issue_root
from finial.core.x509cert import Certificate
from finial.server.ca.journal import SlotRow, Written
from finial.server.ca.kinds import X509, authority_id_of
from finial.server.ca.orders import OrderError
from finial.server.store import bundles, pruning
from finial.server.store.authorities import SQLJournal
from finial.server.store.errors import MissingError
from finial.wire import bundles as wire
from finial.wire.gen import spire_api_types as types
from support.clock import START
from support.server_store import DOMAIN, Stored, opened


def _authority(days: int = 1) -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    order = Order(now=START, serial=days, ttl=timedelta(days=days))
    return issue_root(CARequest(trust_domain=DOMAIN, public_key=key.public_key()), order, key=key)


def _row(slot: str, status: str, authority: Certificate, *, activated_at: int = 0) -> SlotRow:
    return SlotRow(
        kind="x509",
        slot=slot,
        status=status,
        key_id=f"key-{slot.lower()}",
        certificate=authority.der,
        prepared_at=5,
        activated_at=activated_at,
    )


def _own(world: Stored) -> tuple[int, tuple[Certificate, ...]]:
    """Sequence and authorities of the own bundle."""
    bundle = world.index.bundle
    assert bundle is not None
    return bundle.sequence, bundle.x509_authorities


def test_the_own_bundle_begins_with_its_first_authority_and_counts_changes(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "db") as world:
            journal = SQLJournal(world.store, DOMAIN, X509)
            first, second = _authority(), _authority()
            assert await journal.load() == Written((), None)
            assert len(world.index.bundles) == 0
            await journal.prepare(_row("A", "prepared", first))
            assert _own(world) == (1, (first,))
            await journal.activate(_row("A", "active", first, activated_at=6), None)
            await journal.prepare(_row("B", "prepared", second))
            assert _own(world) == (2, (first, second))
            await journal.prepare(_row("B", "prepared", second))
            assert _own(world) == (2, (first, second))
            active, old = _row("B", "active", second, activated_at=7), _row("A", "old", first, activated_at=6)
            await journal.activate(active, old)
            assert (await journal.load()).rows == (old, active)
        async with opened(tmp_path / "db") as world:
            written = await SQLJournal(world.store, DOMAIN, X509).load()
            assert written == Written((old, active), world.index.bundle)
            assert _own(world) == (2, (first, second))

    asyncio.run(main())


def test_taints_and_revocations_last_and_these_raise_the_sequence_number(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "db") as world:
            journal = SQLJournal(world.store, DOMAIN, X509)
            first, second = _authority(), _authority()
            for slot, authority in (("A", first), ("B", second)):
                await journal.prepare(_row(slot, "prepared", authority))
            for _ in range(2):  # the second time changes nothing
                await journal.taint(authority_id_of(first))
                assert _own(world) == (2, (first, second))
                assert world.index.bundle is not None
                assert world.index.bundle.tainted == {first}
            for _ in range(2):
                await journal.revoke(authority_id_of(first))
                assert _own(world) == (3, (second,))
            rows = (await journal.load()).rows
            assert {row.certificate for row in rows} == {first.der, second.der}
            await journal.taint(authority_id_of(second))
        async with opened(tmp_path / "db") as world:
            assert _own(world) == (3, (second,))
            assert world.index.bundle is not None
            assert world.index.bundle.tainted == {second}

    asyncio.run(main())


def test_what_is_in_a_slot_of_another_server_is_left_alone(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "db") as world:
            mine, theirs = _authority(), _authority()
            await SQLJournal(world.store, DOMAIN, X509).prepare(_row("A", "prepared", mine))
            world.store.server = "neighbour"
            await SQLJournal(world.store, DOMAIN, X509).prepare(_row("A", "prepared", theirs))
            world.store.server = "server"
            journal = SQLJournal(world.store, DOMAIN, X509)
            assert [row.certificate for row in (await journal.load()).rows] == [mine.der]
            for order in (journal.taint, journal.revoke):
                with pytest.raises(OrderError, match="unexpected authority ID"):
                    await order(authority_id_of(theirs))
            assert _own(world) == (2, (mine, theirs))

    asyncio.run(main())


def test_a_foreign_bundle_is_set_replaced_and_deleted(tmp_path: Path) -> None:
    async def main() -> None:
        other = TrustDomain("other.test")
        async with opened(tmp_path / "db") as world:
            bundle = Bundle(trust_domain=other, sequence=9)
            first = await world.store.write(lambda tx: bundles.put(tx, bundle, wire.encode(bundle)))
            newer = replace(bundle, sequence=3)
            second = await world.store.write(lambda tx: bundles.put(tx, newer, wire.encode(newer)))
            assert first.seq == second.seq
            assert world.index.bundle_set([other, DOMAIN]).bundle_for(other) == newer
            await world.store.write(lambda tx: bundles.remove(tx, other.name))
            assert world.index.bundles.get(other.name) is None
            for work in (bundles.get, bundles.remove):
                with pytest.raises(MissingError, match="bundle not found"):
                    await world.store.write(lambda tx: work(tx, other.name))  # noqa: B023 - awaited at once

    asyncio.run(main())


def test_what_a_bundle_value_cannot_hold_is_kept(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "db") as world:
            first, second = _authority(), _authority()
            journal = SQLJournal(world.store, DOMAIN, X509)
            await journal.prepare(_row("A", "prepared", first))
            record = world.index.bundles.get(DOMAIN.name)
            assert record is not None
            message = wire.message_of(record.data)
            message.jwt_authorities.append(types.JWTKey(key_id="kept", public_key=b"anything"))
            data = message.SerializeToString()
            await world.store.write(partial(bundles.put, bundle=record.bundle, data=data))
            await journal.prepare(_row("B", "prepared", second))
            record = world.index.bundles.get(DOMAIN.name)
            assert record is not None
            assert [key.key_id for key in wire.message_of(record.data).jwt_authorities] == ["kept"]
            assert len(record.bundle.x509_authorities) == 2

    asyncio.run(main())


def test_authorities_are_pruned_a_day_after_their_end_and_never_all(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "db") as world:
            short, long = _authority(1), _authority(3)
            journal = SQLJournal(world.store, DOMAIN, X509)
            for slot, authority in (("A", short), ("B", long)):
                await journal.prepare(_row(slot, "prepared", authority))
            await world.clock.advance(timedelta(days=2))
            gone = await world.store.write(lambda tx: pruning.prune(tx, DOMAIN.name))
            assert gone.authorities == 1
            assert _own(world) == (3, (long,))
            await world.clock.advance(timedelta(days=9))
            gone = await world.store.write(lambda tx: pruning.prune(tx, DOMAIN.name))
            assert not gone
            assert _own(world) == (3, (long,))

    asyncio.run(main())
