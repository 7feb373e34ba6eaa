"""How a foreign program is built from its folder, by each kind of toolchain."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

# The first build of SPIRE's server compiles 1,900 packages; a busy machine may take three times the usual.
_BUILD_SECONDS = 1800

# A jar may have a head that is no part of it: with this one, the program is one file like any other.
_RUN_JAR = b"""#!/bin/sh
exec java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto -jar "$0" "$@"
"""


class PeerMissingError(Exception):
    """A program could not be built; the message says why."""


class ToolMissingError(PeerMissingError):
    """It cannot be built here, since something is not installed."""


class Toolchain(Protocol):
    """Builds programs of one kind."""

    def check(self) -> None:
        """Return if all that is needed is installed.

        Raises:
            ToolMissingError: It is not.
        """

    def compile(self, folder: Path, program: Path) -> None:
        """Build the program of a folder, which stays as it is.

        Args:
            folder: With its sources.
            program: The file to make, in a folder that has nothing else in it.

        Raises:
            PeerMissingError: It could not be built.
        """


@dataclass(frozen=True)
class Go:
    """A Go module.

    Args:
        package: The program in it, or in a module that it requires.
        cgo: Whether it contains C.
    """

    package: str = "."
    cgo: bool = False

    def check(self) -> None:
        """See `Toolchain`."""
        self._go()
        if self.cgo:
            _tool(os.environ.get("CC", "gcc"))

    def compile(self, folder: Path, program: Path) -> None:
        """See `Toolchain`."""
        options = ["-trimpath", "-mod=readonly", "-buildvcs=false", "-ldflags=-s -w"]
        command = [self._go(), "build", *options, "-o", str(program), self.package]
        _run(command, folder, CGO_ENABLED="1" if self.cgo else "0")

    def _go(self) -> str:
        return shutil.which("go") or shutil.which("go", path="/usr/local/go/bin") or _tool("go")


@dataclass(frozen=True)
class Cargo:
    """A Rust package, which names the versions that it wants; its program is called as its folder."""

    def check(self) -> None:
        """See `Toolchain`."""
        self._cargo()

    def compile(self, folder: Path, program: Path) -> None:
        """See `Toolchain`."""
        place = shutil.copytree(folder, program.parent / "project")  # what it writes down stays there
        _run([self._cargo(), "build", "--release", "--quiet"], place)
        (place / "target" / "release" / folder.name).rename(program)

    def _cargo(self) -> str:
        own = Path.home() / ".cargo" / "bin"
        return shutil.which("cargo") or shutil.which("cargo", path=own) or _tool("cargo")


@dataclass(frozen=True)
class Maven:
    """A Java project; its program is the one jar that it makes, called as its folder."""

    def check(self) -> None:
        """See `Toolchain`."""
        for tool in ("java", "javac", "mvn"):
            _tool(tool)

    def compile(self, folder: Path, program: Path) -> None:
        """See `Toolchain`."""
        place = shutil.copytree(folder, program.parent / "project")  # it is built in its own folder
        _run([_tool("mvn"), "--batch-mode", "--quiet", "package"], place)
        program.write_bytes(_RUN_JAR + (place / "target" / f"{folder.name}.jar").read_bytes())
        program.chmod(0o755)


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise ToolMissingError(f"{name} is not installed")
    return found


def _run(command: Sequence[str], folder: Path, **env: str) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_BUILD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise PeerMissingError(f"building {folder.name} took over {_BUILD_SECONDS} s") from error
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise PeerMissingError(f"building {folder.name} failed: {said}")
