"""The digests of programs: made once, bounded, kept only of files that no other can be taken for."""

from __future__ import annotations

import asyncio
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from finial.plugin.workload import WorkloadProcess
from finial.plugins.workload import unix
from finial.plugins.workload.unix import UnixAttestorError
from finial.runtime.fileid import FileID, open_file_id
from finial.runtime.workers import BusyError
from support.processes import child
from support.unix_attestor import ask, attestor, process


def identity_of(path: Path) -> FileID:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return open_file_id(descriptor)
    finally:
        os.close(descriptor)


def test_a_process_that_ends_while_its_program_is_hashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed = unix._hash

    with child(tmp_path) as other, process(other) as seen:

        def slow(descriptor: int, file: Any) -> str:
            other.tell("end")
            return hashed(descriptor, file)

        monkeypatch.setattr(unix, "_hash", slow)
        with pytest.raises(UnixAttestorError, match="has ended"):
            asyncio.run(attestor().attest(seen))


def test_the_size_limit(tmp_path: Path) -> None:
    with child(tmp_path) as other, process(other) as seen:
        size = Path(f"/proc/{other.process.pid}/exe").stat().st_size
        for limit in (0, size):
            assert [value for value in ask(attestor(size_limit=limit), seen) if value.startswith("sha256:")]
        found = ask(attestor(size_limit=-1), seen)
        assert [value for value in found if value.startswith("path:")]
        assert not [value for value in found if value.startswith("sha256:")]
        with pytest.raises(UnixAttestorError, match=f"has {size} bytes, at most {size - 1} are hashed"):
            asyncio.run(attestor(size_limit=size - 1).attest(seen))


@pytest.fixture
def hashes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One item for each hashing of a file."""
    made: list[int] = []
    real = unix._hash

    def counted(descriptor: int, file: Any) -> str:
        made.append(descriptor)
        return real(descriptor, file)

    monkeypatch.setattr(unix, "_hash", counted)
    return made


def test_a_file_is_hashed_once_for_all_processes(tmp_path: Path, hashes: list[int]) -> None:
    one = attestor()
    with child(tmp_path) as first, process(first) as a, child(tmp_path) as second, process(second) as b:
        assert ask(one, a) == ask(one, b) == ask(one, a)
    assert len(hashes) == 1


def test_a_file_that_changed_just_now_is_hashed_each_time(tmp_path: Path, hashes: list[int]) -> None:
    program = tmp_path / "another"
    shutil.copy(shutil.which("cat") or "/bin/cat", program)
    changed = datetime.fromtimestamp(program.stat().st_ctime_ns / 1e9, UTC)
    with child(tmp_path) as other, process(other) as seen:
        other.exec(program)
        young = attestor(now=changed + timedelta(seconds=1.9))
        assert ask(young, seen) == ask(young, seen)
        assert len(hashes) == 2
        old = attestor(now=changed + timedelta(seconds=2.1))
        assert ask(old, seen) == ask(old, seen)
        assert len(hashes) == 3


def test_callers_at_one_time_share_one_hashing(tmp_path: Path, hashes: list[int]) -> None:
    one = attestor()

    async def both(a: WorkloadProcess, b: WorkloadProcess) -> None:
        first, second = await asyncio.gather(one.attest(a), one.attest(b))
        assert first == second

    with child(tmp_path) as other, process(other) as a, process(other) as b:
        asyncio.run(both(a, b))
    assert len(hashes) == 1


def test_a_file_that_another_one_could_be_taken_for_is_hashed_each_time(
    tmp_path: Path, hashes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FileID, "unmistakable", False)
    one = attestor()
    with child(tmp_path) as other, process(other) as seen:
        assert ask(one, seen) == ask(one, seen)
    assert len(hashes) == 2


def test_a_user_with_too_many_programs_to_hash_is_refused_and_leaves_no_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = attestor()

    def full(*_: object) -> None:
        raise BusyError(unix._RESTLESS, "64 calls wait already (digests)")

    with child(tmp_path) as other, process(other) as seen:
        monkeypatch.setattr(one._digests._workers, "submit", full)
        before = len(list(Path("/proc/self/fd").iterdir()))
        with pytest.raises(BusyError, match="wait already"):
            asyncio.run(one.attest(seen))
        assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_program_that_changes_under_the_reading_is_not_trusted(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"one")
    identity = identity_of(file)
    file.write_bytes(b"another")
    with pytest.raises(OSError, match="another one by now"):
        unix._hash(os.open(file, os.O_RDONLY), identity)


def test_a_change_while_it_is_read_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"one")
    identity = identity_of(file)
    real = os.read

    def read(descriptor: int, size: int) -> bytes:
        data = real(descriptor, size)
        if data:
            file.write_bytes(b"another")
        return data

    monkeypatch.setattr(os, "read", read)
    with pytest.raises(OSError, match="changed while it was read"):
        unix._hash(os.open(file, os.O_RDONLY), identity)
