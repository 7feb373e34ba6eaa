"""Files: whole or not at all, for nobody else's eyes, and errors that name the path."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from finial.runtime import files
from finial.runtime.files import FileError, FolderLock


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_is_private_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        files.write(tmp_path / "key", b"secret")
        files.folder(tmp_path / "private")
    finally:
        os.umask(old)
    assert files.read(tmp_path / "key") == b"secret"
    assert _mode(tmp_path / "key") == 0o600
    assert _mode(tmp_path / "private") == 0o700


def test_a_mode_is_given_even_against_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        files.write(tmp_path / "bundle", b"public", 0o644)
        files.folder(tmp_path / "data" / "agent", 0o755)
    finally:
        os.umask(old)
    assert _mode(tmp_path / "bundle") == 0o644
    assert _mode(tmp_path / "data" / "agent") == 0o755


def test_what_is_no_file_is_not_replaced_by_one(tmp_path: Path) -> None:
    fifo, link = tmp_path / "fifo", tmp_path / "link"
    os.mkfifo(fifo)
    link.symlink_to(fifo)
    for path in (fifo, link, tmp_path):
        with pytest.raises(FileError, match=r"cannot write .*: it is no file"):
            files.write(path, b"secret")
    assert fifo.is_fifo()
    assert link.is_symlink()
    assert sorted(tmp_path.iterdir()) == [fifo, link]


@pytest.mark.parametrize("name", ["", ".", "/"])
def test_what_has_no_name_is_no_file(name: str) -> None:
    with pytest.raises(FileError, match="is not the name of a file"):
        files.write(Path(name), b"secret")


def test_a_link_is_replaced_and_what_it_leads_to_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "other")
    (tmp_path / "loose").symlink_to(tmp_path / "nowhere")
    for name in ("link", "loose"):
        files.write(tmp_path / name, b"secret")
        assert not (tmp_path / name).is_symlink()
    assert (tmp_path / "other").read_bytes() == b"old"
    assert not (tmp_path / "nowhere").exists()


def test_an_existing_folder_keeps_its_permissions(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o711)
    files.folder(tmp_path / "data", 0o700)
    assert _mode(tmp_path / "data") == 0o711


def test_nobody_else_may_write_in_parents_that_are_made(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        files.folder(tmp_path / "lib" / "finial" / "agent", 0o755)
    finally:
        os.umask(old)
    assert [_mode(tmp_path / name) for name in ("lib", "lib/finial", "lib/finial/agent")] == [0o755] * 3


def test_a_private_folder_that_was_opened_is_closed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "private"
    assert files.private_folder(path) == path
    path.chmod(0o770)  # as those do who give a volume to a group
    files.private_folder(path)
    assert _mode(path) == 0o700
    path.chmod(0o750)

    def refused(self: Path, mode: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refused)
    with pytest.raises(FileError, match="cannot close to others .*private: Operation not permitted"):
        files.private_folder(path)


def test_a_file_that_may_not_be_looked_for_is_not_taken_for_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert files.read_if_there(tmp_path / "absent") is None
    (tmp_path / "file").touch()
    assert files.read_if_there(tmp_path / "file" / "below") is None

    def refused(self: Path, mode: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refused)
    monkeypatch.setattr(Path, "stat", refused)
    with pytest.raises(FileError, match="cannot read .*absent: Permission denied"):
        files.read_if_there(tmp_path / "absent")


def test_a_folder_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with pytest.raises(FileError, match="data is not a folder"):
        files.folder(tmp_path / "data")
    with pytest.raises(FileError, match="cannot make the folder .*data/below"):
        files.folder(tmp_path / "data" / "below")


def test_what_a_kill_left_behind_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / ".key.new").write_bytes(b"half")
    (tmp_path / ".key.new").chmod(0o666)
    files.write(tmp_path / "key", b"whole")
    assert (tmp_path / "key").read_bytes() == b"whole"
    assert _mode(tmp_path / "key") == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_the_old_content_stays_when_the_new_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write(tmp_path / "key", b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileError, match="cannot write .*key: No space left on device"):
        files.write(tmp_path / "key", b"new")
    assert (tmp_path / "key").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_reading_names_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot read .*missing: No such file") as caught:
        files.read(tmp_path / "missing")
    assert caught.value.reason.hint
    (tmp_path / "large").write_bytes(b"x" * 11)
    with pytest.raises(FileError, match="larger than 10 bytes"):
        files.read(tmp_path / "large", 10)
    assert files.read(tmp_path / "large", 11) == b"x" * 11
    assert files.read_if_there(tmp_path / "missing") is None
    assert files.read_if_there(tmp_path / "large") == b"x" * 11


def test_removing_is_done_once(tmp_path: Path) -> None:
    files.write(tmp_path / "key", b"secret")
    files.remove(tmp_path / "key")
    files.remove(tmp_path / "key")
    files.remove(tmp_path / "no folder" / "key")
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileError, match="cannot delete"):
        files.remove(tmp_path / "folder")


def test_a_folder_is_held_by_one_process_and_freed_by_its_end(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from finial.runtime.files import FolderLock\n"
    code += "lock = FolderLock(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(FileError, match="in use by another process"):
            FolderLock(tmp_path)
        other.kill()
        other.wait()
    with FolderLock(tmp_path):
        pass
    with FolderLock(tmp_path):
        pass


def test_a_folder_that_cannot_be_locked_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot lock"):
        FolderLock(tmp_path / "missing")
