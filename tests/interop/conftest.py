"""Fixtures of the interoperability tests; each test that takes `world` runs on every engine and transport."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from interop.peers import PEERS, build, is_built, require
from interop.toolchains import PeerMissingError
from support.interop_certs import PKI
from support.interop_world import World
from support.judge import LIBRARIES, Judge, Judging, Library

_JUDGING_SECONDS = 60.0


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build what the chosen tests need before the time of the first of them runs."""
    if session.config.option.collectonly:
        return
    wanted = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    calls = [item.callspec for item in session.items if hasattr(item, "callspec")]
    wanted |= {each.params["library"].peer for each in calls if "library" in each.params}
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
def javapeer() -> Path:
    """The java-spiffe workload."""
    return require("javapeer")


@pytest.fixture(scope="session")
def rustpeer() -> Path:
    """The workload on the Rust crate."""
    return require("rustpeer")


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


@pytest.fixture(params=LIBRARIES, ids=lambda each: each.name)
def library(request: pytest.FixtureRequest) -> Library:
    """A SPIFFE library of another language."""
    chosen = request.param
    assert isinstance(chosen, Library)
    return chosen


@pytest.fixture
def judging(library: Library) -> Judging:
    """Runs a test with the library as its judge."""
    program = require(library.peer) if library.peer else None

    def run(test: Callable[[Judge], Awaitable[None]]) -> None:
        async def main() -> None:
            async with asyncio.timeout(_JUDGING_SECONDS), Judge(library, program) as judge:
                await test(judge)

        asyncio.run(main())

    return run


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
