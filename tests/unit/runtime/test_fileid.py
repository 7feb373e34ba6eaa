from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from finial.runtime import fileid
from finial.runtime.fileid import FileID, file_id, open_file_id


@contextmanager
def opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def test_it_says_what_stat_says(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"abc")
    (tmp_path / "link").symlink_to(file)
    status = file.stat()
    with opened(tmp_path) as folder, opened(file) as descriptor:
        found = file_id("file", folder=folder)
        assert found[1:] == (status.st_dev, status.st_ino, 3, status.st_ctime_ns)
        assert found == file_id("link", folder=folder) == open_file_id(descriptor)
        file.write_bytes(b"abcd")
        assert found != open_file_id(descriptor)
        with pytest.raises(FileNotFoundError):
            file_id("absent", folder=folder)


def test_two_mounts_are_told_apart_by_number_where_the_kernel_gives_one() -> None:
    with opened(Path("/proc")) as proc, opened(Path("/")) as root:
        first, second = open_file_id(proc), open_file_id(root)
    assert first.mount == second.mount == 0 or first.mount != second.mount


@pytest.mark.parametrize(
    ("mount", "device", "unmistakable"),
    [(0, os.makedev(0, 42), False), (7, os.makedev(0, 42), True), (0, os.makedev(254, 1), True)],
)
def test_a_device_number_without_a_disk_may_be_another_ones_tomorrow(
    mount: int, device: int, unmistakable: bool
) -> None:
    assert FileID(mount, device, 1, 1, 1).unmistakable is unmistakable


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM, None])
def test_without_the_call_the_plain_one_does(
    number: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(*_: object) -> int:
        assert number is not None
        ctypes.set_errno(number)
        return -1

    monkeypatch.setattr(fileid, "_function", lambda: None if number is None else absent)
    file = tmp_path / "file"
    file.write_bytes(b"abc")
    with opened(tmp_path) as folder, opened(file) as descriptor:
        assert file_id("file", folder=folder) == open_file_id(descriptor)
        assert open_file_id(descriptor).mount == 0
