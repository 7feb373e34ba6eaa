"""The attestor `unix`, and processes for it to look at."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from finial.plugin.workload import WorkloadProcess
from finial.plugins.workload.unix import UnixAttestor
from support.clock import ManualClock
from support.processes import Child

LATER = datetime.now(UTC) + timedelta(days=1)  # noqa: TID251 - of files that the test has just made


def attestor(*, discover_path: bool = True, size_limit: int = 0, now: datetime = LATER) -> UnixAttestor:
    return UnixAttestor(discover_path=discover_path, size_limit=size_limit, clock=ManualClock(now))


@contextmanager
def process(of: Child) -> Iterator[WorkloadProcess]:
    """A child, held as the agent holds a caller."""
    folder = os.open(f"/proc/{of.peer.pid}", os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield WorkloadProcess(of.peer.pid, folder, of.peer.pidfd, of.peer.uid, of.peer.gid)
    finally:
        os.close(folder)


def ask(attestor: UnixAttestor, process: WorkloadProcess) -> set[str]:
    """The values of the selectors that it answers with."""
    selectors = asyncio.run(attestor.attest(process))
    assert {each.type for each in selectors} == {"unix"}
    return {each.value for each in selectors}


def digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
