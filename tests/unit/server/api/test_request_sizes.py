"""What requests may have of size: as much as the tools of SPIRE send, and little more where anybody asks."""

from __future__ import annotations

from typing import Any

import pytest

from finial.server.api import chain, entrysync, svid
from finial.wire.gen import spire_api_server_entry_v1 as entry_pb
from finial.wire.gen import spire_api_server_svid_v1 as svid_pb

_LONGEST_ID = "i" * 255
_LARGEST_CSR = bytes(1_600 + 2_048)
"""More than one for a key of 4,096 bits has with the longest SPIFFE ID: key and signature take 1,024."""
_MOST_CSRS = 500


async def _unused(*_: Any) -> Any:
    raise AssertionError


@pytest.mark.parametrize("most", [None, chain.LARGE])
def test_methods_take_small_requests_unless_they_say_otherwise(most: int | None) -> None:
    given = {} if most is None else {"most": most}
    endpoints = [
        chain.unary(entry_pb.Entry.GetEntry, _unused, **given),
        chain.bidi(entry_pb.Entry.SyncAuthorizedEntries, _unused, **given),
    ]
    for route in chain.routes(endpoints, None):  # type: ignore[arg-type]  # nobody calls
        assert route.most == (most or chain.SMALL)


def test_as_many_signatures_as_agents_ask_for_fit() -> None:
    params = [svid_pb.NewX509SVIDParams(entry_id=_LONGEST_ID, csr=_LARGEST_CSR)] * _MOST_CSRS
    assert len(svid_pb.BatchNewX509SVIDRequest(params=params).SerializeToString()) < svid.MOST_BYTES


@pytest.mark.parametrize(
    ("entry_id", "count"), [(_LONGEST_ID, entrysync.PAGE), ("u" * 36, entrysync.MOST_ASKED)]
)
def test_a_page_of_ids_fits(entry_id: str, count: int) -> None:
    request = entry_pb.SyncAuthorizedEntriesRequest(ids=[entry_id] * count)
    assert len(request.SerializeToString()) < entrysync.MOST_BYTES
