from __future__ import annotations

import json
from typing import Any

import pytest

from finial.wire.gen import spire_api_server_entry_v1 as pb
from finial.wire.gen import spire_api_types as types
from finial.wire.statuses import ok
from support.admin import FakeServer, Finial
from support.entries import NEEDED, NODE, ROOT, WEB, created, entry, updated


def test_an_entry_is_created_and_shown(server: FakeServer, finial: Finial) -> None:
    server.answers["BatchCreateEntry"] = created
    found = finial("server", "entry", "create", "--socket", server.socket, *NEEDED)
    assert found.code == 0
    assert server.one("BatchCreateEntry") == pb.BatchCreateEntryRequest(entries=[entry()])
    assert found.out.splitlines() == [
        "Entry ID      : new0",
        "SPIFFE ID     : spiffe://example.org/web",
        "Parent ID     : spiffe://example.org/node1",
        "Revision      : 0",
        "X509-SVID TTL : default",
        "JWT-SVID TTL  : default",
        "Selector      : unix:uid:0",
    ]


EXTRAS: list[tuple[tuple[str, ...], tuple[str, ...], dict[str, Any]]] = [
    (("--entry-id", "e1"), ("-entryID", "e1"), {"id": "e1"}),
    (("--x509-svid-ttl", "1h"), ("-x509SVIDTTL", "3600"), {"x509_svid_ttl": 3600}),
    (("--jwt-svid-ttl", "5m"), ("-jwtSVIDTTL=300",), {"jwt_svid_ttl": 300}),
    (
        ("--federates-with", "a.example", "--federates-with", "spiffe://b.example"),
        ("-federatesWith", "spiffe://a.example", "-federatesWith", "spiffe://b.example"),
        {"federates_with": ["a.example", "b.example"]},
    ),
    (
        ("--dns", "a.example", "--dns", "b"),
        ("-dns", "a.example", "-dns", "b"),
        {"dns_names": ["a.example", "b"]},
    ),
    (("--hint", "internal"), ("-hint", "internal"), {"hint": "internal"}),
    (("--admin",), ("-admin",), {"admin": True}),
    (("--no-admin",), ("-admin=false",), {}),
    (("--downstream",), ("-downstream=true",), {"downstream": True}),
    (("--no-downstream",), ("-downstream=false",), {}),
    (("--store-svid",), ("-storeSVID",), {"store_svid": True}),
    (("--entry-expiry", "2027-01-31T12:00:00Z"), ("-entryExpiry", "1801396800"), {"expires_at": 1801396800}),
    (
        ("--disable-x509-svid-prefetch",),
        ("-disableX509SVIDPrefetch",),
        {"additional_attributes": types.Entry.AdditionalAttributes(disable_x509_svid_prefetch=True)},
    ),
    (
        ("--jwt-svid-include-jti",),
        ("-jwtSVIDIncludeJTI",),
        {"additional_attributes": types.Entry.AdditionalAttributes(jwt_svid_include_jti=True)},
    ),
]
SPIRE_NEEDED = (
    "-parentID",
    "spiffe://example.org/node1",
    "-spiffeID=spiffe://example.org/web",
    "-selector",
    "unix:uid:0",
)


@pytest.mark.parametrize(("ours", "spires", "fields"), EXTRAS)
def test_each_option_has_its_effect_in_both_spellings(
    ours: tuple[str, ...], spires: tuple[str, ...], fields: dict[str, Any], server: FakeServer, finial: Finial
) -> None:
    server.answers["BatchCreateEntry"] = created
    assert finial("server", "entry", "create", "--socket", server.socket, *NEEDED, *ours).code == 0
    assert finial("server", "entry", "create", "-socketPath", server.socket, *SPIRE_NEEDED, *spires).code == 0
    (_, first), (_, second) = server.asked
    assert first == second == pb.BatchCreateEntryRequest(entries=[entry(**fields)])


def test_an_alias_of_nodes_has_the_server_as_its_parent(server: FakeServer, finial: Finial) -> None:
    server.answers["BatchCreateEntry"] = created
    words = ["--node", "--spiffe-id", "spiffe://example.org/web", "--selector", "x509pop:cn:a"]
    assert finial("server", "entry", "create", "--socket", server.socket, *words).code == 0
    (made,) = server.one("BatchCreateEntry").entries
    assert made.parent_id == types.SPIFFEID(trust_domain="example.org", path="/spire/server")
    refused = finial("server", "entry", "create", *words, "--parent-id", "spiffe://example.org/a")
    assert refused.err == "finial: error: --parent-id: the parent of an alias (--node) is the server\n"


