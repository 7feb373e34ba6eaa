from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from finial.core import jwk
from finial.core.witsvid import WITSVID
from support import forge, tokens
from support.admin import Finial, served
from support.fake_workload import FakeWorkloadAPI, Feed, key_set, one_wit, wit_keys, wits

OTHER = "spiffe://a.test/other"
W1 = tokens.authority("w1")[0]


class Agent:
    """An agent with the profile, unless a test takes it out."""

    def __init__(self) -> None:
        self.api = FakeWorkloadAPI(
            wits=Feed([wits(one_wit(uri=OTHER))]), wit_bundles=Feed([wit_keys(a=key_set(W1))])
        )
        self.socket = Path()


@pytest.fixture
def agent() -> Iterator[Agent]:
    fake = Agent()
    with ExitStack() as stack:
        fake.socket = stack.enter_context(served(list(fake.api.routes())))
        yield fake


def test_tokens_and_keys_are_shown_and_no_private_key(agent: Agent, finial: Finial) -> None:
    found = finial("agent", "api", "fetch", "wit", "--socket", agent.socket, "--spiffe-id", OTHER)
    assert (found.code, found.err) == (0, "")
    lines = found.out.splitlines()
    assert lines[0::2] == [f"token({OTHER}):", "bundle(spiffe://a.test):"]
    assert WITSVID.parse(lines[1].strip()).id.text == OTHER
    assert json.loads(lines[3])["keys"][0]["kid"] == "w1"
    assert '"d"' not in found.out


def test_json_is_one_line_with_both_answers_and_private_keys(agent: Agent, finial: Finial) -> None:
    found = finial("agent", "api", "fetch", "wit", "--socket", agent.socket, "--output", "json")
    assert found.out.count("\n") == 1
    svids, bundles = json.loads(found.out)
    key = jwk.read_private(json.loads(svids["svids"][0]["wit_svid_key"]))
    assert key.public_key() == tokens.holder().public_key()
    assert json.loads(bundles["bundles"]["spiffe://a.test"])["keys"][0]["kid"] == "w1"


def test_another_identity_than_the_wanted_one_is_refused(agent: Agent, finial: Finial) -> None:
    found = finial("agent", "api", "fetch", "wit", "--socket", agent.socket, "--spiffe-id", forge.WEB)
    assert found.code == 1
    assert f"the SVID is of {OTHER}, and {forge.WEB} was asked for" in found.err


def test_an_agent_without_the_profile(finial: Finial) -> None:
    with served(list(FakeWorkloadAPI().routes())) as socket:
        found = finial("agent", "api", "fetch", "wit", "--socket", socket)
    assert (found.code, found.out, found.err.count("\n")) == (1, "", 1)
    assert "does not serve what was asked for" in found.err


def test_the_help_says_that_it_is_incubating(finial: Finial) -> None:
    told = " ".join(finial("agent", "api", "fetch", "wit", "--help").out.split())
    assert "an incubating standard, here by its text of 2026-07-01" in told
