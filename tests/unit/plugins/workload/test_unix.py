from __future__ import annotations

import asyncio
import errno
import grp
import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from finial.core.ids import TrustDomain
from finial.plugin.catalog import PluginContext, load
from finial.plugin.workload import WORKLOAD_ATTESTORS, WorkloadProcess
from finial.plugins.workload import unix
from finial.plugins.workload.unix import UnixAttestor, UnixAttestorError, create
from support.clock import FixedChance, ManualClock
from support.processes import NOBODY, Child, child
from support.unix_attestor import LATER, ask, attestor, digest, process

ROOT = pytest.mark.skipif(os.getuid() != 0, reason="only root may change users")


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
