"""Lists of entries: pages, filters, and that long work is cut into slices."""

from __future__ import annotations

from pathlib import Path

import pytest

from finial.rpc import StatusCode
from finial.wire.gen import google_protobuf as pb
from finial.wire.gen import spire_api_server_entry_v1 as entry_pb
from finial.wire.gen import spire_api_types as types
from support.clock import ManualClock
from support.entry_calls import OK, SERVICE, an_id, create, scenario_on, set_bundle, statuses_of, told
from support.server_api import Served


def test_pages_end_with_an_empty_one(tmp_path: Path) -> None:
    async def scenario(server: Served) -> None:
        await create(server, *(told(f"e{number}") for number in range(5)))
        token, pages = "", []
        while True:
            request = entry_pb.ListEntriesRequest(
                page_size=2, page_token=token, output_mask=types.EntryMask()
            )
            reply = await server.call(SERVICE.ListEntries, request)
            pages.append([entry.id for entry in reply.entries])
            token = reply.next_page_token
            if not token:
                break
        assert pages == [["e0", "e1"], ["e2", "e3"], ["e4"], []]
        whole = await server.call(SERVICE.ListEntries, entry_pb.ListEntriesRequest(page_token="zz"))
        assert len(whole.entries) == 5
        assert whole.next_page_token == ""
        bad = await server.refused(
            SERVICE.ListEntries, entry_pb.ListEntriesRequest(page_size=1, page_token="zz")
        )
        assert bad[0] is StatusCode.INVALID_ARGUMENT
        assert "could not parse token 'zz'" in bad[1]

    scenario_on(tmp_path, scenario)


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
        (_Filter(by_parent_id=an_id("/node")), "a b c"),
        (_Filter(by_parent_id=an_id("/nobody")), ""),
        (_Filter(by_parent_id=an_id("/spire/server")), ""),
        (_Filter(by_parent_id=an_id("")), ""),
        (_Filter(by_spiffe_id=an_id("/a")), "a"),
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
        (_Filter(by_parent_id=an_id("/node"), by_selectors=_selectors("ANY", "gid:0")), "c"),
        (_Filter(by_downstream=pb.BoolValue(value=True), by_hint=pb.StringValue(value="h")), ""),
    ],
)
def test_filters(tmp_path: Path, asked: _Filter, found: str) -> None:
    async def scenario(server: Served) -> None:
        await set_bundle(server, "x.test")
        await set_bundle(server, "y.test")
        gid = [types.Selector(type="unix", value="gid:0")]
        await create(
            server,
            told("a"),
            told("b", federates_with=["x.test", "y.test"]),
            told("c", selectors=gid, hint="h"),
            told("d", selectors=gid, parent_id=an_id("/other"), downstream=True),
        )
        reply = await server.call(SERVICE.ListEntries, entry_pb.ListEntriesRequest(filter=asked))
        assert " ".join(entry.id for entry in reply.entries) == found
        page = entry_pb.ListEntriesRequest(filter=asked, page_size=1)
        first = await server.call(SERVICE.ListEntries, page)
        assert [entry.id for entry in first.entries] == found.split()[:1]
        counted = entry_pb.CountEntriesRequest.Filter.FromString(asked.SerializeToString())
        count = await server.call(SERVICE.CountEntries, entry_pb.CountEntriesRequest(filter=counted))
        assert count.count == len(found.split())

    scenario_on(tmp_path, scenario)


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        (
            _Filter(by_parent_id=an_id("/a", "other.test")),
            "malformed parent ID filter: .*not a member of trust",
        ),
        (_Filter(by_parent_id=types.SPIFFEID()), "malformed parent ID filter: "),
        (_Filter(by_spiffe_id=an_id("")), "malformed SPIFFE ID filter: .*not a workload"),
        (_Filter(by_spiffe_id=an_id("/spire/agent/x")), "malformed SPIFFE ID filter: .*not a workload"),
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
        code, message = await server.refused(SERVICE.ListEntries, entry_pb.ListEntriesRequest(filter=asked))
        assert code is StatusCode.INVALID_ARGUMENT
        with pytest.raises(AssertionError, match=text):
            raise AssertionError(message)

    scenario_on(tmp_path, scenario)


class _HurryingClock(ManualClock):
    """On which every look takes a second."""

    def monotonic(self) -> float:
        self._seconds += 1
        return self._seconds


@pytest.mark.parametrize(
    "asked", [_Filter(), _Filter(by_parent_id=an_id("/node")), _Filter(by_hint=pb.StringValue(value="h"))]
)
def test_long_work_is_cut_into_slices(tmp_path: Path, asked: _Filter) -> None:
    async def scenario(server: Served) -> None:
        names = [f"e{number}" for number in range(100)]
        results = await create(server, *(told(name, hint="h") for name in names))
        assert statuses_of(results) == [OK] * 100
        reply = await server.call(SERVICE.ListEntries, entry_pb.ListEntriesRequest(filter=asked))
        assert [entry.id for entry in reply.entries] == names

    scenario_on(tmp_path, scenario, _HurryingClock())
