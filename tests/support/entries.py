"""An entry, as tests of commands describe it, and what a server answers when it is given one."""

from __future__ import annotations

from typing import Any

from finial.wire.gen import spire_api_server_entry_v1 as pb
from finial.wire.gen import spire_api_types as types
from finial.wire.statuses import ok

WEB = types.SPIFFEID(trust_domain="example.org", path="/web")
NODE = types.SPIFFEID(trust_domain="example.org", path="/node1")
ROOT = types.Selector(type="unix", value="uid:0")
NEEDED = (
    "--parent-id",
    "spiffe://example.org/node1",
    "--spiffe-id",
    "spiffe://example.org/web",
    "--selector",
    "unix:uid:0",
)


def entry(**fields: Any) -> types.Entry:
    return types.Entry(**{"spiffe_id": WEB, "parent_id": NODE, "selectors": [ROOT], **fields})


def created(request: pb.BatchCreateEntryRequest) -> pb.BatchCreateEntryResponse:
    results = [
        pb.BatchCreateEntryResponse.Result(status=ok(), entry=_with_id(each, at))
        for at, each in enumerate(request.entries)
    ]
    return pb.BatchCreateEntryResponse(results=results)


def updated(request: pb.BatchUpdateEntryRequest) -> pb.BatchUpdateEntryResponse:
    results = [pb.BatchUpdateEntryResponse.Result(status=ok(), entry=each) for each in request.entries]
    return pb.BatchUpdateEntryResponse(results=results)


def _with_id(given: types.Entry, at: int) -> types.Entry:
    copy = types.Entry()
    copy.CopyFrom(given)
    copy.id = copy.id or f"new{at}"
    return copy
