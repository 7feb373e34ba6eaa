"""Entries in the store: created in batches, revised, deleted, and there again after a restart."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from finial.core.bundle import Bundle
from finial.core.errors import FinialError
from finial.core.ids import SpiffeID, TrustDomain
from finial.server.store import bundles, entries
from finial.server.store.entries import EntryExistsError
from finial.server.store.errors import MissingError, StoreError
from finial.server.store.records import EntryRecord
from finial.wire import bundles as wire_bundles
from finial.wire import registry
from support.clock import START
from support.server_store import Stored, an_entry, opened

OTHER = TrustDomain("other.test")


async def _set_bundle(world: Stored, domain: TrustDomain = OTHER) -> None:
    bundle = Bundle(trust_domain=domain)
    await world.store.write(lambda tx: bundles.put(tx, bundle, wire_bundles.encode(bundle)))


def test_a_batch_is_created_in_order_and_answered_by_the_index(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "db") as world:
            records = await world.create(*(an_entry(f"e{n}") for n in range(1200)))
            assert [record.seq for record in records] == sorted(record.seq for record in records)
            assert len(world.index.entries) == 1200
            assert [record.id for record in world.index.entries.after(0)] == [f"e{n}" for n in range(1200)]
            first = world.index.entries.get("e0")
            assert first is not None
            assert first.created_at == int(START.timestamp())
            assert first.revision == 0

    asyncio.run(main())


def test_entries_are_there_after_a_restart_byte_for_byte(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "db") as world:
            await _set_bundle(world)
            entry = an_entry("web", federates_with=(OTHER,), admin=True, expires_at=START + timedelta(days=1))
            (made,) = await world.create(entry)
        async with opened(tmp_path / "db") as world:
            found = world.index.entries.get("web")
            assert found is not None
            assert {name: getattr(found, name) for name in EntryRecord.__slots__} == {
                name: getattr(made, name) for name in EntryRecord.__slots__
            }
            assert registry.decode_entry(found.data).federates_with == (OTHER,)
            assert world.index.entries.is_admin("spiffe://example.org/web", START.timestamp())

    asyncio.run(main())


def test_a_similar_entry_and_a_taken_id_are_refused_one_by_one(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "db") as world:
            await world.create(an_entry("web"))
            similar = an_entry("web", selectors=("unix:uid:0", "unix:uid:0"))
            taken = an_entry("web", selectors=("unix:uid:9",))
            fresh = an_entry("api")
            wanted = [similar, taken, fresh, fresh]
            results = await world.store.write(lambda tx: entries.create(tx, wanted))
            assert [str(result) for result in (results[0], results[1], results[3])] == [
                "similar entry already exists",
                "an entry with the id web already exists",
                "similar entry already exists",
            ]
            assert isinstance(results[0], EntryExistsError)
            assert results[0].existing.id == "web"
            assert isinstance(results[2], EntryRecord)
            assert len(world.index.entries) == 2

    asyncio.run(main())


def test_a_revision_rises_and_replaces_what_is_said(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "db") as world:
            await _set_bundle(world)
            await world.create(an_entry("web"))
            await world.clock.advance(timedelta(minutes=1))
            changed = an_entry("web", parent="elsewhere", federates_with=(OTHER,), hint="new")
            record = await world.store.write(lambda tx: entries.revise(tx, "web", lambda _: changed))
            assert record.revision == 1
            assert record.created_at == int(START.timestamp())
            assert [each.id for each in world.index.entries.below("spiffe://example.org/elsewhere")] == [
                "web"
            ]
            assert not world.index.entries.below("spiffe://example.org/node")
            federating = await world.store.write(lambda tx: entries.federating(tx, OTHER.name))
            assert federating == ("web",)
            await world.store.write(lambda tx: entries.revise(tx, "web", lambda _: an_entry("web")))
            assert await world.store.write(lambda tx: entries.federating(tx, OTHER.name)) == ()

    asyncio.run(main())


def test_a_revision_into_another_entry_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "db") as world:
            await world.create(an_entry("web"), an_entry("api"))
            with pytest.raises(EntryExistsError, match="similar entry"):
                await world.store.write(
                    lambda tx: entries.revise(
                        tx, "api", lambda _: an_entry("api", spiffe_id=SpiffeID("spiffe://example.org/web"))
                    )
                )
            kept = world.index.entries.get("api")
            assert kept is not None
            assert kept.revision == 0

    asyncio.run(main())


def test_many_are_changed_as_if_one_after_the_other(tmp_path: Path) -> None:
    named = {name: SpiffeID(f"spiffe://example.org/{name}") for name in ("web", "api", "db")}

    def to(name: str, hint: str = "") -> entries.Revision:
        return lambda old: an_entry(old.id, spiffe_id=named[name], hint=hint)

    async def main() -> None:
        async with opened(tmp_path / "db") as world:
            await _set_bundle(world)
            await world.create(an_entry("web"), an_entry("api"))
            wanted = [
                ("web", to("api")),  # which is another's name still
                ("api", to("db")),
                ("web", to("api", "first")),  # which is free by now
                ("api", to("web", "second")),  # and so is this
                ("nobody", to("web")),
                ("api", to("api")),
                ("web", lambda old: replace(old, federates_with=(OTHER,))),
            ]
            results = await world.store.write(lambda tx: entries.revise_all(tx, wanted))
            told = [each.revision if isinstance(each, EntryRecord) else each.message for each in results]
            similar = "similar entry already exists"
            assert told == [similar, 1, 1, 2, "entry not found", similar, 2]
            web, api = world.index.entries.get("web"), world.index.entries.get("api")
            assert web is not None
            assert api is not None
            assert (web.spiffe_id, web.revision, web.federates) == (named["api"].text, 2, (OTHER.name,))
            assert (api.spiffe_id, api.revision) == (named["web"].text, 2)
            assert await world.store.write(lambda tx: entries.federating(tx, OTHER.name)) == ("web",)
            stored = await world.store.write(
                lambda tx: {each.id: each.data for each in entries.all_entries(tx.sql)}
            )
            assert stored == {"web": web.data, "api": api.data}

    asyncio.run(main())


def test_many_are_deleted_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "db") as world:
            names = [f"e{number}" for number in range(900)]  # more than one question holds
            await world.create(*(an_entry(name) for name in names), an_entry("kept"))
            gone = await world.store.write(lambda tx: entries.remove_all(tx, [*names, "nobody", "e1"]))
            assert gone == set(names)
            assert [record.id for record in world.index.entries.after(0)] == ["kept"]
            with pytest.raises(MissingError, match="entry not found"):
                await world.store.write(lambda tx: entries.remove(tx, "e1"))

    asyncio.run(main())


def test_an_unknown_foreign_domain_is_refused_by_its_name(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "db") as world:
            wanted = [an_entry("web", federates_with=(OTHER,))]
            (result,) = await world.store.write(lambda tx: entries.create(tx, wanted))
            assert isinstance(result, StoreError)
            assert 'unable to find federated bundle "spiffe://other.test"' in str(result)
            assert "bundle set" in result.reason.hint
            await world.create(an_entry("web"))
            with pytest.raises(StoreError, match="other.test"):
                await world.store.write(lambda tx: entries.revise(tx, "web", lambda _: wanted[0]))

    asyncio.run(main())


def test_a_deleted_entry_is_gone_and_its_row_number_is_not_given_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "db") as world:
            (old,) = await world.create(an_entry("web"))
            await world.store.write(lambda tx: entries.remove(tx, "web"))
            assert world.index.entries.get("web") is None
            (new,) = await world.create(an_entry("web"))
            assert new.seq > old.seq
            for work in (entries.remove, entries.get):
                with pytest.raises(MissingError, match="entry not found"):
                    await world.store.write(partial(work, entry_id="nobody"))

    asyncio.run(main())


def test_what_has_ended_is_pruned(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "db") as world:
            await world.create(an_entry("old", expires_at=START), an_entry("new"))
            assert await world.store.write(entries.prune) == ("old",)
            assert world.index.entries.get("old") is None
            assert world.index.entries.get("new") is not None

    asyncio.run(main())


def test_an_error_inside_a_unit_takes_its_own_writes_back(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "db") as world:

            def work(tx: object) -> None:
                entries.create(tx, [an_entry("web")])  # type: ignore[arg-type]
                raise MissingError("and then this")

            with pytest.raises(FinialError, match="and then this"):
                await world.store.write(work)
            assert len(world.index.entries) == 0
            await world.create(an_entry("web"))

    asyncio.run(main())
