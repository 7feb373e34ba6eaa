"""Folders and files that survive a kill at any instruction, and whose secrets nobody else reads."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from pathlib import Path
from types import TracebackType
from typing import Self

from finial.core.errors import FinialError, Kind, Reason

_ACCESS = Reason(
    "file-access",
    Kind.UNAVAILABLE,
    hint="Check the path, its owner, and that the disk has room.",
)
_SIZE = Reason("file-large", Kind.LIMIT, hint="Check that the path names the right file.")
_IN_USE = Reason(
    "folder-in-use", Kind.CONFLICT, hint="Stop the process that uses it, or choose another data folder."
)

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
_PARENT_FOLDER = 0o755
_OTHERS = 0o077
MAX_READ_BYTES = 16 << 20


class FileError(FinialError):
    """A file or folder cannot be used."""


def failed(doing: str, path: Path, error: OSError) -> FileError:
    """The error for something that the system refused to do with a path."""
    return FileError(_ACCESS, f"cannot {doing} {path}: {error.strerror or error}", subject=str(path))


def folder(path: Path, mode: int = PRIVATE_FOLDER) -> Path:
    """The folder, made with its parents when it is missing; an existing one keeps its permissions.

    Nobody else may write in the parents that are made, whatever the umask: he could put another folder in
    this one's place.

    Raises:
        FileError: The system refuses, or something else has the name.
    """
    try:
        for parent in reversed([each for each in path.parents if not each.exists()]):
            with contextlib.suppress(FileExistsError):
                parent.mkdir(mode=_PARENT_FOLDER)
                _sync_folder(parent.parent)
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=mode)
            path.chmod(mode)  # whatever the umask was
            _sync_folder(path.parent)
        if not path.is_dir():
            raise FileError(_ACCESS, f"{path} is not a folder", subject=str(path))
    except OSError as error:
        raise failed("make the folder", path, error) from error
    return path


def private_folder(path: Path) -> Path:
    """A folder for secrets, made when it is missing; an existing one is closed to others.

    Raises:
        FileError: The system refuses, or something else has the name.
    """
    folder(path)
    try:
        if stat.S_IMODE(path.stat().st_mode) & _OTHERS:
            path.chmod(PRIVATE_FOLDER)
    except OSError as error:
        raise failed("close to others", path, error) from error
    return path


def read(path: Path, most: int = MAX_READ_BYTES) -> bytes:
    """What a file holds.

    Args:
        path: Of the file.
        most: Bytes; a larger file is refused before it is read.

    Raises:
        FileError: It is missing, unreadable or too large.
    """
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise failed("read", path, error) from error
    if len(data) > most:
        raise FileError(_SIZE, f"{path} is larger than {most} bytes", subject=str(path))
    return data


def read_if_there(path: Path, most: int = MAX_READ_BYTES) -> bytes | None:
    """What a file holds; None when there is none. Raises as `read`."""
    try:
        return read(path, most)
    except FileError as error:
        if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
            return None
        raise


def write(path: Path, data: bytes, mode: int = PRIVATE_FILE) -> None:
    """Give a file this content, all of it or none, durable when this returns.

    The new content is written beside the file, in its own folder, and takes its name when it is on the disk.
    So what is no file, such as a device or a pipe, would not be written to but be replaced, and is refused.

    Raises:
        FileError: The system refuses, or something else has the name; the old content is still there.
    """
    if not path.name:
        raise FileError(_ACCESS, f"{path} is not the name of a file", subject=str(path))
    fresh = path.with_name(f".{path.name}.new")
    try:
        if _other_than_file(path):
            raise FileError(_ACCESS, f"cannot write {path}: it is no file", subject=str(path))
        fresh.unlink(missing_ok=True)  # left by a kill
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(file.fileno(), mode)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise failed("write", path, error) from error


def _other_than_file(path: Path) -> bool:
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return False


def remove(path: Path) -> None:
    """Delete a file, durably; nothing when it is not there.

    Raises:
        FileError: The system refuses.
    """
    try:
        path.unlink(missing_ok=True)
        if path.parent.is_dir():
            _sync_folder(path.parent)
    except OSError as error:
        raise failed("delete", path, error) from error


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class FolderLock:
    """Holds a data folder for one process; the kernel lets go of it when the process ends, however it ends.

    Args:
        path: The folder; a file `lock` is made in it.

    Raises:
        FileError: Another process holds it, or the system refuses.
    """

    def __init__(self, path: Path) -> None:
        name = path / "lock"
        try:
            self._descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
        except OSError as error:
            raise failed("lock", name, error) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            if error.errno not in {errno.EAGAIN, errno.EACCES}:
                raise failed("lock", name, error) from error
            message = f"the data folder {path} is in use by another process"
            raise FileError(_IN_USE, message, subject=str(path)) from error

    def release(self) -> None:
        """Let others have it."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
