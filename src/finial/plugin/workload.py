"""Workload attestors: from a process to the selectors that describe it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from finial.core.selectors import Selector
from finial.plugin.catalog import Cardinality, Group, PluginContext
from finial.plugin.guard import guarded, wrong

_PIECE = 64 * 1024


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class WorkloadProcess:
    """A process that called, held so that another one can never take its place.

    One value stands for one connection as long as it is open, so an attestor may remember, weakly, what it
    has seen of it; what it answers must be true at the moment of each question all the same.

    Args:
        pid: Process id in our pid namespace; not 0.
        folder: Descriptor of the process's folder in /proc. It fails with ESRCH once the process has ended
            and never shows a successor.
        pidfd: Descriptor of the process itself.
        uid: Effective user when it connected.
        gid: Effective group when it connected. An attestor that tells of users or groups tells of a process
            that still has these two, or fails: whoever holds a copy of the socket asks in the process's
            name, and must not become what the process has become since by executing a setuid program.
    """

    pid: int
    folder: int
    pidfd: int
    uid: int
    gid: int

    def read(self, name: str) -> bytes:
        """What a file in the process's folder holds, read at once.

        Args:
            name: Relative to the folder (`status`, `cgroup`).

        Raises:
            OSError: The process has ended, or the system refuses.
        """
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.folder)
        try:
            pieces = []
            while piece := os.read(descriptor, _PIECE):
                pieces.append(piece)
            return b"".join(pieces)
        finally:
            os.close(descriptor)


@runtime_checkable
class WorkloadAttestor(Protocol):
    """Says what can be observed of a process; asked at each call and before each push."""

    async def attest(self, process: WorkloadProcess) -> tuple[Selector, ...]:
        """The selectors of a process as it is now; none when it is not of the kind that this one knows.

        Raises:
            FinialError: It cannot be told. The selectors of other attestors still count.
        """


class GuardedWorkloadAttestor:
    """A workload attestor whose answers are checked and whose errors say whose they are.

    Args:
        inner: The plugin.
        name: Its name, the only type that its selectors may have.
    """

    def __init__(self, inner: WorkloadAttestor, name: str) -> None:
        self._inner = inner
        self._name = name
        self._owner = WORKLOAD_ATTESTORS.owner(name)

    async def attest(self, process: WorkloadProcess) -> tuple[Selector, ...]:
        """The selectors of a process as it is now."""
        with guarded(self._owner):
            selectors: object = await self._inner.attest(process)
        if not isinstance(selectors, tuple):
            raise wrong(self._owner, f"returned a {type(selectors).__name__}, which is no tuple of selectors")
        for selector in selectors:
            if not isinstance(selector, Selector) or selector.type != self._name:
                raise wrong(self._owner, f"returned what is no selector of type {self._name}")
        return selectors


def _guard(made: object, name: str, _context: PluginContext) -> WorkloadAttestor:
    if not isinstance(made, WorkloadAttestor):
        owner = WORKLOAD_ATTESTORS.owner(name)
        raise wrong(owner, f"made a {type(made).__name__}, which is no workload attestor")
    return GuardedWorkloadAttestor(made, name)


WORKLOAD_ATTESTORS: Group[WorkloadAttestor] = Group(
    name="finial.workload_attestors",
    label="workloadattestor",
    cardinality=Cardinality.SOME,
    guard=_guard,
)
"""All of these are asked about each caller; a caller has the selectors of all that know it."""