def test_every_mistake_is_reported_at_once(finial: Finial) -> None:
    found = finial(
        "server", "entry", "create", "--spiffe-id", "spiffe:/x", "--selector", "a", "--federates-with", "A",
        "--x509-svid-ttl", "soon", "--jwt-svid-ttl", "1ms", "--entry-expiry", "then",
    )  # fmt: skip
    assert found.code == 1
    assert [line.split(": ")[2] for line in found.err.splitlines()] == [
        "--spiffe-id", "--parent-id", "--selector", "--federates-with", "--x509-svid-ttl", "--jwt-svid-ttl",
        "--entry-expiry",
    ]  # fmt: skip
    assert "Traceback" not in found.err


def test_no_selector_and_a_bad_node_are_refused(finial: Finial) -> None:
    found = finial("server", "entry", "create", "--node", "--spiffe-id", "x")
    assert "--spiffe-id: 'x'" in found.err
    assert "--selector: at least one is needed" in found.err


def test_a_refused_item_is_told_and_exits_1(server: FakeServer, finial: Finial) -> None:
    there = types.Status(code=6, message="similar entry already exists")
    server.answers["BatchCreateEntry"] = lambda _request: pb.BatchCreateEntryResponse(
        results=[pb.BatchCreateEntryResponse.Result(status=there, entry=entry(id="old"))]
    )
    found = finial("server", "entry", "create", "--socket", server.socket, *NEEDED)
    assert (found.code, found.out) == (1, "")
    assert found.err == (
        "finial: error: spiffe://example.org/web: similar entry already exists; its id is old\n"
    )
    as_json = finial("server", "entry", "create", "--socket", server.socket, *NEEDED, "--output", "json")
    assert as_json.code == 1
    assert json.loads(as_json.out)["results"][0]["status"] == {
        "code": 6,
        "message": "similar entry already exists",
    }


def test_json_is_the_reply_on_one_line(server: FakeServer, finial: Finial) -> None:
    server.answers["BatchCreateEntry"] = created
    ours = finial("server", "entry", "create", "--socket", server.socket, *NEEDED, "--output", "json")
    spires = finial("server", "entry", "create", "-socketPath", server.socket, *NEEDED, "-output", "json")
    assert ours.out == spires.out
    assert ours.out.count("\n") == 1
    result = json.loads(ours.out)["results"][0]
    assert result["status"] == {"code": 0, "message": "OK"}
    assert result["entry"]["created_at"] == "0"
    assert result["entry"]["spiffe_id"] == {"path": "/web", "trust_domain": "example.org"}
    assert "additional_attributes" not in result["entry"]


def test_update_replaces_the_whole_entry(server: FakeServer, finial: Finial) -> None:
    server.answers["BatchUpdateEntry"] = updated
    base = ("server", "entry", "update", "--socket", server.socket)
    assert "Entry ID      : e1" in finial(*base, "--entry-id", "e1", *NEEDED, "--hint", "x").out
    request = server.one("BatchUpdateEntry")
    assert request == pb.BatchUpdateEntryRequest(entries=[entry(id="e1", hint="x")])
    assert not request.HasField("input_mask")
    as_json = finial(*base, "-entryID", "e1", *SPIRE_NEEDED, "--output", "json")
    assert json.loads(as_json.out)["results"][0]["entry"]["id"] == "e1"
    assert "--entry-id: which entry is to be updated" in finial(*base, *NEEDED).err


FILTERS: list[tuple[str, str, dict[str, Any]]] = [
    ("--spiffe-id spiffe://example.org/web", "-spiffeID spiffe://example.org/web", {"by_spiffe_id": WEB}),
    (
        "--parent-id spiffe://example.org/node1",
        "-parentID spiffe://example.org/node1",
        {"by_parent_id": NODE},
    ),
    (
        "--selector unix:uid:0 --selector unix:gid:0",
        "-selector unix:uid:0 -selector unix:gid:0 -matchSelectorsOn superset",
        {
            "by_selectors": types.SelectorMatch(
                selectors=[ROOT, types.Selector(type="unix", value="gid:0")],
                match=types.SelectorMatch.MATCH_SUPERSET,
            )
        },
    ),
    (
        "--selector unix:uid:0 --match-selectors-on exact",
        "-selector unix:uid:0 -matchSelectorsOn=exact",
        {"by_selectors": types.SelectorMatch(selectors=[ROOT])},
    ),
    (
        "--federates-with other --match-federates-with-on any",
        "-federatesWith spiffe://other -matchFederatesWithOn any",
        {
            "by_federates_with": types.FederatesWithMatch(
                trust_domains=["other"], match=types.FederatesWithMatch.MATCH_ANY
            )
        },
    ),
]


@pytest.mark.parametrize(("ours", "spires", "fields"), FILTERS)
def test_each_filter_has_its_effect_in_both_spellings(
    ours: str, spires: str, fields: dict[str, Any], server: FakeServer, finial: Finial
) -> None:
    for command in ("show", "count"):
        server.asked.clear()
        assert finial("server", "entry", command, "--socket", server.socket, *ours.split()).code == 0
        assert finial("server", "entry", command, "-socketPath", server.socket, *spires.split()).code == 0
        (_, first), (_, second) = server.asked
        assert first.filter == second.filter == type(first.filter)(**fields)


