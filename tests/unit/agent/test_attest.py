"""Workload attestation on real processes."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from finial.agent import attest
from finial.agent.attest import WorkloadAttestation, WorkloadAttestationError
from finial.core.errors import FinialError, Kind, Reason
from finial.core.selectors import Selector
from finial.plugin.workload import WorkloadAttestor, WorkloadProcess
from finial.runtime.peer import PeerProcess
from support.processes import child

BROKEN = Reason("test-broken", Kind.UNAVAILABLE)


class Says:
    """An attestor with one answer."""

    def __init__(self, *values: str, kind: str = "test") -> None:
        self.answer = tuple(Selector(kind, value) for value in values)
        self.asked = 0

    async def attest(self, process: WorkloadProcess) -> tuple[Selector, ...]:
        self.asked += 1
        assert process.read("stat").startswith(f"{process.pid} ".encode())
        return self.answer


class Fails:
    async def attest(self, process: WorkloadProcess) -> tuple[Selector, ...]:
        raise FinialError(BROKEN, "cannot tell")


class Hangs:
    async def attest(self, process: WorkloadProcess) -> tuple[Selector, ...]:
        await asyncio.Event().wait()
        raise AssertionError


def ask(
    attestors: Mapping[str, WorkloadAttestor], peer: PeerProcess | None, **more: Any
) -> frozenset[Selector]:
    async def main() -> frozenset[Selector]:
        attestation = WorkloadAttestation(attestors, **more)
        try:
            with attestation.caller(peer) as caller:
                return await attestation.selectors(caller)
        finally:
            attestation.close()

    return asyncio.run(main())


def test_the_selectors_of_all_attestors_are_merged(tmp_path: Path) -> None:
    attestors = {"a": Says("1", "2"), "b": Says("3", kind="other"), "c": Says()}
    with child(tmp_path) as other:
        assert ask(attestors, other.peer) == {
            Selector("test", "1"),
            Selector("test", "2"),
            Selector("other", "3"),
        }


def test_one_that_fails_does_not_take_the_others_with_it(tmp_path: Path) -> None:
    with child(tmp_path) as other:
        assert ask({"a": Fails(), "b": Says("1")}, other.peer) == {Selector("test", "1")}
        with pytest.raises(WorkloadAttestationError, match="cannot tell"):
            ask({"a": Fails(), "b": Fails()}, other.peer)


def test_one_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attest, "_DEADLINE", attest._DEADLINE / 1_000)
    with child(tmp_path) as other, pytest.raises(WorkloadAttestationError, match="takes too long"):
        ask({"a": Hangs()}, other.peer)


def test_a_process_of_a_foreign_namespace_is_refused() -> None:
    for peer in (None, PeerProcess(0, 0, 0, -1)):
        with pytest.raises(WorkloadAttestationError, match="foreign pid namespace"):
            ask({"a": Says("1")}, peer)


def test_a_process_that_has_ended_is_refused(tmp_path: Path) -> None:
    with child(tmp_path) as other:
        other.tell("end")
        with pytest.raises(WorkloadAttestationError, match="has ended"):
            ask({"a": Says("1")}, other.peer)


def test_a_process_that_ends_between_two_questions_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        attestation = WorkloadAttestation({"a": Says("1")})
        with child(tmp_path) as other, attestation.caller(other.peer) as caller:
            assert await attestation.selectors(caller)
            other.tell("end")
            with pytest.raises(WorkloadAttestationError, match="has ended"):
                await attestation.selectors(caller)

    asyncio.run(main())


def test_a_process_that_ends_while_it_is_attested_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        with child(tmp_path) as other:

            class Kills(Says):
                async def attest(self, process: WorkloadProcess) -> tuple[Selector, ...]:
                    answer = await super().attest(process)
                    other.tell("end")
                    return answer

            attestation = WorkloadAttestation({"a": Kills("1")})
            with attestation.caller(other.peer) as caller:
                with pytest.raises(WorkloadAttestationError, match="has ended"):
                    await attestation.selectors(caller)
                with pytest.raises(OSError, match="No such process"):
                    caller.process.read("status")  # the handle shows no successor

    asyncio.run(main())


def test_a_process_that_ends_while_its_folder_is_opened_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open
    with child(tmp_path) as other:

        def opened(*arguments: Any, **named: Any) -> int:
            descriptor = real(*arguments, **named)
            other.tell("end")
            return descriptor

        monkeypatch.setattr(os, "open", opened)
        with pytest.raises(WorkloadAttestationError, match="has ended"):
            ask({"a": Says("1")}, other.peer)


def test_calls_of_one_connection_share_a_handle_also_one_after_the_other(tmp_path: Path) -> None:
    attestation = WorkloadAttestation({"a": Says("1")})
    with child(tmp_path) as other:
        with attestation.caller(other.peer) as first:
            with attestation.caller(other.peer) as second:
                assert first is second
            os.fstat(first.process.folder)
            handle = first.process.folder
        with attestation.caller(other.peer) as third:
            assert third is first
            attestation.close()
            os.fstat(handle)  # it has a call
        attestation.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(handle)
        with attestation.caller(other.peer) as fourth:
            assert fourth is not first
        attestation.close()


def test_of_connections_that_rest_those_that_have_rested_longest_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attest, "MOST_IDLE", 2)
    attestation = WorkloadAttestation({"a": Says("1")})
    with child(tmp_path) as other:
        peers = [replace(other.peer) for _ in range(3)]
        callers = []
        for peer in (*peers[:2], peers[0], peers[2]):
            with attestation.caller(peer) as caller:
                callers.append(caller)
        with attestation.caller(peers[0]) as again:
            assert again is callers[0]
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(callers[1].process.folder)
        attestation.close()


def test_a_connection_that_rests_speaks_for_nobody_once_its_process_has_ended(tmp_path: Path) -> None:
    async def main() -> None:
        attestation = WorkloadAttestation({"a": Says("1")})
        with child(tmp_path) as other:
            with attestation.caller(other.peer) as caller:
                assert await attestation.selectors(caller)
            other.tell("end")
            with (
                attestation.caller(other.peer) as caller,
                pytest.raises(WorkloadAttestationError, match="has ended"),
            ):
                await attestation.selectors(caller)
        attestation.close()

    asyncio.run(main())


def test_handles_that_rest_make_room_for_new_callers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def one_at_a_time(*arguments: Any, **named: Any) -> int:
        if attestation._idle:
            raise OSError(errno.EMFILE, "Too many open files")
        return real(*arguments, **named)

    attestation = WorkloadAttestation({"a": Says("1")})
    with child(tmp_path) as other:
        monkeypatch.setattr(os, "open", one_at_a_time)
        for peer in (other.peer, replace(other.peer)):
            with attestation.caller(peer) as caller:
                os.fstat(caller.process.folder)
        attestation.close()


def test_without_descriptors_new_callers_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    with child(tmp_path) as other:
        monkeypatch.setattr(os, "open", full)
        with pytest.raises(WorkloadAttestationError, match="no file descriptors left"):
            ask({"a": Says("1")}, other.peer)


def test_process_folders_elsewhere_have_the_numbers_of_that_place(tmp_path: Path) -> None:
    with child(tmp_path) as other:
        told = tmp_path / "self/fdinfo" / str(other.peer.pidfd)
        told.parent.mkdir(parents=True)
        told.write_text("pos:\t0\nPid:\t4711\nNSpid:\t4711\t7\n")
        (tmp_path / str(other.peer.pid)).symlink_to("/proc/self")  # somebody else has our number there
        (tmp_path / "4711").symlink_to(f"/proc/{other.peer.pid}")
        assert ask({"a": Says("1")}, other.peer, proc=tmp_path)
        told.write_text("Pid:\t0\n")  # it cannot be seen there
        for proc in (tmp_path, tmp_path / "nowhere"):
            with pytest.raises(WorkloadAttestationError, match="No such file"):
                ask({"a": Says("1")}, other.peer, proc=proc)
