"""Disks that fail: `fsync` that ends with an error, and a folder without room."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

_PATIENCE = 20.0  # seconds for strace to begin and to end; reached only by a bug
_FILLING = 1 << 16


def require_strace() -> None:
    """Skip the test where calls of the system cannot be made to fail; with FINIAL_REQUIRE_STRACE it fails."""
    if shutil.which("strace") is None:
        _missing("strace is not installed: apt-get install strace")


def _missing(what: str) -> NoReturn:
    if os.environ.get("FINIAL_REQUIRE_STRACE"):
        pytest.fail(what)
    pytest.skip(what)


@asynccontextmanager
async def failing_fsync(pid: int, *, every: int = 1) -> AsyncIterator[None]:
    """While this lasts, a running process gets an error from the disk for each `fsync`, or not for each.

    Args:
        pid: Of the process.
        every: Which of its calls fail: 3 is each third one.
    """
    injection = f"inject=fsync,fdatasync:error=EIO:when={every}+{every}"
    command = [
        "strace",
        "-f",
        "-p",
        str(pid),
        "-o",
        os.devnull,
        "-e",
        "trace=fsync,fdatasync",
        "-e",
        injection,
    ]
    tracer = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    assert tracer.stderr is not None
    try:
        async with asyncio.timeout(_PATIENCE):
            said = (await tracer.stderr.readline()).decode()
        if "attach" in said and "not permitted" in said:
            _missing(f"strace may not trace another process here: {said.strip()}")
        assert "attached" in said, said
        yield
    finally:
        if tracer.returncode is None:
            tracer.send_signal(signal.SIGINT)  # it lets go of the process and ends
        async with asyncio.timeout(_PATIENCE):
            await tracer.communicate()


class SmallDisk:
    """A folder that is a file system of its own, which can be filled up.

    Args:
        path: Of the folder.
    """

    def __init__(self, path: Path) -> None:
        self._ballast = path / "ballast"

    def fill(self) -> None:
        """Leave no room."""
        with self._ballast.open("ab", buffering=0) as file:
            for size in (_FILLING, 1):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    pass  # full, to this size

    def free(self) -> None:
        """Make room again."""
        self._ballast.unlink()


@contextmanager
def small_disk(path: Path, *, mebibytes: int = 4) -> Iterator[SmallDisk]:
    """A new folder with so much room and no more; skips the test where it cannot be made."""
    if os.getuid() != 0:
        pytest.skip("only root can mount a file system")
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,mode=0755", "tmpfs", str(path)]
    tried = subprocess.run(mount, capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {tried.stderr.strip()}")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)
