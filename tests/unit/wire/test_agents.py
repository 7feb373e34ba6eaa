"""Nodes as messages, and the filters of their lists."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finial.core.errors import SelectorError
from finial.core.ids import SpiffeID
from finial.core.selectors import Selector
from finial.wire import agents
from finial.wire.agents import AgentView
from finial.wire.gen import google_protobuf as pb
from finial.wire.gen import spire_api_server_agent_v1 as agent_pb
from finial.wire.gen import spire_api_types as types

_EXPIRES = int(datetime(2026, 8, 1, 8, tzinfo=UTC).timestamp())
_NODE = AgentView(
    id=SpiffeID("spiffe://example.org/spire/agent/join_token/t"),
    attestation_type="join_token",
    serial="12",
    expires_at=_EXPIRES,
    selectors=(Selector("a", "1"), Selector("a", "2")),
    can_reattest=True,
    version="1.2",
)
_BANNED = AgentView(id=_NODE.id, attestation_type="x509pop", serial="", expires_at=0)


def test_a_node_as_a_message() -> None:
    assert agents.to_message(_NODE) == types.Agent(
        id=types.SPIFFEID(trust_domain="example.org", path="/spire/agent/join_token/t"),
        attestation_type="join_token",
        x509svid_serial_number="12",
        x509svid_expires_at=_EXPIRES,
        selectors=[types.Selector(type="a", value="1"), types.Selector(type="a", value="2")],
        can_reattest=True,
        agent_version="1.2",
    )
    assert agents.to_message(_BANNED).banned
    masked = agents.to_message(_NODE, types.AgentMask(agent_version=True))
    assert masked == types.Agent(id=masked.id, agent_version="1.2")


_Filter = agent_pb.ListAgentsRequest.Filter


def _selectors(*values: str, match: str = "MATCH_EXACT") -> types.SelectorMatch:
    return types.SelectorMatch(
        selectors=[types.Selector(type="a", value=value) for value in values],
        match=types.SelectorMatch.MatchBehavior.Value(match),
    )


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (_Filter(), [_NODE, _BANNED]),
        (_Filter(by_attestation_type="join_token"), [_NODE]),
        (_Filter(by_attestation_type="join"), []),
        (_Filter(by_banned=pb.BoolValue(value=True)), [_BANNED]),
        (_Filter(by_banned=pb.BoolValue()), [_NODE]),
        (_Filter(by_can_reattest=pb.BoolValue(value=True)), [_NODE]),
        (_Filter(by_can_reattest=pb.BoolValue()), [_BANNED]),
        (_Filter(by_selector_match=_selectors("1", "2")), [_NODE]),
        (_Filter(by_selector_match=_selectors("1")), []),
        (_Filter(by_selector_match=_selectors("1", match="MATCH_SUPERSET")), [_NODE]),
        (_Filter(by_selector_match=_selectors("1", "9", match="MATCH_ANY")), [_NODE]),
        (_Filter(by_selector_match=_selectors("1", "2", "3", match="MATCH_SUBSET")), [_NODE]),
        (_Filter(by_expires_before="2026-08-01 10:00:00 +0200 +02"), [_BANNED]),
        (_Filter(by_expires_before="2026-08-01 10:00:01 +0200 +02"), [_NODE, _BANNED]),
        (_Filter(by_expires_before="tomorrow"), [_NODE, _BANNED]),
        (_Filter(by_attestation_type="x509pop", by_banned=pb.BoolValue()), []),
    ],
)
def test_every_part_of_a_filter_has_to_hold(asked: _Filter, found: list[AgentView]) -> None:
    wanted = agents.list_filter(agent_pb.ListAgentsRequest(filter=asked))
    assert list(filter(wanted, [_NODE, _BANNED])) == found
    counted = agent_pb.CountAgentsRequest.Filter.FromString(asked.SerializeToString())
    wanted = agents.count_filter(agent_pb.CountAgentsRequest(filter=counted))
    assert list(filter(wanted, [_NODE, _BANNED])) == found


def test_no_selectors_are_no_filter() -> None:
    request = agent_pb.ListAgentsRequest(filter=_Filter(by_selector_match=types.SelectorMatch()))
    with pytest.raises(SelectorError, match="empty selector set"):
        agents.list_filter(request)


def test_the_instant_of_a_filter() -> None:
    instant = agents.expires_before("2026-08-01 10:00:00 -0330 -03")
    assert instant == datetime(2026, 8, 1, 10, tzinfo=timezone(-timedelta(hours=3, minutes=30)))


@pytest.mark.parametrize(
    "text",
    ["", "2026-08-01", "2026-02-30 10:00:00 +0000 +00", "2026-08-01 10:00:00 +0200 +03",
     "2026-08-01 10:00:00 +0000 UTC", "2026-08-01 10:00:00 +9900 +99", "0000-01-01 00:00:00 +0000 +00"],
)  # fmt: skip
def test_a_malformed_instant_counts_as_none(text: str) -> None:
    assert agents.expires_before(text) is None


@given(st.text(max_size=40) | st.from_regex(r"[0-9]{4}(-[0-9]{2}){2} [0-9:]{8} [+-][0-9]{4} [+-][0-9]{2}"))
def test_reading_an_instant_is_total(text: str) -> None:
    wanted = agents.list_filter(agent_pb.ListAgentsRequest(filter=_Filter(by_expires_before=text)))
    assert wanted(_NODE) in {True, False}
