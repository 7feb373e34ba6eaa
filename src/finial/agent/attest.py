"""Workload attestation: who is at the other end of a connection, asked anew each time.

exec and setuid keep the process id and its start time, so nothing about a process is remembered from one
question to the next but by attestors that compare first. A connection holds its process by a pidfd, which
came with the socket, and by a handle on its folder in /proc; both fail once it has ended, and neither ever
means another process. A socket that was inherited or passed on speaks for whoever connected it, as the user
that it was then: a copy of the socket must not gain what its process gains by executing a setuid program.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from finial.core.errors import FinialError, Kind, Reason
from finial.core.selectors import Selector
from finial.plugin.workload import WorkloadAttestor, WorkloadProcess
from finial.runtime.log import fields
from finial.runtime.peer import PeerProcess

_log = logging.getLogger("finial.agent")

MOST_IDLE: Final = 64
"""Connections whose handles are kept though no call of theirs is open."""
_PROC = Path("/proc")
_DEADLINE = timedelta(seconds=30)
_FAILED = Reason("workload-attestation-failed", Kind.UNAVAILABLE)
_FULL = Reason("workload-descriptors", Kind.UNAVAILABLE, hint="Raise the agent's limit of open files.")


class WorkloadAttestationError(FinialError):
    """It cannot be told who calls."""


@dataclass(eq=False, slots=True)
class Caller:
    """The process behind one connection, for as long as calls of it are open.

    Args:
        peer: As the kernel told it.
        process: The same, with a handle on its folder.
        calls: How many are open.
    """

    peer: PeerProcess
    process: WorkloadProcess
    calls: int = 0


class WorkloadAttestation:
    """Asks all attestors about callers.

    The handles of connections that have no call open are kept for a while: a workload that makes one call
    after the other is compared with what it was, and looked up anew only when it is another.

    Args:
        attestors: By name, at least one.
        proc: Where process folders are.
    """

    def __init__(self, attestors: Mapping[str, WorkloadAttestor], *, proc: Path = _PROC) -> None:
        self._attestors = attestors
        self._proc = proc
        # By the identity of the connection's PeerProcess, which is nobody else's as long as it is in here.
        self._callers: dict[int, Caller] = {}
        self._idle: dict[int, Caller] = {}  # those without a call, the one that has rested longest first

    @contextmanager
    def caller(self, peer: PeerProcess | None) -> Iterator[Caller]:
        """The process behind a connection, whose calls share one handle.

        Args:
            peer: Of the connection, which keeps it open.

        Raises:
            WorkloadAttestationError: It has ended, is in a foreign pid namespace, or descriptors ran out.
        """
        if peer is None or peer.pid == 0:
            raise WorkloadAttestationError(_FAILED, "the caller is in a foreign pid namespace")
        key = id(peer)
        caller = self._callers.get(key)
        if caller is None:
            caller = self._callers[key] = self._open(peer)
        caller.calls += 1
        self._idle.pop(key, None)
        try:
            yield caller
        finally:
            caller.calls -= 1
            if not caller.calls:
                self._idle[key] = caller
                if len(self._idle) > MOST_IDLE:
                    self._part(next(iter(self._idle)))

    def close(self) -> None:
        """Close the handles of connections that have no call open."""
        for key in list(self._idle):
            self._part(key)

    async def selectors(self, caller: Caller) -> frozenset[Selector]:
        """What can be observed of a caller at this moment.

        Args:
            caller: Whose block is open.

        Raises:
            WorkloadAttestationError: It has ended, or no attestor could tell anything.
        """
        _check_alive(caller.peer)
        found: set[Selector] = set()
        failures: list[FinialError] = []
        try:
            async with asyncio.timeout(_DEADLINE.total_seconds()):
                for name, answer in await self._ask(caller.process):
                    if isinstance(answer, FinialError):
                        failures.append(answer)
                        _log.warning(
                            "a workload attestor failed",
                            extra=fields(attestor=name, pid=caller.peer.pid, error=answer),
                        )
                    else:
                        found.update(answer)
        except TimeoutError as error:
            raise _unknown(caller.peer, "an attestor takes too long") from error
        _check_alive(caller.peer)
        if len(failures) == len(self._attestors):
            raise _unknown(caller.peer, failures[0].message)
        return frozenset(found)

    async def _ask(self, process: WorkloadProcess) -> list[tuple[str, tuple[Selector, ...] | FinialError]]:
        names = list(self._attestors)
        if len(names) == 1:  # the usual case needs no task
            return [(names[0], await _answer(self._attestors[names[0]], process))]
        answers = await asyncio.gather(*(_answer(each, process) for each in self._attestors.values()))
        return list(zip(names, answers, strict=True))

    def _part(self, key: int) -> None:
        """Forget a caller that has no call open."""
        del self._idle[key]
        os.close(self._callers.pop(key).process.folder)

    def _open(self, peer: PeerProcess) -> Caller:
        _check_alive(peer)
        try:
            folder = os.open(self._folder(peer), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in {errno.EMFILE, errno.ENFILE}:
                if self._idle:
                    self.close()
                    return self._open(peer)
                raise WorkloadAttestationError(_FULL, "the agent has no file descriptors left") from error
            raise _unknown(peer, error.strerror or str(error)) from error
        if not peer.alive():  # else the folder may be a successor's
            os.close(folder)
            raise _unknown(peer, "it has ended")
        return Caller(peer, WorkloadProcess(peer.pid, folder, peer.pidfd, peer.uid, peer.gid))

    def _folder(self, peer: PeerProcess) -> Path:
        """Where the process's folder is; a /proc that was mounted from elsewhere has numbers of its own."""
        if self._proc == _PROC:
            return _PROC / str(peer.pid)
        told = (self._proc / "self/fdinfo" / str(peer.pidfd)).read_bytes()
        number = next((line[4:].strip() for line in told.split(b"\n") if line.startswith(b"Pid:")), b"-1")
        return self._proc / number.decode()


async def _answer(attestor: WorkloadAttestor, process: WorkloadProcess) -> tuple[Selector, ...] | FinialError:
    try:
        return await attestor.attest(process)
    except FinialError as error:
        return error


def _check_alive(peer: PeerProcess) -> None:
    if not peer.alive():
        raise _unknown(peer, "it has ended")


def _unknown(peer: PeerProcess, why: str) -> WorkloadAttestationError:
    return WorkloadAttestationError(_FAILED, f"process {peer.pid} cannot be attested: {why}")
