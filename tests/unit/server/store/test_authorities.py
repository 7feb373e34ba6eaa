"""The journals of the keys of tokens in the store: beside that of the roots, and published with it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from finial.core.bundle import Bundle
from finial.core.errors import BundleError
from finial.core.token_authority import TokenAuthority
from finial.server.ca.journal import SlotRow, Written, to_row
from finial.server.ca.kinds import JWT, WIT, X509, TokenKind, authority_id_of
from finial.server.ca.orders import OrderError
from finial.server.ca.slots import Slot, SlotName, Status
from finial.server.store import bundles, pruning
from finial.server.store.authorities import SQLJournal
from support import forge
from support.clock import START
from support.server_store import DOMAIN, Stored, opened

DAY = timedelta(days=1)


def _key(name: str, days: int | None = 1) -> TokenAuthority:
    end = None if days is None else START + days * DAY
    return TokenAuthority(key_id=name, key=forge.key(name).public_key(), expires_at=end)


def _row(kind: TokenKind, slot: str, key: TokenAuthority, status: Status = Status.PREPARED) -> SlotRow:
    made = Slot(
        name=SlotName(slot),
        status=status,
        key_id=f"{kind.name}-ca-{slot.lower()}-{key.key_id}",
        authority=key,
        prepared_at=START,
        activated_at=None if status is Status.PREPARED else START,
    )
    return to_row(made, kind)


def _own(world: Stored) -> Bundle:
    assert world.index.bundle is not None
    return world.index.bundle


def test_each_kind_has_its_own_rows_and_its_own_place_in_the_bundle(tmp_path: Path) -> None:
    async def main() -> None:
        rows = {}
        async with opened(tmp_path / "db") as world:
            for kind, name in ((JWT, "j"), (WIT, "w")):
                journal = SQLJournal(world.store, DOMAIN, kind)
                assert (await journal.load()).rows == ()
                await journal.prepare(_row(kind, "A", _key(name)))
                rows[kind] = _row(kind, "A", _key(name), Status.ACTIVE)
                await journal.activate(rows[kind], None)
            bundle = _own(world)
            assert (bundle.jwt_authorities, bundle.wit_authorities) == ((_key("j"),), (_key("w"),))
            assert (bundle.x509_authorities, bundle.sequence) == ((), 2)
        async with opened(tmp_path / "db") as world:
            assert _own(world) == bundle
            for kind in (JWT, WIT):
                assert await SQLJournal(world.store, DOMAIN, kind).load() == Written((rows[kind],), bundle)
            assert (await SQLJournal(world.store, DOMAIN, X509).load()).rows == ()

    asyncio.run(main())


@pytest.mark.parametrize("kind", [JWT, WIT])
def test_taints_raise_no_sequence_number_and_revocations_do(tmp_path: Path, kind: TokenKind) -> None:
    async def main() -> None:
        async with opened(tmp_path / "db") as world:
            journal = SQLJournal(world.store, DOMAIN, kind)
            await journal.prepare(_row(kind, "A", _key("a")))
            await journal.prepare(_row(kind, "B", _key("b")))
            for _ in range(2):  # the second time changes nothing
                await journal.taint("a")
                assert _own(world).sequence == 2
                assert set(kind.tainted(_own(world))) == {_key("a")}
            for _ in range(2):
                await journal.revoke("a")
                assert _own(world).sequence == 3
                assert kind.published(_own(world)) == (_key("b"),)
            assert len((await journal.load()).rows) == 2

    asyncio.run(main())


@pytest.mark.spec("WIT-46")
def test_a_key_id_that_is_taken_leaves_neither_a_row_nor_a_key(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "db") as world:
            await SQLJournal(world.store, DOMAIN, JWT).prepare(_row(JWT, "A", _key("same")))
            before = _own(world)
            for kind in (JWT, WIT):
                journal = SQLJournal(world.store, DOMAIN, kind)
                with pytest.raises(BundleError, match="two keys have the key id 'same'"):
                    await journal.prepare(_row(kind, "B", replace(_key("same"), key=_key("x").key)))
                assert len((await journal.load()).rows) == (kind is JWT)
            assert _own(world) == before

    asyncio.run(main())


def test_what_is_in_a_slot_of_another_server_is_left_alone(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "db") as world:
            for server, name in (("neighbour", "theirs"), ("server", "mine")):
                world.store.server = server
                await SQLJournal(world.store, DOMAIN, JWT).prepare(_row(JWT, "A", _key(name)))
            journal = SQLJournal(world.store, DOMAIN, JWT)
            assert [row.key_id for row in (await journal.load()).rows] == ["jwt-ca-a-mine"]
            for order in (journal.taint, journal.revoke):
                with pytest.raises(OrderError, match="unexpected authority ID"):
                    await order("theirs")
            assert JWT.published(_own(world)) == (_key("theirs"), _key("mine"))

    asyncio.run(main())


def test_whoever_withdraws_leaves_to_others_what_is_theirs(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "db") as world:
            assert await SQLJournal(world.store, DOMAIN, WIT).withdraw() == 0
            assert world.index.bundle is None
            await SQLJournal(world.store, DOMAIN, JWT).prepare(_row(JWT, "A", _key("jwt")))
            journal = SQLJournal(world.store, DOMAIN, WIT)
            for server in ("neighbour", "server"):
                world.store.server = server
                for name in ("before", "now"):
                    await journal.prepare(_row(WIT, "A", _key(f"{name}_{server}")))
            assert _own(world).sequence == 5
            assert await journal.withdraw() == 3
            # What was in a slot once, whoever's it was, is of no use to anybody.
            assert [each.key_id for each in _own(world).wit_authorities] == ["now_neighbour"]
            assert (_own(world).sequence, _own(world).jwt_authorities) == (6, (_key("jwt"),))
            assert (await journal.load()).rows == ()
            assert await journal.withdraw() == 0
            assert _own(world).sequence == 6
            world.store.server = "neighbour"
            assert len((await journal.load()).rows) == 1

    asyncio.run(main())


def test_keys_are_pruned_a_day_after_their_end_all_of_them_if_need_be(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "db") as world:
            first = Bundle(
                trust_domain=DOMAIN,
                jwt_authorities=(_key("j1"), _key("j3", 3), _key("endless", None)),
                wit_authorities=(_key("w1"),),
            )
            await world.store.write(lambda tx: bundles.publish(tx, DOMAIN, lambda _: first))
            for passed, gone, left in ((2 * DAY - timedelta(seconds=1), 0, "j1 j3 endless w1"),
                (timedelta(seconds=1), 2, "j3 endless"), (30 * DAY, 1, "endless")):  # fmt: skip
                await world.clock.advance(passed)
                pruned = await world.store.write(lambda tx: pruning.prune(tx, DOMAIN.name))
                keys = (*_own(world).jwt_authorities, *_own(world).wit_authorities)
                assert (pruned.authorities, " ".join(map(authority_id_of, keys))) == (gone, left)
            assert _own(world).sequence == 3

    asyncio.run(main())
