"""Builds the foreign programs that the tests run against, once for each machine and their sources."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from interop.toolchains import Cargo, Go, Maven, PeerMissingError, Toolchain, ToolMissingError

__all__ = ["PEERS", "PeerMissingError", "build", "is_built", "require"]

_SOURCES = Path(__file__).parent / "peers"


@dataclass(frozen=True)
class _Peer:
    """What to build.

    Args:
        folder: Under `peers`.
        toolchain: By what.
    """

    folder: str
    toolchain: Toolchain


PEERS = {
    "grpcpeer": _Peer("grpcpeer", Go()),
    "wirepeer": _Peer("wirepeer", Go()),
    "spiffepeer": _Peer("spiffepeer", Go()),
    "javapeer": _Peer("javapeer", Maven()),
    "rustpeer": _Peer("rustpeer", Cargo()),
    "spire_agent": _Peer("spire", Go("github.com/spiffe/spire/cmd/spire-agent")),
    "spire_server": _Peer("spire", Go("github.com/spiffe/spire/cmd/spire-server", cgo=True)),
}
"""By name, which is also that of the fixture."""

_failures: dict[str, PeerMissingError] = {}


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "finial" / "peers"


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(each for each in folder.rglob("*") if each.is_file()):
        name = str(file.relative_to(folder))
        digest.update(name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


@contextmanager
def _only_builder(program: Path) -> Iterator[None]:
    """Let a second test run wait for the first one's build instead of doing it again."""
    with program.with_name(f"{program.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _compile(peer: _Peer, program: Path) -> None:
    # Built beside its place and moved there, so that a run that is killed leaves no half program.
    with tempfile.TemporaryDirectory(dir=program.parent) as place:
        fresh = Path(place) / program.name
        peer.toolchain.compile(_SOURCES / peer.folder, fresh)
        fresh.rename(program)


def _path(name: str) -> Path:
    return _cache() / f"{name}-{_digest(_SOURCES / PEERS[name].folder)}"


def is_built(name: str) -> bool:
    """Whether there is nothing left to build of this peer."""
    return _path(name).exists()


def build(name: str) -> Path:
    """The program of this name, built unless it has been before.

    Raises:
        PeerMissingError: It could not be built; ToolMissingError for want of what builds it.
    """
    if name in _failures:
        raise _failures[name]
    peer, program = PEERS[name], _path(name)
    if program.exists():
        return program
    try:
        peer.toolchain.check()
        program.parent.mkdir(parents=True, exist_ok=True)
        with _only_builder(program):
            if not program.exists():
                _compile(peer, program)
    except PeerMissingError as error:
        _failures[name] = error  # not tried again for each test
        raise
    return program


def require(name: str) -> Path:
    """As `build`, but skips the test without the toolchain, or without the program.

    Where FINIAL_REQUIRE_PEERS=1 demands peers, only a toolchain that is not installed is a reason to skip.
    """
    try:
        return build(name)
    except ToolMissingError as error:
        pytest.skip(f"{name}: {error}")
    except PeerMissingError as error:
        if os.environ.get("FINIAL_REQUIRE_PEERS") == "1":
            pytest.fail(str(error))
        pytest.skip(str(error))
