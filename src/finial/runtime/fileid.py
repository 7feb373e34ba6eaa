"""Which state of which file: what has to be the same for a file to hold the same bytes.

Device and inode alone do not say it. An unprivileged user may mount file systems in a namespace of his own;
when one is unmounted the next one gets its device number, counts its inodes from the same start, and holds a
file that was changed in the same tick of the clock. Since Linux 6.8 the kernel gives mounts numbers that are
never used again.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from functools import cache
from typing import Any, NamedTuple

_AT_EMPTY_PATH = 0x1000
_BASIC, _MOUNT_FOR_EVER = 0x07FF, 0x4000  # STATX_BASIC_STATS, STATX_MNT_ID_UNIQUE
# struct statx: mask; inode, size; change time; device, mount. The rest is passed over.
_STATX = struct.Struct("=I28xQQ48xqI28xIIQ")
_STATX_BYTES = 256
_INODE, _SIZE, _SECONDS, _NANOSECONDS, _MAJOR, _MINOR, _MOUNT = range(1, 8)


class FileID(NamedTuple):
    """A file in one state.

    Args:
        mount: Number of the mount, never used again; 0 where the kernel gives none.
        device: Number of the device.
        inode: On the device.
        size: In bytes.
        changed_ns: When it was last changed, in nanoseconds since 1970, by the kernel's clock.
    """

    mount: int
    device: int
    inode: int
    size: int
    changed_ns: int

    @property
    def unmistakable(self) -> bool:
        """Whether no file on another device, mounted later, can have the same."""
        return bool(self.mount) or os.major(self.device) != 0  # 0 is the major number of all without a disk


def file_id(name: str, *, folder: int) -> FileID:
    """The file that a name leads to.

    Args:
        name: Relative to the folder; links are followed.
        folder: Descriptor of a folder.

    Raises:
        OSError: The system refuses.
    """
    return _statx(folder, name.encode(), 0) or _plain(os.stat(name, dir_fd=folder))


def open_file_id(descriptor: int) -> FileID:
    """The file that is open; raises as `file_id`."""
    return _statx(descriptor, b"", _AT_EMPTY_PATH) or _plain(os.fstat(descriptor))


def _plain(status: os.stat_result) -> FileID:
    return FileID(0, status.st_dev, status.st_ino, status.st_size, status.st_ctime_ns)


@cache
def _function() -> Any:  # noqa: ANN401 - what ctypes makes
    function = getattr(ctypes.CDLL(None, use_errno=True), "statx", None)  # absent from older C libraries
    if function is not None:
        number, text = ctypes.c_int, ctypes.c_char_p
        function.argtypes = (number, text, number, ctypes.c_uint, ctypes.c_char_p)
    return function


def _statx(folder: int, name: bytes, flags: int) -> FileID | None:
    """What statx says; None where there is no such call."""
    function = _function()
    if function is None:
        return None
    buffer = ctypes.create_string_buffer(_STATX_BYTES)
    if function(folder, name, flags, _BASIC | _MOUNT_FOR_EVER, buffer):
        number = ctypes.get_errno()
        if number in {errno.ENOSYS, errno.EPERM}:  # the kernel, or a filter of system calls, has none
            return None
        raise OSError(number, os.strerror(number))
    told = _STATX.unpack_from(buffer)
    return FileID(
        mount=told[_MOUNT] if told[0] & _MOUNT_FOR_EVER else 0,
        device=os.makedev(told[_MAJOR], told[_MINOR]),
        inode=told[_INODE],
        size=told[_SIZE],
        changed_ns=told[_SECONDS] * 10**9 + told[_NANOSECONDS],
    )
