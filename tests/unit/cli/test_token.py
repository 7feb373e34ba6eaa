from __future__ import annotations

import pytest

from finial.wire.gen import spire_api_server_agent_v1 as pb
from finial.wire.gen import spire_api_types as types
from support.admin import FakeServer, Finial

NODE = types.SPIFFEID(trust_domain="example.org", path="/node1")


@pytest.mark.parametrize(
    ("ours", "spires", "wanted"),
    [
        ("", "", pb.CreateJoinTokenRequest(ttl=600)),
        ("--ttl 5m", "-ttl 300", pb.CreateJoinTokenRequest(ttl=300)),
        (
            "--spiffe-id spiffe://example.org/node1",
            "-spiffeID spiffe://example.org/node1",
            pb.CreateJoinTokenRequest(ttl=600, agent_id=NODE),
        ),
    ],
)
def test_each_option_has_its_effect_in_both_spellings(
    ours: str, spires: str, wanted: pb.CreateJoinTokenRequest, server: FakeServer, finial: Finial
) -> None:
    assert finial("server", "token", "generate", "--socket", server.socket, *ours.split()).code == 0
    assert finial("server", "token", "generate", "-socketPath", server.socket, *spires.split()).code == 0
    assert [request for _, request in server.asked] == [wanted, wanted]


def test_the_token_alone_goes_to_standard_output(server: FakeServer, finial: Finial) -> None:
    server.answers["CreateJoinToken"] = lambda _request: types.JoinToken(value="tok", expires_at=60)
    base = (
        "server",
        "token",
        "generate",
        "--socket",
        server.socket,
        "--spiffe-id",
        "spiffe://example.org/node1",
    )
    found = finial(*base)
    assert found.out == "tok\n"
    assert found.err == (
        "finial: one agent may join with it until 1970-01-01 00:01:00 UTC, "
        "and is then the parent spiffe://example.org/node1\n"
    )
    assert finial(*base, "--output", "json").out == '{"expires_at":"60","value":"tok"}\n'


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--ttl 0", "--ttl: a token that is never valid is of no use"),
        ("--ttl 500ms", "--ttl: '500ms' is not a whole number of seconds"),
        ("--ttl 100000000h", "--ttl: '100000000h' is longer than the 68 years"),
        ("--spiffe-id node1", "--spiffe-id: 'node1' does not begin with spiffe://"),
    ],
)
def test_bad_values_are_refused(words: str, complaint: str, finial: Finial) -> None:
    found = finial("server", "token", "generate", *words.split())
    assert found.code == 1
    assert complaint in found.err
