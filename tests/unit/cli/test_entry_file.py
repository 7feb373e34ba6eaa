from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from finial.rpc import RpcError, StatusCode
from finial.wire.gen import spire_api_server_entry_v1 as entry_pb
from finial.wire.gen import spire_api_types as types
from support.admin import FakeServer, Finial
from support.entries import created, entry, updated

FILE = {
    "Entries": [
        {
            "SPIFFE_ID": "spiffe://example.org/web",
            "parent_id": "spiffe://example.org/node1",
            "selectors": [{"type": "unix", "value": "uid:0"}],
            "x509_svid_ttl": 60,
            "jwt_svid_ttl": 30,
            "federates_with": ["spiffe://other"],
            "dns_names": ["a"],
            "hint": "h",
            "admin": True,
            "downstream": True,
            "store_svid": False,
            "entryExpiry": 1 << 40,
            "entry_id": "e1",
            "revision_number": 7,
            "unknown": None,
            "additional_attributes": {"disable_x509_svid_prefetch": True, "jwt_svid_include_jti": True},
        }
    ]
}
WHOLE = entry(
    id="e1", x509_svid_ttl=60, jwt_svid_ttl=30, federates_with=["other"], dns_names=["a"], hint="h",
    admin=True, downstream=True, expires_at=1 << 40,
    additional_attributes=types.Entry.AdditionalAttributes(
        disable_x509_svid_prefetch=True, jwt_svid_include_jti=True
    ),
)  # fmt: skip


def test_entries_come_from_a_file(server: FakeServer, finial: Finial, tmp_path: Path) -> None:
    server.answers |= {"BatchCreateEntry": created, "BatchUpdateEntry": updated}
    path = tmp_path / "entries.json"
    path.write_text(json.dumps(FILE))
    assert finial("server", "entry", "create", "--socket", server.socket, "--data", path).code == 0
    assert finial("server", "entry", "update", "-socketPath", server.socket, "-data", path).code == 0
    assert [request.entries for _, request in server.asked] == [[WHOLE], [WHOLE]]


def test_entries_come_from_standard_input(
    server: FakeServer, finial: Finial, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers["BatchCreateEntry"] = created
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(FILE).encode())))
    assert finial("server", "entry", "create", "--socket", server.socket, "--data", "-").code == 0
    assert list(server.one("BatchCreateEntry").entries) == [WHOLE]


def test_many_entries_go_in_several_calls(server: FakeServer, finial: Finial, tmp_path: Path) -> None:
    server.answers["BatchCreateEntry"] = created
    one = {**FILE["Entries"][0], "entry_id": ""}
    (tmp_path / "f").write_text(json.dumps({"entries": [one] * 501}))
    found = finial(
        "server", "entry", "create", "--socket", server.socket, "--data", tmp_path / "f", "--output", "json"
    )
    assert [len(request.entries) for _, request in server.asked] == [500, 1]
    assert len(json.loads(found.out)["results"]) == 501


def test_what_was_done_before_the_server_went_away_is_told(
    server: FakeServer, finial: Finial, tmp_path: Path
) -> None:
    def half(request: entry_pb.BatchCreateEntryRequest) -> entry_pb.BatchCreateEntryResponse:
        if len(server.asked) > 1:
            raise RpcError(StatusCode.UNAVAILABLE, "going away")
        return created(request)

    server.answers["BatchCreateEntry"] = half
    one = {**FILE["Entries"][0], "entry_id": ""}
    (tmp_path / "f").write_text(json.dumps({"entries": [one] * 501}))
    words = ("server", "entry", "create", "--socket", server.socket, "--data", tmp_path / "f")
    found = finial(*words)
    assert found.code == 1
    assert found.out.count("SPIFFE ID") == 500
    assert found.err.splitlines() == [
        "finial: only 500 of 501 entries were answered, the first ones",
        "finial: error: going away",
    ]
    server.asked.clear()
    as_json = finial(*words, "--output", "json")
    assert as_json.code == 1
    assert len(json.loads(as_json.out)["results"]) == 500
    assert finial(*words).out == ""  # nothing was done at all


