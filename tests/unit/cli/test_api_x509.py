from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from finial.cli.agent import endpoint
from finial.core import pem
from finial.core.x509svid import X509SVID
from finial.rpc import RpcError, ServerCall, StatusCode, server_stream
from finial.wire.gen import workload as pb
from support.admin import Finial, served
from support.certs import Authority

CA = Authority("example.org")
OTHER = Authority("other.example")
PAIR = CA.leaf("/web")
SVID = X509SVID.from_pem(PAIR.chain_pem, PAIR.key_pem)
ANSWER = pb.X509SVIDResponse(
    svids=[
        pb.X509SVID(
            spiffe_id="spiffe://example.org/web",
            x509_svid=b"".join(SVID.chain_der()),
            x509_svid_key=SVID.key_der(),
            bundle=CA.der,
            hint="main",
        )
    ],
    federated_bundles={"spiffe://other.example": OTHER.der},
)
Call = ServerCall[pb.X509SVIDRequest, pb.X509SVIDResponse]


class FakeAgent:
    def __init__(self) -> None:
        self.answer: pb.X509SVIDResponse | RpcError = ANSWER
        self.socket = Path()

    async def fetch(self, _request: pb.X509SVIDRequest, call: Call) -> None:
        assert ("workload.spiffe.io", "true") in list(call.metadata)
        if isinstance(self.answer, RpcError):
            raise self.answer
        await call.send(self.answer)


@pytest.fixture
def agent() -> Iterator[FakeAgent]:
    fake = FakeAgent()
    with ExitStack() as stack:
        routes = [server_stream(pb.SpiffeWorkloadAPI.FetchX509SVID, fake.fetch)]
        fake.socket = stack.enter_context(served(routes))
        yield fake


def test_the_svids_of_this_process_are_shown(agent: FakeAgent, finial: Finial) -> None:
    found = finial("agent", "api", "fetch", "x509", "--socket", agent.socket)
    assert found.code == 0
    lines = found.out.splitlines()
    assert lines[:4] == [
        "Received 1 SVID",
        "",
        "SPIFFE ID      : spiffe://example.org/web",
        "Hint           : main",
    ]
    assert [line.split(" : ")[0].strip() for line in lines[4:]] == [
        "Valid from",
        "Valid until",
        "Authority 1",
        "Federated with",
    ]
    assert "PRIVATE KEY" not in found.out


def test_they_are_written_to_files(agent: FakeAgent, finial: Finial, tmp_path: Path) -> None:
    folder = tmp_path / "svids"
    found = finial("agent", "api", "fetch", "x509", "-socketPath", agent.socket, "-write", folder, "-silent")
    assert (found.code, found.out, found.err) == (0, "", "")
    written = X509SVID.from_pem((folder / "svid.0.pem").read_bytes(), (folder / "svid.0.key").read_bytes())
    assert written == SVID
    assert pem.read_certificates((folder / "bundle.0.pem").read_bytes()) == (CA.der,)
    assert pem.read_certificates((folder / "federated_bundle.0.0.pem").read_bytes()) == (OTHER.der,)
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    spoken = finial("agent", "api", "fetch", "x509", "--socket", agent.socket, "--write", folder)
    assert "wrote svid.0.key, svid.0.pem, bundle.0.pem, federated_bundle.0.0.pem into" in spoken.err


def test_files_of_what_is_no_longer_there_are_deleted(
    agent: FakeAgent, finial: Finial, tmp_path: Path
) -> None:
    words = ("agent", "api", "fetch", "x509", "--socket", agent.socket, "--write", tmp_path)
    kept = ["notes.pem", "svid.pem", "svid.0.pem.bak", "bundle.x.pem"]
    gone = ["svid.1.pem", "svid.1.key", "bundle.12.pem", "federated_bundle.0.1.pem"]
    for name in kept + gone:
        (tmp_path / name).touch()
    assert finial(*words).code == 0
    there = ["svid.0.key", "svid.0.pem", "bundle.0.pem"]
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted(
        [*kept, *there, "federated_bundle.0.0.pem"]
    )
    agent.answer = pb.X509SVIDResponse(svids=ANSWER.svids)  # the federation has ended
    assert finial(*words).code == 0
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted([*kept, *there])


def test_json_is_what_the_agent_sent(agent: FakeAgent, finial: Finial) -> None:
    found = finial("agent", "api", "fetch", "x509", "--socket", agent.socket, "-output", "json")
    assert found.out.count("\n") == 1
    document = json.loads(found.out)
    assert document["svids"][0]["spiffe_id"] == "spiffe://example.org/web"
    assert list(document["federated_bundles"]) == ["spiffe://other.example"]


def test_the_socket_comes_from_the_environment(
    agent: FakeAgent, finial: Finial, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SPIFFE_ENDPOINT_SOCKET", f"unix://{agent.socket}")
    assert finial("agent", "api", "fetch", "x509").code == 0
    assert finial("agent", "api", "fetch", "x509", "--socket", tmp_path / "absent").code == 1
    monkeypatch.setenv("SPIFFE_ENDPOINT_SOCKET", "http://x")
    found = finial("agent", "api", "fetch", "x509")
    assert (found.code, found.err.count("\n")) == (1, 1)
    for form in ("unix://", "unix:"):
        assert finial("agent", "api", "fetch", "x509", "--socket", f"{form}{agent.socket}").code == 0


def test_the_default_is_the_agents_own(
    monkeypatch: pytest.MonkeyPatch, finial: Finial, tmp_path: Path
) -> None:
    monkeypatch.delenv("SPIFFE_ENDPOINT_SOCKET", raising=False)
    monkeypatch.setattr(endpoint, "default_socket", lambda process: tmp_path / f"{process}.sock")
    found = finial("agent", "api", "fetch", "x509")
    assert str(tmp_path / "agent.sock") in found.err


def test_no_identity_is_told(agent: FakeAgent, finial: Finial, tmp_path: Path) -> None:
    agent.answer = RpcError(StatusCode.PERMISSION_DENIED, "no identity issued")
    found = finial("agent", "api", "fetch", "x509", "--socket", agent.socket, "--write", tmp_path / "f")
    assert found.code == 1
    assert "no identity issued" in found.err
    assert found.err.count("\n") == 1
    assert not (tmp_path / "f").exists()


def test_the_timeout_is_read(agent: FakeAgent, finial: Finial) -> None:
    base = ("agent", "api", "fetch", "x509", "--socket", agent.socket)
    assert finial(*base, "-timeout", "20s").code == 0
    assert "--timeout: 'x' is not a duration" in finial(*base, "--timeout", "x").err
