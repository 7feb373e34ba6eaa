from __future__ import annotations

import asyncio
import errno
import grp
import hashlib
import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from finial.core.ids import TrustDomain
from finial.plugin.catalog import PluginContext, load
from finial.plugin.workload import WORKLOAD_ATTESTORS, WorkloadProcess
from finial.plugins.workload import unix
from finial.plugins.workload.unix import UnixAttestor, UnixAttestorError, create
from finial.runtime.fileid import FileID, open_file_id
from finial.runtime.workers import BusyError
from support.clock import FixedChance, ManualClock
from support.processes import NOBODY, Child, child

LATER = datetime.now(UTC) + timedelta(days=1)  # noqa: TID251 - of files that the test has just made
ROOT = pytest.mark.skipif(os.getuid() != 0, reason="only root may change users")


def attestor(*, discover_path: bool = True, size_limit: int = 0, now: datetime = LATER) -> UnixAttestor:
    return UnixAttestor(discover_path=discover_path, size_limit=size_limit, clock=ManualClock(now))


@contextmanager
def process(of: Child) -> Iterator[WorkloadProcess]:
    folder = os.open(f"/proc/{of.peer.pid}", os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield WorkloadProcess(of.peer.pid, folder, of.peer.pidfd, of.peer.uid, of.peer.gid)
    finally:
        os.close(folder)


def ask(attestor: UnixAttestor, process: WorkloadProcess) -> set[str]:
    selectors = asyncio.run(attestor.attest(process))
    assert {each.type for each in selectors} == {"unix"}
    return {each.value for each in selectors}


def identity_of(path: Path) -> FileID:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return open_file_id(descriptor)
    finally:
        os.close(descriptor)


def digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def test_everything_about_a_process(tmp_path: Path) -> None:
    with child(tmp_path) as other, process(other) as seen:
        uid, gid = os.geteuid(), os.getegid()
        expected = {f"uid:{uid}", f"gid:{gid}", f"user:{pwd.getpwuid(uid).pw_name}"}
        names = {each.gr_gid: each.gr_name for each in grp.getgrall()}
        expected |= {f"group:{names[gid]}"}
        for number in os.getgroups():
            expected |= {f"supplementary_gid:{number}"}
            expected |= {f"supplementary_group:{names[number]}"} if number in names else set()
        exe = os.path.realpath(f"/proc/{other.process.pid}/exe")
        expected |= {f"path:{exe}", f"sha256:{digest(exe)}"}
        assert ask(attestor(), seen) == expected


def test_without_the_executable(tmp_path: Path) -> None:
    with child(tmp_path) as other, process(other) as seen:
        found = ask(attestor(discover_path=False), seen)
        assert f"uid:{os.geteuid()}" in found
        assert not [value for value in found if value.startswith(("path:", "sha256:"))]


def test_exec_is_noticed_on_the_same_connection(tmp_path: Path) -> None:
    program = tmp_path / "another"
    shutil.copy(shutil.which("cat") or "/bin/cat", program)
    one = attestor()
    with child(tmp_path) as other, process(other) as seen:
        before = ask(one, seen)
        assert ask(one, seen) == before
        other.exec(program)
        after = ask(one, seen)
        assert {f"path:{program}", f"sha256:{digest(str(program))}"} <= after
        assert other.peer.alive()


def open_to_all(folder: Path) -> Path:
    folder.chmod(0o711)
    return folder


@contextmanager
def anew(of: Child) -> Iterator[WorkloadProcess]:
    """The process as if it had connected just now."""
    status = Path(f"/proc/{of.peer.pid}/status").read_text()
    uid, gid = (int(status.split(f"\n{name}:")[1].split()[1]) for name in ("Uid", "Gid"))
    with process(of) as held:
        yield WorkloadProcess(held.pid, held.folder, held.pidfd, uid, gid)


@ROOT
def test_the_effective_user_and_all_groups_count(tmp_path: Path) -> None:
    one = attestor()
    with child(tmp_path) as other:
        other.tell("effective 65534")
        with anew(other) as seen:
            assert {"uid:65534", "user:nobody"} <= ask(one, seen)
        other.tell("effective 0")
        other.tell("user 54321 65534 12 54322")
        with anew(other) as seen:
            found = ask(one, seen)
        assert {
            "uid:54321",
            "gid:65534",
            "group:nogroup",
            "supplementary_gid:12",
            "supplementary_gid:54322",
        } <= found
        assert "supplementary_group:man" in found
        assert not [value for value in found if value.startswith("user:")]  # it has no name
        assert "supplementary_group:54322" not in found


@ROOT
@pytest.mark.parametrize("change", ["effective 65534", "user 65534 0", "user 0 65534"])
def test_a_connection_speaks_for_the_user_that_opened_it(tmp_path: Path, change: str) -> None:
    one = attestor()
    with child(tmp_path) as other, process(other) as seen:
        assert "uid:0" in ask(one, seen)
        other.tell(change)
        with pytest.raises(UnixAttestorError, match="connected as user 0 and group 0, and is"):
            asyncio.run(one.attest(seen))


@ROOT
@pytest.mark.skipif(shutil.which("su") is None, reason="there is no setuid program")
def test_a_setuid_program_gives_nothing_to_whoever_holds_a_copy_of_the_socket() -> None:
    one = attestor()
    with (
        tempfile.TemporaryDirectory() as name,  # the folders of pytest are closed to others
        child(open_to_all(Path(name)), user=NOBODY) as other,
        process(other) as seen,
    ):
        assert f"uid:{NOBODY}" in ask(one, seen)
        other.exec(shutil.which("su") or "")  # waits for the password on the pipe that we hold
        status = Path(f"/proc/{other.process.pid}/status").read_text()
        assert f"Uid:\t{NOBODY}\t0\t" in status
        with pytest.raises(UnixAttestorError, match=f"connected as user {NOBODY}.* and is 0"):
            asyncio.run(one.attest(seen))


def test_a_process_that_has_ended(tmp_path: Path) -> None:
    with child(tmp_path) as other, process(other) as seen:
        other.tell("end")
        with pytest.raises(UnixAttestorError, match="has ended"):
            asyncio.run(attestor().attest(seen))


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


def test_what_may_not_be_read_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    with child(tmp_path) as other, process(other) as seen:
        monkeypatch.setattr(os, "readlink", denied)
        found = ask(attestor(), seen)
        assert f"uid:{os.geteuid()}" in found
        assert not [value for value in found if value.startswith(("path:", "sha256:"))]
        monkeypatch.undo()
        real = os.open

        def only_the_program(name: Any, *arguments: Any, **named: Any) -> int:
            if name == "exe":
                denied()
            return real(name, *arguments, **named)

        monkeypatch.setattr(os, "open", only_the_program)
        found = ask(attestor(), seen)
        assert [value for value in found if value.startswith("path:")]
        assert not [value for value in found if value.startswith("sha256:")]


def test_other_failures_fail_the_attestation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with child(tmp_path) as other, process(other) as seen:
        for name in ("readlink", "open"):
            with monkeypatch.context() as patch:
                patch.setattr(os, name, broken)
                with pytest.raises(UnixAttestorError, match="cannot be read: Input/output error"):
                    asyncio.run(attestor().attest(seen))
        with monkeypatch.context() as patch:
            patch.setattr(unix, "_hash", broken)
            with pytest.raises(UnixAttestorError, match="Input/output error"):
                asyncio.run(attestor().attest(seen))


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


def test_a_process_that_never_rests_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, looks = UnixAttestor._look, iter(range(100))

    def restless(self: UnixAttestor, process: WorkloadProcess) -> Any:
        look = real(self, process)
        return unix._Look(look.credentials, f"{look.path}{next(looks)}", look.file)

    monkeypatch.setattr(UnixAttestor, "_look", restless)
    with (
        child(tmp_path) as other,
        process(other) as seen,
        pytest.raises(UnixAttestorError, match="changed at each of 3 readings"),
    ):
        asyncio.run(attestor().attest(seen))


def test_a_status_without_credentials_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WorkloadProcess, "read", lambda self, name: b"Name:\tx\n")
    with (
        child(tmp_path) as other,
        process(other) as seen,
        pytest.raises(UnixAttestorError, match="lacks credentials"),
    ):
        asyncio.run(attestor().attest(seen))


