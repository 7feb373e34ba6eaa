"""The Entry service as its callers see it: codes, texts, masks, pages."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from finial.rpc import StatusCode
from finial.server.api import slices
from finial.server.store.errors import UNAVAILABLE, StoreError
from finial.server.store.writer import Store
from finial.wire import masks
from finial.wire.gen import spire_api_server_entry_v1 as entry_pb
from finial.wire.gen import spire_api_types as types
from support.clock import START
from support.entry_calls import NOW, OK, SERVICE, an_id, create, scenario_on, set_bundle, statuses_of, told
from support.server_api import Served
from support.server_store import an_entry


def test_an_entry_is_created_and_read(tmp_path: Path) -> None:
    async def scenario(server: Served) -> None:
        await set_bundle(server, "other.test")
        given = told(created_at=5, revision_number=9, dns_names=["a.b"], federates_with=["other.test"])
        (result,) = await create(server, given)
        assert statuses_of([result]) == [OK]
        given.created_at, given.revision_number = NOW, 0
        assert result.entry == given
        assert await server.call(SERVICE.GetEntry, entry_pb.GetEntryRequest(id="web")) == given
        cut = entry_pb.GetEntryRequest(id="web", output_mask=types.EntryMask(dns_names=True))
        assert await server.call(SERVICE.GetEntry, cut) == types.Entry(id="web", dns_names=["a.b"])

    scenario_on(tmp_path, scenario)


def test_getting_what_is_not_there(tmp_path: Path) -> None:
    async def scenario(server: Served) -> None:
        empty = await server.refused(SERVICE.GetEntry, entry_pb.GetEntryRequest())
        assert empty == (StatusCode.INVALID_ARGUMENT, "missing ID")
        unknown = await server.refused(SERVICE.GetEntry, entry_pb.GetEntryRequest(id="x"))
        assert unknown == (StatusCode.NOT_FOUND, "entry not found")

    scenario_on(tmp_path, scenario)


def test_an_entry_without_an_id_is_given_one(tmp_path: Path) -> None:
    async def scenario(server: Served) -> None:
        nameless = [told("a"), told("b")]
        for each in nameless:
            each.id = ""
        first, second = await create(server, *nameless)
        assert len(first.entry.id) == len("00000000-0000-4000-8000-000000000001")
        assert first.entry.id != second.entry.id

    scenario_on(tmp_path, scenario)


def test_a_batch_of_many_parts_is_answered_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "PART_ITEMS", 2)
    monkeypatch.setattr(slices, "MAX_ITEMS", 7)
    names = ["a", "b", "bad id!", "c", "a", "d", "e"]

    async def scenario(server: Served) -> None:
        results = await create(server, *map(told, names))
        assert [result.status.code for result in results] == [0, 0, 3, 0, 6, 0, 0]
        assert results[4].entry.id == "a"
        assert [record.id for record in server.world.index.entries.after(0)] == ["a", "b", "c", "d", "e"]
        many = entry_pb.BatchCreateEntryRequest(entries=map(told, [*names, "f"]))
        refused = await server.refused(SERVICE.BatchCreateEntry, many)
        assert refused[0] is StatusCode.RESOURCE_EXHAUSTED
        ids = ["a", "nobody", "b", "c", "", "d", "e"]
        deleted = await server.call(SERVICE.BatchDeleteEntry, entry_pb.BatchDeleteEntryRequest(ids=ids))
        assert [result.id for result in deleted.results] == ids
        assert [result.status.code for result in deleted.results] == [0, 5, 0, 0, 3, 0, 0]
        assert len(server.world.index.entries) == 0

    scenario_on(tmp_path, scenario)


def test_each_item_of_a_batch_stands_alone(tmp_path: Path) -> None:
    async def scenario(server: Served) -> None:
        results = await create(
            server,
            told("good"),
            told("bad id!"),
            types.Entry(id="empty"),
            told("reserved", spiffe_id=an_id("/spire/x")),
            told("foreign", spiffe_id=an_id("/x", "other.test"), parent_id=an_id("/y", "other.test")),
            told("lonely", federates_with=["other.test"]),
            told("ttl", x509_svid_ttl=-1),
            told("good", spiffe_id=an_id("/another")),
            told("late", expires_at=1),
        )
        statuses = statuses_of(results)
        assert [code for code, _ in statuses] == [0, 3, 3, 3, 3, 9, 3, 6, 0]
        assert all(text.startswith("failed to convert entry: ") for code, text in statuses if code == 3)
        assert "reserved namespace" in statuses[3][1]
        assert "not in trust domain example.org" in statuses[4][1]
        assert (
            statuses[5][1] == 'failed to create entry: unable to find federated bundle "spiffe://other.test"'
        )
        assert statuses[7][1] == "failed to create entry: an entry with the id good already exists"
        assert not results[7].HasField("entry")
        assert len(server.world.index.entries) == 2

    scenario_on(tmp_path, scenario)


def test_a_similar_entry_is_shown(tmp_path: Path) -> None:
    async def scenario(server: Served) -> None:
        await create(server, told("web", hint="first"))
        request = entry_pb.BatchCreateEntryRequest(
            entries=[told("other", spiffe_id=an_id("/web"))], output_mask=types.EntryMask(hint=True)
        )
        (result,) = (await server.call(SERVICE.BatchCreateEntry, request)).results
        assert statuses_of([result]) == [(6, "similar entry already exists")]
        assert result.entry == types.Entry(id="web", hint="first")

    scenario_on(tmp_path, scenario)


def test_a_database_that_fails_is_told_of_each_item(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(store: Store, work: object) -> None:
        raise StoreError(UNAVAILABLE, "disk full")

    async def scenario(server: Served) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(Store, "write", broken)
            created = await create(server, told("a"), types.Entry(), told("b"))
            request = entry_pb.BatchUpdateEntryRequest(entries=[told("a")])
            updated = (await server.call(SERVICE.BatchUpdateEntry, request)).results
            deletion = entry_pb.BatchDeleteEntryRequest(ids=["a"])
            deleted = (await server.call(SERVICE.BatchDeleteEntry, deletion)).results
        assert [code for code, _ in statuses_of(created)] == [14, 3, 14]
        assert statuses_of(created)[0][1] == "failed to create entry: disk full"
        assert statuses_of(updated) == [(14, "failed to update entry: disk full")]
        assert statuses_of(deleted) == [(14, "failed to delete entry: disk full")]

    scenario_on(tmp_path, scenario)


def test_an_update_changes_what_is_selected(tmp_path: Path) -> None:
    async def scenario(server: Served) -> None:
        await create(server, told("web", hint="old", dns_names=["a.b"], x509_svid_ttl=60))
        request = entry_pb.BatchUpdateEntryRequest(
            entries=[types.Entry(id="web", hint="new", x509_svid_ttl=-5)],
            input_mask=types.EntryMask(hint=True, dns_names=True, created_at=True, revision_number=True),
        )
        (result,) = (await server.call(SERVICE.BatchUpdateEntry, request)).results
        assert statuses_of([result]) == [OK]
        assert result.entry == told("web", hint="new", x509_svid_ttl=60, revision_number=1, created_at=NOW)

    scenario_on(tmp_path, scenario)


def test_an_update_without_a_mask_replaces_everything(tmp_path: Path) -> None:
    async def scenario(server: Served) -> None:
        await create(server, told("web", hint="old", dns_names=["a.b"]))
        request = entry_pb.BatchUpdateEntryRequest(
            entries=[told("web", admin=True, revision_number=70)], output_mask=types.EntryMask(admin=True)
        )
        (result,) = (await server.call(SERVICE.BatchUpdateEntry, request)).results
        assert result.entry == types.Entry(id="web", admin=True)
        found = await server.call(SERVICE.GetEntry, entry_pb.GetEntryRequest(id="web"))
        assert found == told("web", admin=True, revision_number=1, created_at=NOW)

    scenario_on(tmp_path, scenario)


def test_updates_that_are_refused(tmp_path: Path) -> None:
    async def scenario(server: Served) -> None:
        await create(server, told("web"), told("db"))
        request = entry_pb.BatchUpdateEntryRequest(
            entries=[
                told("nobody"),
                told(""),
                types.Entry(id="web"),
                told("web", federates_with=["other.test"]),
                told("web", spiffe_id=an_id("/db")),
                told("web", spiffe_id=an_id("/x", "a.test"), parent_id=an_id("/y", "a.test")),
                told("web", hint="good"),
            ]
        )
        results = (await server.call(SERVICE.BatchUpdateEntry, request)).results
        statuses = statuses_of(results)
        assert statuses[:2] == [(5, "failed to update entry")] * 2
        assert statuses[2][0] == 3
        assert statuses[2][1].startswith("failed to convert entry: ")
        assert statuses[3] == (
            9,
            'failed to update entry: unable to find federated bundle "spiffe://other.test"',
        )
        assert statuses[4] == (6, "failed to update entry: similar entry already exists")
        assert statuses[5][0] == 3
        assert statuses[6] == OK
        assert results[6].entry.revision_number == 1

    scenario_on(tmp_path, scenario)


def test_deleting(tmp_path: Path) -> None:
    async def scenario(server: Served) -> None:
        await create(server, told("a"), told("b"))
        request = entry_pb.BatchDeleteEntryRequest(ids=["a", "", "nobody", "a"])
        results = (await server.call(SERVICE.BatchDeleteEntry, request)).results
        assert statuses_of(results) == [
            OK,
            (3, "missing entry ID"),
            (5, "entry not found"),
            (5, "entry not found"),
        ]
        assert [result.id for result in results] == ["a", "", "nobody", "a"]
        assert len(server.world.index.entries) == 1

    scenario_on(tmp_path, scenario)


def test_an_agent_is_given_what_it_may_serve(tmp_path: Path) -> None:
    async def scenario(server: Served) -> None:
        agent = "spire/agent/join_token/t"
        await server.world.create(
            an_entry("mine", parent=agent, dns_names=("a.b",)),
            an_entry("below", parent="mine"),
            an_entry("others"),
            an_entry("ended", parent=agent, expires_at=START - timedelta(seconds=1)),
        )
        await server.attest()
        whole = await server.call(SERVICE.GetAuthorizedEntries, entry_pb.GetAuthorizedEntriesRequest())
        assert sorted(entry.id for entry in whole.entries) == ["below", "mine"]
        masked = entry_pb.GetAuthorizedEntriesRequest(output_mask=masks.agent_mask())
        reply = await server.call(SERVICE.GetAuthorizedEntries, masked)
        expected = {entry.id: masks.cut(entry, masks.agent_mask()) for entry in whole.entries}
        assert {entry.id: entry for entry in reply.entries} == expected
        assert not any(entry.dns_names or entry.HasField("parent_id") for entry in reply.entries)

    scenario_on(tmp_path, scenario)


def test_a_batch_without_a_good_item_writes_nothing(tmp_path: Path) -> None:
    async def scenario(server: Served) -> None:
        assert [code for code, _ in statuses_of(await create(server, types.Entry()))] == [3]
        assert await create(server) == []
        assert len(server.world.index.entries) == 0

    scenario_on(tmp_path, scenario)
