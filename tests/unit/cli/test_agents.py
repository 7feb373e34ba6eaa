from __future__ import annotations

import json
from typing import Any

import pytest

from finial.wire.gen import google_protobuf as well_known
from finial.wire.gen import spire_api_server_agent_v1 as pb
from finial.wire.gen import spire_api_types as types
from support.admin import FakeServer, Finial

ID = "spiffe://example.org/spire/agent/join_token/t"
MESSAGE = types.SPIFFEID(trust_domain="example.org", path="/spire/agent/join_token/t")
AGENT = types.Agent(
    id=MESSAGE,
    attestation_type="join_token",
    x509svid_serial_number="12",
    x509svid_expires_at=60,
    selectors=[types.Selector(type="a", value="b")],
    agent_version="1.0",
)
BANNED = types.Agent(id=MESSAGE, attestation_type="x509pop", banned=True)
TIME = "2027-01-31 12:00:00 +0000 +00"

FILTERS: list[tuple[list[str], list[str], dict[str, Any]]] = [
    ([], [], {}),
    (["--attestation-type", "tpm"], ["-attestationType", "tpm"], {"by_attestation_type": "tpm"}),
    (["--banned"], ["-banned=true"], {"by_banned": well_known.BoolValue(value=True)}),
    (["--no-banned"], ["-banned=false"], {"by_banned": well_known.BoolValue(value=False)}),
    (["--can-reattest"], ["-canReattest"], {"by_can_reattest": well_known.BoolValue(value=True)}),
    (["--no-can-reattest"], ["-canReattest=false"], {"by_can_reattest": well_known.BoolValue()}),
    (["--expires-before", TIME], ["-expiresBefore", TIME], {"by_expires_before": TIME}),
    (
        ["--selector", "a:b", "--match-selectors-on", "subset"],
        ["-selector", "a:b", "-matchSelectorsOn", "subset"],
        {
            "by_selector_match": types.SelectorMatch(
                selectors=[types.Selector(type="a", value="b")], match=types.SelectorMatch.MATCH_SUBSET
            )
        },
    ),
]


@pytest.mark.parametrize(("ours", "spires", "fields"), FILTERS)
def test_each_filter_has_its_effect_in_both_spellings(
    ours: list[str], spires: list[str], fields: dict[str, Any], server: FakeServer, finial: Finial
) -> None:
    for command in ("list", "count"):
        server.asked.clear()
        assert finial("server", "agent", command, "--socket", server.socket, *ours).code == 0
        assert finial("server", "agent", command, "-socketPath", server.socket, *spires).code == 0
        (_, first), (_, second) = server.asked
        assert first.filter == second.filter == type(first.filter)(**fields)


def test_filters_that_no_server_understands_are_refused(finial: Finial) -> None:
    found = finial("server", "agent", "list", "--expires-before", "tomorrow", "--selector", "a")
    assert found.code == 1
    assert "--expires-before: 'tomorrow' is not a time like '2027-01-31 12:00:00 +0000 +00'" in found.err
    assert "--selector: selector 'a' has no colon" in found.err


def test_agents_are_listed_page_by_page(server: FakeServer, finial: Finial) -> None:
    pages = {"": ([AGENT], "1"), "1": ([BANNED], "2"), "2": ([], "")}

    def page(request: pb.ListAgentsRequest) -> pb.ListAgentsResponse:
        agents, token = pages[request.page_token]
        return pb.ListAgentsResponse(agents=agents, next_page_token=token)

    server.answers["ListAgents"] = page
    found = finial("server", "agent", "list", "--socket", server.socket)
    assert found.out.splitlines() == [
        f"{'SPIFFE ID'.ljust(len(ID))}  ATTESTED BY  SVID ENDS                STATE   VERSION",
        f"{ID}  join_token   1970-01-01 00:01:00 UTC  joined  1.0",
        f"{ID}  x509pop      never                    banned  -",
    ]
    as_json = finial("server", "agent", "list", "--socket", server.socket, "--output", "json")
    assert [each["banned"] for each in json.loads(as_json.out)["agents"]] == [False, True]
    assert [request.page_size for _, request in server.asked] == [500] * 6


def test_no_agents_is_said(server: FakeServer, finial: Finial) -> None:
    assert finial("server", "agent", "list", "--socket", server.socket).out == "No agents\n"


def test_an_agent_is_shown(server: FakeServer, finial: Finial) -> None:
    server.answers["GetAgent"] = lambda _request: AGENT
    found = finial("server", "agent", "show", "--socket", server.socket, "--spiffe-id", ID)
    assert server.one("GetAgent") == pb.GetAgentRequest(id=MESSAGE)
    assert found.out.splitlines() == [
        f"SPIFFE ID     : {ID}",
        "Attested by   : join_token",
        "SVID ends     : 1970-01-01 00:01:00 UTC",
        "Serial number : 12",
        "Banned        : no",
        "Can re-attest : no",
        "Version       : 1.0",
        "Selector      : a:b",
    ]
    as_json = finial(
        "server", "agent", "show", "-socketPath", server.socket, "-spiffeID", ID, "-output", "json"
    )
    assert json.loads(as_json.out)["x509svid_expires_at"] == "60"


def test_agents_are_counted(server: FakeServer, finial: Finial) -> None:
    server.answers["CountAgents"] = lambda _request: pb.CountAgentsResponse(count=1)
    assert finial("server", "agent", "count", "--socket", server.socket).out == "1 agent\n"
    found = finial("server", "agent", "count", "--socket", server.socket, "--output", "json")
    assert found.out == '{"count":1}\n'


@pytest.mark.parametrize(
    ("command", "method", "request_", "said"),
    [
        ("ban", "BanAgent", pb.BanAgentRequest(id=MESSAGE), f"Banned agent {ID}\n"),
        ("evict", "DeleteAgent", pb.DeleteAgentRequest(id=MESSAGE), f"Evicted agent {ID}\n"),
    ],
)
def test_an_agent_is_sent_away(
    command: str, method: str, request_: Any, said: str, server: FakeServer, finial: Finial
) -> None:
    assert finial("server", "agent", command, "--socket", server.socket, "--spiffe-id", ID).out == said
    assert server.one(method) == request_
    found = finial(
        "server", "agent", command, "-socketPath", server.socket, "-spiffeID", ID, "-output", "json"
    )
    assert found.out == "{}\n"
    assert server.asked[0] == server.asked[1]
    assert "does not begin with spiffe://" in finial("server", "agent", command, "--spiffe-id", "x").err
