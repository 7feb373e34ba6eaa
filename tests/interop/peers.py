"""Builds the foreign programs that the tests run against, once for each machine and their sources."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_SOURCES = Path(__file__).parent / "peers"
# The first build of SPIRE's server compiles 1,900 packages; a busy machine may take three times the usual.
_BUILD_SECONDS = 1800


class PeerMissingError(Exception):
    """A peer cannot be built here; the message says what is missing."""


@dataclass(frozen=True)
class _Peer:
    """What to build.

    Args:
        folder: The Go module, under `peers`.
        package: The program in it, or in a module that it requires.
        cgo: Whether it contains C.
    """

    folder: str
    package: str = "."
    cgo: bool = False


PEERS = {
    "grpcpeer": _Peer("grpcpeer"),
    "wirepeer": _Peer("wirepeer"),
    "spiffepeer": _Peer("spiffepeer"),
    "spire_agent": _Peer("spire", "github.com/spiffe/spire/cmd/spire-agent"),
    "spire_server": _Peer("spire", "github.com/spiffe/spire/cmd/spire-server", cgo=True),
}
"""By name, which is also that of the fixture."""

_failures: dict[str, PeerMissingError] = {}


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "finial" / "peers"


def _go() -> str:
    found = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if found is None:
        raise PeerMissingError("the go tool is not installed")
    return found


def _check_tools(peer: _Peer) -> None:
    _go()
    if peer.cgo and shutil.which(os.environ.get("CC", "gcc")) is None:
        raise PeerMissingError(f"a C compiler is not installed, and {peer.package} contains C")


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
        options = ["-trimpath", "-mod=readonly", "-buildvcs=false", "-ldflags=-s -w"]
        try:
            done = subprocess.run(
                [_go(), "build", *options, "-o", str(fresh), peer.package],
                cwd=_SOURCES / peer.folder,
                env={**os.environ, "CGO_ENABLED": "1" if peer.cgo else "0"},
                capture_output=True,
                text=True,
                timeout=_BUILD_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise PeerMissingError(f"go build of {program.name} took over {_BUILD_SECONDS} s") from error
        if done.returncode != 0:
            raise PeerMissingError(f"go build of {program.name} failed: {done.stderr.strip()[-2000:]}")
        fresh.rename(program)


def _path(name: str) -> Path:
    return _cache() / f"{name}-{_digest(_SOURCES / PEERS[name].folder)}"


def is_built(name: str) -> bool:
    """Whether there is nothing left to build of this peer."""
    return _path(name).exists()


def build(name: str) -> Path:
    """The program of this name, built unless it has been before.

    Raises:
        PeerMissingError: There is no Go here, or the build failed.
    """
    if name in _failures:
        raise _failures[name]
    peer, program = PEERS[name], _path(name)
    if program.exists():
        return program
    try:
        _check_tools(peer)
        program.parent.mkdir(parents=True, exist_ok=True)
        with _only_builder(program):
            if not program.exists():
                _compile(peer, program)
    except PeerMissingError as error:
        _failures[name] = error  # not tried again for each test
        raise
    return program


def require(name: str) -> Path:
    """As `build`, but skips the test without Go, or fails it where FINIAL_REQUIRE_PEERS=1 demands peers."""
    try:
        return build(name)
    except PeerMissingError as error:
        if os.environ.get("FINIAL_REQUIRE_PEERS") == "1":
            pytest.fail(str(error))
        pytest.skip(str(error))
