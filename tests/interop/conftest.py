"""Fixtures of the interoperability tests; each test that takes `world` runs on every engine and transport."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from interop.peers import PEERS, PeerMissingError, build, is_built, require
from support.interop_certs import PKI
from support.interop_world import World


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build what the chosen tests need before the time of the first of them runs."""
    if session.config.option.collectonly:
        return
    wanted = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    said = session.config.get_terminal_writer()
    for name in PEERS:
        if name in wanted and not is_built(name):
            said.line(f"building {name}; SPIRE's take some minutes, once for each machine")
            with suppress(PeerMissingError):  # the fixture tells
                build(name)


@pytest.fixture(scope="session")
def grpcpeer() -> Path:
    """The grpc-go peer."""
    return require("grpcpeer")


@pytest.fixture(scope="session")
def wirepeer() -> Path:
    """The peer for health and reflection."""
    return require("wirepeer")


@pytest.fixture(scope="session")
def spiffepeer() -> Path:
    """The go-spiffe workload."""
    return require("spiffepeer")


@pytest.fixture(scope="session")
def spire_agent() -> Path:
    """SPIRE's agent."""
    return require("spire_agent")


@pytest.fixture(scope="session")
def spire_server() -> Path:
    """SPIRE's server."""
    return require("spire_server")


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> PKI:
    """Certificates for the whole run."""
    return PKI.make(tmp_path_factory.mktemp("pki"))


@pytest.fixture(params=["ngh2", "h2"])
def engine(request: pytest.FixtureRequest) -> str:
    """Our HTTP/2 engine."""
    if request.param == "ngh2":
        pytest.importorskip("ngh2")
    return str(request.param)


@pytest.fixture(params=["unix", "mtls"])
def transport(request: pytest.FixtureRequest) -> str:
    """What the connection runs on."""
    return str(request.param)


@pytest.fixture
def world(engine: str, transport: str, sockets: Path, grpcpeer: Path, pki: PKI) -> World:
    """Where a test's peers live."""
    return World(engine, transport, sockets, grpcpeer, pki)