def test_refusals_are_told_even_when_the_server_went_away(
    server: FakeServer, finial: Finial, tmp_path: Path
) -> None:
    def refuse(request: entry_pb.BatchCreateEntryRequest) -> entry_pb.BatchCreateEntryResponse:
        if len(server.asked) > 1:
            raise RpcError(StatusCode.UNAVAILABLE, "going away")
        result = entry_pb.BatchCreateEntryResponse.Result(status=types.Status(code=3, message="no"))
        return entry_pb.BatchCreateEntryResponse(results=[result] * len(request.entries))

    server.answers["BatchCreateEntry"] = refuse
    one = {**FILE["Entries"][0], "entry_id": ""}
    (tmp_path / "f").write_text(json.dumps({"entries": [one] * 501}))
    found = finial("server", "entry", "create", "--socket", server.socket, "--data", tmp_path / "f")
    lines = found.err.splitlines()
    assert (found.code, len(lines)) == (1, 502)
    assert lines[-1] == "finial: error: going away"


def test_a_reply_that_leaves_something_out_is_no_success(
    server: FakeServer, finial: Finial, tmp_path: Path
) -> None:
    (tmp_path / "f").write_text(json.dumps(FILE))
    base = ("server", "entry")
    for words in (
        ("create", "--data", tmp_path / "f"),
        ("update", "--data", tmp_path / "f"),
        ("delete", "--entry-id", "e1"),
    ):
        found = finial(*base, *words, "--socket", server.socket)
        assert (found.code, found.out) == (1, "")
        assert "the server answered 0 of 1 items. Look at what is there" in found.err


BROKEN = (
    '{"entries": [{"spiffe_id": 1, "parent_id": "spiffe:/x", "selectors": [{"type": "unix"}, 3],'
    '"x509_svid_ttl": -1, "jwt_svid_ttl": 2147483648, "federates_with": "a", "dns_names": [1],'
    '"admin": "yes", "hint": [], "additional_attributes": {"jwt_svid_include_jti": 1}}]}'
)


@pytest.mark.parametrize(
    ("text", "complaints"),
    [
        ("{", ["no JSON: Expecting property name"]),
        ("[]", ["there is no list of entries"]),
        ('{"entries": []}', ["there is no list of entries"]),
        ("\xff", ["no JSON"]),
        ("[" * 100_000, ["no JSON"]),
        ('{"entries": [1]}', ["entries[0]: not an object"]),
        (
            BROKEN,
            [
                "entries[0].spiffe_id: not text",
                "entries[0].parent_id: 'spiffe:/x'",
                "entries[0].selectors[0]: the selector of type 'unix' has no value",
                "entries[0].selectors[1]: not an object",
                "entries[0].x509_svid_ttl: -1 is not between 0 and 2147483647",
                "entries[0].jwt_svid_ttl: 2147483648 is not between 0 and 2147483647",
                "entries[0].federates_with: not a list",
                "entries[0].dns_names[0]: not text",
                "entries[0].admin: not true or false",
                "entries[0].hint: not text",
                "entries[0].additional_attributes.jwt_svid_include_jti: not true or false",
            ],
        ),
        (
            r'{"entries": [{"hint": "a\ud800", "dns_names": ["\udfff"]}]}',
            ["entries[0].hint: not text", "entries[0].dns_names[0]: not text"],
        ),
        ('{"entries": [{"federates_with": ["A"]}]}', ["entries[0].federates_with[0]: upper case 'A'"]),
    ],
)
def test_a_file_that_is_none_is_refused_with_every_mistake(
    text: str, complaints: list[str], finial: Finial, tmp_path: Path
) -> None:
    path = tmp_path / "f.json"
    path.write_bytes(text.encode("latin-1"))
    found = finial("server", "entry", "create", "--data", path)
    assert found.code == 1
    for complaint in complaints:
        assert complaint in found.err
    assert all(line.startswith(f"finial: error: {path}: ") for line in found.err.splitlines())


def test_a_file_and_options_exclude_each_other(finial: Finial) -> None:
    found = finial("server", "entry", "create", "--data", "f", "--spiffe-id", "spiffe://a/b")
    assert found.code == 2
    assert "--data and --spiffe-id exclude each other" in found.err
