"""The Entry service as its callers see it: codes, texts, masks, pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from pathlib import Path

import pytest

from finial.core.bundle import Bundle
from finial.core.ids import TrustDomain
from finial.rpc import StatusCode
from finial.server.store import bundles
from finial.server.store.errors import UNAVAILABLE, StoreError
from finial.server.store.writer import Store
from finial.wire import bundles as wire_bundles
from finial.wire import masks, registry
from finial.wire.gen import google_protobuf as pb
from finial.wire.gen import spire_api_server_entry_v1 as entry_pb
from finial.wire.gen import spire_api_types as types
from support.clock import START, ManualClock
from support.rpc import run
from support.server_api import Served, served
from support.server_store import an_entry

_SERVICE = entry_pb.Entry
_NOW = int(START.timestamp())


def _test(
    path: Path, scenario: Callable[[Served], Awaitable[None]], clock: ManualClock | None = None
) -> None:
    async def main() -> None:
        async with served(path / "db", clock=clock) as server:
            await scenario(server)

    run(main())


def _id(path: str, domain: str = "example.org") -> types.SPIFFEID:
    return types.SPIFFEID(trust_domain=domain, path=path)


def _entry(name: str = "web", **more: object) -> types.Entry:
    """An entry with this id and path; what is named besides is put in, however wrong it is."""
    message = registry.entry_message(an_entry())
    message.id, message.spiffe_id.path = name, f"/{name}"
    message.MergeFrom(types.Entry(**more))  # type: ignore[arg-type]  # what a test names
    return message


async def _create(server: Served, *wanted: types.Entry) -> list[entry_pb.BatchCreateEntryResponse.Result]:
    reply = await server.call(_SERVICE.BatchCreateEntry, entry_pb.BatchCreateEntryRequest(entries=wanted))
    return list(reply.results)


async def _set_bundle(server: Served, name: str) -> None:
    bundle = Bundle(trust_domain=TrustDomain(name))
    await server.world.store.write(lambda tx: bundles.put(tx, bundle, wire_bundles.encode(bundle)))


def _statuses(
    results: Iterable[
        entry_pb.BatchCreateEntryResponse.Result
        | entry_pb.BatchUpdateEntryResponse.Result
        | entry_pb.BatchDeleteEntryResponse.Result
    ],
) -> list[tuple[int, str]]:
    return [(result.status.code, result.status.message) for result in results]


_OK = (0, "OK")


def test_an_entry_is_created_and_read(tmp_path: Path) -> None:
    async def scenario(server: Served) -> None:
        await _set_bundle(server, "other.test")
        given = _entry(created_at=5, revision_number=9, dns_names=["a.b"], federates_with=["other.test"])
        (result,) = await _create(server, given)
        assert _statuses([result]) == [_OK]
        given.created_at, given.revision_number = _NOW, 0
        assert result.entry == given
        assert await server.call(_SERVICE.GetEntry, entry_pb.GetEntryRequest(id="web")) == given
        cut = entry_pb.GetEntryRequest(id="web", output_mask=types.EntryMask(dns_names=True))
        assert await server.call(_SERVICE.GetEntry, cut) == types.Entry(id="web", dns_names=["a.b"])

    _test(tmp_path, scenario)


def test_getting_what_is_not_there(tmp_path: Path) -> None:
    async def scenario(server: Served) -> None:
        empty = await server.refused(_SERVICE.GetEntry, entry_pb.GetEntryRequest())
        assert empty == (StatusCode.INVALID_ARGUMENT, "missing ID")
        unknown = await server.refused(_SERVICE.GetEntry, entry_pb.GetEntryRequest(id="x"))
        assert unknown == (StatusCode.NOT_FOUND, "entry not found")

    _test(tmp_path, scenario)


def test_an_entry_without_an_id_is_given_one(tmp_path: Path) -> None:
    async def scenario(server: Served) -> None:
        nameless = [_entry("a"), _entry("b")]
        for each in nameless:
            each.id = ""
        first, second = await _create(server, *nameless)
        assert len(first.entry.id) == len("00000000-0000-4000-8000-000000000001")
        assert first.entry.id != second.entry.id

    _test(tmp_path, scenario)


def test_each_item_of_a_batch_stands_alone(tmp_path: Path) -> None:
    async def scenario(server: Served) -> None:
        results = await _create(
            server,
            _entry("good"),
            _entry("bad id!"),
            types.Entry(id="empty"),
            _entry("reserved", spiffe_id=_id("/spire/x")),
            _entry("foreign", spiffe_id=_id("/x", "other.test"), parent_id=_id("/y", "other.test")),
            _entry("lonely", federates_with=["other.test"]),
            _entry("ttl", x509_svid_ttl=-1),
            _entry("good", spiffe_id=_id("/another")),
            _entry("late", expires_at=1),
        )
        statuses = _statuses(results)
        assert [code for code, _ in statuses] == [0, 3, 3, 3, 3, 9, 3, 6, 0]
        assert all(text.startswith("failed to convert entry: ") for code, text in statuses if code == 3)
        assert "reserved namespace" in statuses[3][1]
        assert "not in trust domain example.org" in statuses[4][1]
        assert statuses[5][1] == 'failed to create entry: unable to find federated bundle "other.test"'
        assert statuses[7][1] == "failed to create entry: an entry with the id good already exists"
        assert not results[7].HasField("entry")
        assert len(server.world.index.entries) == 2

    _test(tmp_path, scenario)


def test_a_similar_entry_is_shown(tmp_path: Path) -> None:
    async def scenario(server: Served) -> None:
        await _create(server, _entry("web", hint="first"))
        request = entry_pb.BatchCreateEntryRequest(
            entries=[_entry("other", spiffe_id=_id("/web"))], output_mask=types.EntryMask(hint=True)
        )
        (result,) = (await server.call(_SERVICE.BatchCreateEntry, request)).results
        assert _statuses([result]) == [(6, "similar entry already exists")]
        assert result.entry == types.Entry(id="web", hint="first")

    _test(tmp_path, scenario)


def test_a_database_that_fails_is_told_of_each_item(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(store: Store, work: object) -> None:
        raise StoreError(UNAVAILABLE, "disk full")

    async def scenario(server: Served) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(Store, "write", broken)
            created = await _create(server, _entry("a"), types.Entry(), _entry("b"))
            request = entry_pb.BatchUpdateEntryRequest(entries=[_entry("a")])
            updated = (await server.call(_SERVICE.BatchUpdateEntry, request)).results
            deletion = entry_pb.BatchDeleteEntryRequest(ids=["a"])
            deleted = (await server.call(_SERVICE.BatchDeleteEntry, deletion)).results
        assert [code for code, _ in _statuses(created)] == [14, 3, 14]
        assert _statuses(created)[0][1] == "failed to create entry: disk full"
        assert _statuses(updated) == [(14, "failed to update entry: disk full")]
        assert _statuses(deleted) == [(14, "failed to delete entry: disk full")]

    _test(tmp_path, scenario)


def test_an_update_changes_what_is_selected(tmp_path: Path) -> None:
    async def scenario(server: Served) -> None:
        await _create(server, _entry("web", hint="old", dns_names=["a.b"], x509_svid_ttl=60))
        request = entry_pb.BatchUpdateEntryRequest(
            entries=[types.Entry(id="web", hint="new", x509_svid_ttl=-5)],
            input_mask=types.EntryMask(hint=True, dns_names=True, created_at=True, revision_number=True),
        )
        (result,) = (await server.call(_SERVICE.BatchUpdateEntry, request)).results
        assert _statuses([result]) == [_OK]
        assert result.entry == _entry("web", hint="new", x509_svid_ttl=60, revision_number=1, created_at=_NOW)

    _test(tmp_path, scenario)


def test_an_update_without_a_mask_replaces_everything(tmp_path: Path) -> None:
    async def scenario(server: Served) -> None:
        await _create(server, _entry("web", hint="old", dns_names=["a.b"]))
        request = entry_pb.BatchUpdateEntryRequest(
            entries=[_entry("web", admin=True, revision_number=70)], output_mask=types.EntryMask(admin=True)
        )
        (result,) = (await server.call(_SERVICE.BatchUpdateEntry, request)).results
        assert result.entry == types.Entry(id="web", admin=True)
        found = await server.call(_SERVICE.GetEntry, entry_pb.GetEntryRequest(id="web"))
        assert found == _entry("web", admin=True, revision_number=1, created_at=_NOW)

    _test(tmp_path, scenario)


def test_updates_that_are_refused(tmp_path: Path) -> None:
    async def scenario(server: Served) -> None:
        await _create(server, _entry("web"), _entry("db"))
        request = entry_pb.BatchUpdateEntryRequest(
            entries=[
                _entry("nobody"),
                _entry(""),
                types.Entry(id="web"),
                _entry("web", federates_with=["other.test"]),
                _entry("web", spiffe_id=_id("/db")),
                _entry("web", spiffe_id=_id("/x", "a.test"), parent_id=_id("/y", "a.test")),
                _entry("web", hint="good"),
            ]
        )
        results = (await server.call(_SERVICE.BatchUpdateEntry, request)).results
        statuses = _statuses(results)
        assert statuses[:2] == [(5, "failed to update entry")] * 2
        assert statuses[2][0] == 3
        assert statuses[2][1].startswith("failed to convert entry: ")
        assert statuses[3] == (9, 'failed to update entry: unable to find federated bundle "other.test"')
        assert statuses[4] == (6, "failed to update entry: similar entry already exists")
        assert statuses[5][0] == 3
        assert statuses[6] == _OK
        assert results[6].entry.revision_number == 1

    _test(tmp_path, scenario)


def test_deleting(tmp_path: Path) -> None:
    async def scenario(server: Served) -> None:
        await _create(server, _entry("a"), _entry("b"))
        request = entry_pb.BatchDeleteEntryRequest(ids=["a", "", "nobody", "a"])
        results = (await server.call(_SERVICE.BatchDeleteEntry, request)).results
        assert _statuses(results) == [
            _OK,
            (3, "missing entry ID"),
            (5, "entry not found"),
            (5, "entry not found"),
        ]
        assert [result.id for result in results] == ["a", "", "nobody", "a"]
        assert len(server.world.index.entries) == 1

    _test(tmp_path, scenario)


def test_pages_end_with_an_empty_one(tmp_path: Path) -> None:
    async def scenario(server: Served) -> None:
        await _create(server, *(_entry(f"e{number}") for number in range(5)))
        token, pages = "", []
        while True:
            request = entry_pb.ListEntriesRequest(
                page_size=2, page_token=token, output_mask=types.EntryMask()
            )
            reply = await server.call(_SERVICE.ListEntries, request)
            pages.append([entry.id for entry in reply.entries])
            token = reply.next_page_token
            if not token:
                break
        assert pages == [["e0", "e1"], ["e2", "e3"], ["e4"], []]
        whole = await server.call(_SERVICE.ListEntries, entry_pb.ListEntriesRequest(page_token="zz"))
        assert len(whole.entries) == 5
        assert whole.next_page_token == ""
        bad = await server.refused(
            _SERVICE.ListEntries, entry_pb.ListEntriesRequest(page_size=1, page_token="zz")
        )
        assert bad[0] is StatusCode.INVALID_ARGUMENT
        assert "could not parse token 'zz'" in bad[1]

    _test(tmp_path, scenario)


_Filter = entry_pb.ListEntriesRequest.Filter


def _selectors(match: str, *values: str) -> types.SelectorMatch:
    return types.SelectorMatch(
        selectors=[types.Selector(type="unix", value=value) for value in values],
        match=types.SelectorMatch.MatchBehavior.Value(f"MATCH_{match}"),
    )


def _domains(match: str, *names: str) -> types.FederatesWithMatch:
    return types.FederatesWithMatch(
        trust_domains=names, match=types.FederatesWithMatch.MatchBehavior.Value(f"MATCH_{match}")
    )


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (_Filter(), "a b c d"),
        (_Filter(by_parent_id=_id("/node")), "a b c"),
        (_Filter(by_parent_id=_id("/nobody")), ""),
        (_Filter(by_parent_id=_id("/spire/server")), ""),
        (_Filter(by_parent_id=_id("")), ""),
        (_Filter(by_spiffe_id=_id("/a")), "a"),
        (_Filter(by_selectors=_selectors("EXACT", "uid:0")), "a b"),
        (_Filter(by_selectors=_selectors("SUPERSET", "uid:0")), "a b c d"),
        (_Filter(by_selectors=_selectors("SUBSET", "uid:0", "gid:7")), "a b"),
        (_Filter(by_selectors=_selectors("ANY", "gid:0", "x")), "c d"),
        (_Filter(by_federates_with=_domains("EXACT", "x.test", "y.test")), "b"),
        (_Filter(by_federates_with=_domains("SUBSET", "x.test")), ""),
        (_Filter(by_federates_with=_domains("ANY", "x.test")), "b"),
        (_Filter(by_hint=pb.StringValue(value="h")), "c"),
        (_Filter(by_hint=pb.StringValue()), "a b c d"),
        (_Filter(by_downstream=pb.BoolValue(value=True)), "d"),
        (_Filter(by_downstream=pb.BoolValue()), "a b c"),
        (_Filter(by_parent_id=_id("/node"), by_selectors=_selectors("ANY", "gid:0")), "c"),
        (_Filter(by_downstream=pb.BoolValue(value=True), by_hint=pb.StringValue(value="h")), ""),
    ],
)
def test_filters(tmp_path: Path, asked: _Filter, found: str) -> None:
    async def scenario(server: Served) -> None:
        await _set_bundle(server, "x.test")
        await _set_bundle(server, "y.test")
        gid = [types.Selector(type="unix", value="gid:0")]
        await _create(
            server,
            _entry("a"),
            _entry("b", federates_with=["x.test", "y.test"]),
            _entry("c", selectors=gid, hint="h"),
            _entry("d", selectors=gid, parent_id=_id("/other"), downstream=True),
        )
        reply = await server.call(_SERVICE.ListEntries, entry_pb.ListEntriesRequest(filter=asked))
        assert " ".join(entry.id for entry in reply.entries) == found
        page = entry_pb.ListEntriesRequest(filter=asked, page_size=1)
        first = await server.call(_SERVICE.ListEntries, page)
        assert [entry.id for entry in first.entries] == found.split()[:1]
        counted = entry_pb.CountEntriesRequest.Filter.FromString(asked.SerializeToString())
        count = await server.call(_SERVICE.CountEntries, entry_pb.CountEntriesRequest(filter=counted))
        assert count.count == len(found.split())

    _test(tmp_path, scenario)


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        (
            _Filter(by_parent_id=_id("/a", "other.test")),
            "malformed parent ID filter: .*not a member of trust",
        ),
        (_Filter(by_parent_id=types.SPIFFEID()), "malformed parent ID filter: "),
        (_Filter(by_spiffe_id=_id("")), "malformed SPIFFE ID filter: .*not a workload"),
        (_Filter(by_spiffe_id=_id("/spire/agent/x")), "malformed SPIFFE ID filter: .*not a workload"),
        (_Filter(by_selectors=types.SelectorMatch()), "malformed selectors filter: empty selector set"),
        (_Filter(by_selectors=_selectors("ANY", "")), "malformed selectors filter: "),
        (
            _Filter(by_federates_with=types.FederatesWithMatch()),
            "malformed federates with filter: empty trust domain set",
        ),
    ],
)
def test_malformed_filters(tmp_path: Path, asked: _Filter, text: str) -> None:
    async def scenario(server: Served) -> None:
        code, message = await server.refused(_SERVICE.ListEntries, entry_pb.ListEntriesRequest(filter=asked))
        assert code is StatusCode.INVALID_ARGUMENT
        with pytest.raises(AssertionError, match=text):
            raise AssertionError(message)

    _test(tmp_path, scenario)


class _HurryingClock(ManualClock):
    """On which every look takes a second."""

    def monotonic(self) -> float:
        self._seconds += 1
        return self._seconds


@pytest.mark.parametrize(
    "asked", [_Filter(), _Filter(by_parent_id=_id("/node")), _Filter(by_hint=pb.StringValue(value="h"))]
)
def test_long_work_is_cut_into_slices(tmp_path: Path, asked: _Filter) -> None:
    async def scenario(server: Served) -> None:
        names = [f"e{number}" for number in range(100)]
        results = await _create(server, *(_entry(name, hint="h") for name in names))
        assert _statuses(results) == [_OK] * 100
        reply = await server.call(_SERVICE.ListEntries, entry_pb.ListEntriesRequest(filter=asked))
        assert [entry.id for entry in reply.entries] == names

    _test(tmp_path, scenario, _HurryingClock())


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
        whole = await server.call(_SERVICE.GetAuthorizedEntries, entry_pb.GetAuthorizedEntriesRequest())
        assert sorted(entry.id for entry in whole.entries) == ["below", "mine"]
        masked = entry_pb.GetAuthorizedEntriesRequest(output_mask=masks.agent_mask())
        reply = await server.call(_SERVICE.GetAuthorizedEntries, masked)
        expected = {entry.id: masks.cut(entry, masks.agent_mask()) for entry in whole.entries}
        assert {entry.id: entry for entry in reply.entries} == expected
        assert not any(entry.dns_names or entry.HasField("parent_id") for entry in reply.entries)

    _test(tmp_path, scenario)


def test_a_batch_without_a_good_item_writes_nothing(tmp_path: Path) -> None:
    async def scenario(server: Served) -> None:
        assert [code for code, _ in _statuses(await _create(server, types.Entry()))] == [3]
        assert await _create(server) == []
        assert len(server.world.index.entries) == 0

    _test(tmp_path, scenario)
