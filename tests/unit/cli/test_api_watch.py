from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from finial.core import jwk
from finial.core.witsvid import WITSVID
from finial.rpc import RpcError, StatusCode
from finial.sdk.calls import Revoked, Updated
from finial.sdk.tokenbundles import JWTBundles
from support import forge, tokens
from support.admin import Finial, served
from support.fake_workload import FakeWorkloadAPI, Feed, jwt_keys, key_set, one_svid, one_wit, svids, wits
from support.watching import LEAF

K1 = tokens.authority("k1")[0]
# Nothing helps against this one, so it ends the watching.
OVER = RpcError(StatusCode.UNIMPLEMENTED, "switched off")


class Agent:
    """An agent that says everything once."""

    def __init__(self) -> None:
        self.api = FakeWorkloadAPI(
            [svids(one_svid(LEAF)), OVER],
            jwt_bundles=Feed([jwt_keys(a=key_set(K1)), jwt_keys(a=key_set(K1), b=key_set()), OVER]),
            wits=Feed([wits(one_wit(hint="x")), OVER]),
        )
        self.socket = Path()


@pytest.fixture
def agent() -> Iterator[Agent]:
    fake = Agent()
    with ExitStack() as stack:
        fake.socket = stack.enter_context(served(list(fake.api.routes())))
        yield fake


def test_svids_are_shown_at_each_change(agent: Agent, finial: Finial) -> None:
    found = finial("agent", "api", "watch", "--socket", agent.socket)
    assert found.code == 1
    assert found.out.startswith(f"Received 1 SVID\n\nSPIFFE ID   : {forge.WEB}\n")
    assert found.out.endswith("\n\n")
    assert "switched off" in found.err
    as_json = finial("agent", "api", "watch", "x509", "-socketPath", agent.socket, "-output", "json")
    assert json.loads(as_json.out)["svids"][0]["spiffe_id"] == forge.WEB


def test_the_keys_for_tokens_are_shown_at_each_change(agent: Agent, finial: Finial) -> None:
    found = finial("agent", "api", "watch", "jwt-bundles", "--socket", agent.socket)
    first, second, rest = found.out.split("\n\n")
    assert rest == ""
    assert first.startswith('bundle(spiffe://a.test):\n\t{"keys":[{')
    assert second.endswith('bundle(spiffe://b.test):\n\t{"keys":[]}')
    as_json = finial("agent", "api", "watch", "jwt-bundles", "--socket", agent.socket, "--output", "json")
    sizes = [len(json.loads(line)["bundles"]) for line in as_json.out.splitlines()]
    assert sizes == [1, 2]


def test_tokens_with_keys_are_shown_at_each_change(agent: Agent, finial: Finial) -> None:
    found = finial("agent", "api", "watch", "wit", "--socket", agent.socket)
    name, token, hint, value, *rest = found.out.split("\n")
    assert (name, hint, value) == (f"token({forge.WEB}):", f"hint({forge.WEB}):", "\tx")
    assert WITSVID.parse(token.strip()).key == tokens.holder().public_key()
    assert rest == ["", ""]
    as_json = finial("agent", "api", "watch", "wit", "--socket", agent.socket, "--output", "json")
    key = json.loads(json.loads(as_json.out)["svids"][0]["wit_svid_key"])
    assert jwk.read_private(key).public_key() == tokens.holder().public_key()


def test_a_denial_is_told_and_the_watching_goes_on(
    agent: Agent, finial: Finial, monkeypatch: pytest.MonkeyPatch
) -> None:
    denied: Any = "the Workload API at unix:/s has no identity for this process"

    async def events(_client: object) -> AsyncIterator[Updated[JWTBundles] | Revoked]:
        yield Revoked(denied)
        yield Updated(JWTBundles())
        raise KeyboardInterrupt

    monkeypatch.setattr("finial.sdk.workload.WorkloadClient.watch_jwt_bundles", events)
    found = finial("agent", "api", "watch", "jwt-bundles", "--socket", agent.socket, "--output", "json")
    assert (found.code, found.out) == (130, '{"bundles":{}}\n')
    assert found.err.splitlines()[0] == f"finial: no identity: {denied}"


def test_there_is_nothing_else_to_watch(finial: Finial) -> None:
    found = finial("agent", "api", "watch", "everything")
    assert found.code == 2
    assert "'x509', 'jwt-bundles', 'wit'" in found.err