def test_the_filters_with_wrappers(server: FakeServer, finial: Finial) -> None:
    base = ("server", "entry", "show", "--socket", server.socket)
    for words in ("--downstream", "-downstream=false", "--hint h", "-hint h", ""):
        finial(*base, *words.split())
    filters = [request.filter for _, request in server.asked]
    assert [each.by_downstream.value for each in filters[:2]] == [True, False]
    assert all(each.HasField("by_downstream") for each in filters[:2])
    assert [each.by_hint.value for each in filters[2:4]] == ["h", "h"]
    assert not filters[4].ListFields()


def test_bad_filters_are_refused(finial: Finial) -> None:
    found = finial("server", "entry", "show", "--spiffe-id", "x", "--selector", "y", "--federates-with", "Z")
    assert found.code == 1
    assert [line.split(": ")[2] for line in found.err.splitlines()] == [
        "--spiffe-id",
        "--selector",
        "--federates-with",
    ]


def test_a_list_is_fetched_page_by_page(server: FakeServer, finial: Finial) -> None:
    pages = {"": "2", "2": "3", "3": ""}

    def page(request: pb.ListEntriesRequest) -> pb.ListEntriesResponse:
        token = request.page_token
        entries = [entry(id=f"after{token}")] if pages[token] else []
        return pb.ListEntriesResponse(entries=entries, next_page_token=pages[token])

    server.answers["ListEntries"] = page
    found = finial("server", "entry", "show", "--socket", server.socket)
    assert found.out.startswith("Found 2 entries\n\nEntry ID")
    assert "\n\nEntry ID      : after2\n" in found.out
    assert [request.page_size for _, request in server.asked] == [500, 500, 500]
    as_json = json.loads(finial("server", "entry", "show", "--socket", server.socket, "--output", "json").out)
    assert [each["id"] for each in as_json["entries"]] == ["after", "after2"]
    assert as_json["next_page_token"] == ""


def test_one_entry_is_shown_by_its_id(server: FakeServer, finial: Finial) -> None:
    server.answers["GetEntry"] = lambda request: entry(
        id=request.id, x509_svid_ttl=90, federates_with=["o"], dns_names=["d"], hint="h", expires_at=1,
        created_at=2, admin=True, downstream=True, store_svid=True, revision_number=4,
        additional_attributes=types.Entry.AdditionalAttributes(jwt_svid_include_jti=True),
    )  # fmt: skip
    found = finial("server", "entry", "show", "--socket", server.socket, "--entry-id", "e1")
    assert found.out.splitlines()[0] == "Found 1 entry"
    for line in (
        "Revision      : 4", "X509-SVID TTL : 1m30s", "FederatesWith : o", "DNS name      : d",
        "Hint          : h", "Expires       : 1970-01-01 00:00:01 UTC",
        "Created       : 1970-01-01 00:00:02 UTC",
        "Admin         : yes", "Downstream    : yes", "StoreSvid     : yes", "JWT-SVID jti  : yes",
    ):  # fmt: skip
        assert line in found.out.splitlines()
    as_json = finial(
        "server", "entry", "show", "-socketPath", server.socket, "-entryID", "e1", "-output", "json"
    )
    assert [each["id"] for each in json.loads(as_json.out)["entries"]] == ["e1"]


def test_nothing_found_is_said(server: FakeServer, finial: Finial) -> None:
    assert finial("server", "entry", "show", "--socket", server.socket).out == "Found 0 entries\n"


def test_entries_are_counted(server: FakeServer, finial: Finial) -> None:
    server.answers["CountEntries"] = lambda _request: pb.CountEntriesResponse(count=3)
    assert finial("server", "entry", "count", "--socket", server.socket).out == "3 entries\n"
    found = finial("server", "entry", "count", "--socket", server.socket, "--output", "json")
    assert found.out == '{"count":3}\n'


def test_entries_are_deleted(server: FakeServer, finial: Finial) -> None:
    def deleted(request: pb.BatchDeleteEntryRequest) -> pb.BatchDeleteEntryResponse:
        missing = types.Status(code=5, message="entry not found")
        return pb.BatchDeleteEntryResponse(
            results=[
                pb.BatchDeleteEntryResponse.Result(status=ok() if each == "a" else missing, id=each)
                for each in request.ids
            ]
        )

    server.answers["BatchDeleteEntry"] = deleted
    base = ("server", "entry", "delete", "--socket", server.socket)
    found = finial(*base, "--entry-id", "a", "--entry-id", "b")
    assert (found.code, found.out) == (1, "Deleted entry a\n")
    assert found.err == "finial: error: entry b: entry not found\n"
    assert list(server.one("BatchDeleteEntry").ids) == ["a", "b"]
    as_json = finial(*base, "-entryID", "a", "-output", "json")
    assert as_json.out == '{"results":[{"id":"a","status":{"code":0,"message":"OK"}}]}\n'