def test_names_are_asked_again_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock(LATER)
    one = UnixAttestor(discover_path=False, size_limit=0, clock=clock)
    name = pwd.getpwuid(os.geteuid())

    async def main(path: Path) -> None:
        with child(path) as other, process(other) as a, process(other) as b, process(other) as c:
            first = {each.value for each in await one.attest(a)}
            monkeypatch.setattr(pwd, "getpwuid", lambda uid: pwd.struct_passwd(["renamed", *name[1:]]))
            assert {each.value for each in await one.attest(b)} == first
            await clock.advance(timedelta(seconds=31))
            assert "user:renamed" in {each.value for each in await one.attest(c)}
            assert "user:renamed" in {each.value for each in await one.attest(a)}  # also on an old connection
            assert await one.attest(a) is await one.attest(a)


def test_callers_at_one_time_share_one_question_for_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = UnixAttestor(discover_path=False, size_limit=0, clock=ManualClock(LATER))
    asked: list[int] = []
    real = pwd.getpwuid

    def counted(number: int) -> pwd.struct_passwd:
        asked.append(number)
        return real(number)

    async def many(processes: list[WorkloadProcess]) -> None:
        answers = await asyncio.gather(*map(one.attest, processes))
        assert len(set(answers)) == 1

    monkeypatch.setattr(pwd, "getpwuid", counted)
    with child(tmp_path) as other, ExitStack() as stack:
        asyncio.run(many([stack.enter_context(process(other)) for _ in range(2 * unix._MOST_WAITING)]))
    assert asked == [os.geteuid()]


