"""Builds the foreign programs that the tests run against, once for each machine and their sources."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

_SOURCES = Path(__file__).parent / "peers"
_BUILD_SECONDS = 600  # the first build compiles all of grpc-go


class PeerMissingError(Exception):
    """A peer cannot be built here; the message says what is missing."""


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "finial" / "peers"


def _go() -> str:
    found = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if found is None:
        raise PeerMissingError("the go tool is not installed")
    return found


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        digest.update(file.name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


def build(name: str) -> Path:
    """The program of this name, built unless it has been before.

    Raises:
        PeerMissingError: There is no Go here, or the build failed.
    """
    folder = _SOURCES / name
    program = _cache() / f"{name}-{_digest(folder)}"
    if program.exists():
        return program
    program.parent.mkdir(parents=True, exist_ok=True)
    # Built beside its place and moved there, so that two test runs at once do not see half a program.
    with tempfile.TemporaryDirectory(dir=program.parent) as place:
        fresh = Path(place) / name
        done = subprocess.run(
            [_go(), "build", "-trimpath", "-mod=readonly", "-buildvcs=false", "-o", str(fresh), "."],
            cwd=folder,
            env={**os.environ, "CGO_ENABLED": "0"},
            capture_output=True,
            text=True,
            timeout=_BUILD_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise PeerMissingError(f"go build of {name} failed: {done.stderr.strip()[-2000:]}")
        fresh.rename(program)
    return program


def require(name: str) -> Path:
    """As `build`, but skips the test without Go, or fails it where FINIAL_REQUIRE_PEERS=1 demands peers."""
    try:
        return build(name)
    except PeerMissingError as error:
        if os.environ.get("FINIAL_REQUIRE_PEERS") == "1":
            pytest.fail(str(error))
        pytest.skip(str(error))