def test_a_directory_that_fails_once_is_asked_again_on_the_same_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock(LATER)
    one = UnixAttestor(discover_path=False, size_limit=0, clock=clock)
    name = f"user:{pwd.getpwuid(os.geteuid()).pw_name}"

    def away(number: int) -> None:
        raise OSError(errno.EIO, "the directory is away")

    async def main(path: Path) -> None:
        with child(path) as other, process(other) as seen:
            with monkeypatch.context() as patch:
                patch.setattr(pwd, "getpwuid", away)
                assert name not in {each.value for each in await one.attest(seen)}
            await clock.advance(timedelta(seconds=31))
            assert name in {each.value for each in await one.attest(seen)}

    asyncio.run(main(tmp_path))


def context(path: Path) -> PluginContext:
    return PluginContext(
        trust_domain=TrustDomain("example.org"), clock=ManualClock(LATER), chance=FixedChance(), data_dir=path
    )


def test_it_is_found_by_its_name(tmp_path: Path) -> None:
    found = load(WORKLOAD_ATTESTORS, "unix", {}, context=context(tmp_path))
    with child(tmp_path) as other, process(other) as seen:
        selectors = asyncio.run(found.attest(seen))
        assert [each for each in selectors if each.value.startswith("sha256:")]


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"discover_workload_path": 1}, "neither true nor false"),
        ({"workload_size_limit": "1"}, "no whole number"),
        ({"workload_size_limit": True}, "no whole number"),
        ({"path": True}, "unknown setting 'path'"),
    ],
)
def test_settings_that_are_wrong(tmp_path: Path, settings: dict[str, object], why: str) -> None:
    with pytest.raises(UnixAttestorError, match=why):
        create(settings, context(tmp_path))


def test_settings_have_their_effect(tmp_path: Path) -> None:
    made = create({"discover_workload_path": False, "workload_size_limit": 5}, context(tmp_path))
    assert (made._discover_path, made._size_limit) == (False, 5)
