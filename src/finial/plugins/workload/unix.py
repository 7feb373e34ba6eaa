"""The attestor `unix`: who a process runs as, and which program it is.

Read anew at each question. A comparison of the executable and the credentials with what was seen last on
the same connection stands in for a full reading, since then every selector would come out the same.
Only digests of files are kept beyond that: by device, inode, size and change time, and never of a file that
changed less than two seconds ago, because its change time could stay the same through another change.
"""

from __future__ import annotations

import asyncio
import errno
import grp
import hashlib
import os
import pwd
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from weakref import WeakKeyDictionary

from finial.core.errors import FinialError, Kind, Reason, shown
from finial.core.selectors import Selector
from finial.plugin.catalog import PluginContext
from finial.plugin.workload import WorkloadProcess
from finial.runtime.clock import Clock

TYPE = "unix"
DEFAULT_SIZE_LIMIT = 256 << 20

_GONE = Reason("unix-process-gone", Kind.UNAVAILABLE)
_UNREADABLE = Reason(
    "unix-unreadable", Kind.UNAVAILABLE, hint="Run the agent with the right to read other users' processes."
)
_LARGE = Reason(
    "unix-executable-large",
    Kind.LIMIT,
    hint="Raise the size limit of the unix attestor, or set it to -1 to go without the digest.",
)
_SETTING = Reason(
    "unix-setting",
    Kind.INVALID,
    hint="The unix attestor takes discover_workload_path (true or false) and workload_size_limit (bytes).",
)
_RESTLESS = Reason("unix-process-changing", Kind.UNAVAILABLE, hint="Ask again when the process has settled.")

_SETTLED = timedelta(seconds=2)
_TRIES = 3
_NAMES_FOR = 30.0  # seconds that the name of a user or group is kept
_MAX_NAMES = 4_096
_MAX_DIGESTS = 4_096
_PIECE = 1 << 20

_File = tuple[int, int, int, int]  # device, inode, size, change time in nanoseconds


class UnixAttestorError(FinialError):
    """A process cannot be attested, or a setting is not what it should be."""


def create(settings: Mapping[str, object], context: PluginContext) -> UnixAttestor:
    """The attestor, from its settings under the names that SPIRE gives them.

    Args:
        settings: `discover_workload_path`, on by default, and `workload_size_limit`, 256 MiB by default.
        context: What every plugin is given.

    Raises:
        UnixAttestorError: A setting is unknown or of the wrong type.
    """
    unknown = settings.keys() - {"discover_workload_path", "workload_size_limit"}
    if unknown:
        raise UnixAttestorError(_SETTING, f"unknown setting {shown(min(unknown))}")
    discover_path = settings.get("discover_workload_path", True)
    if not isinstance(discover_path, bool):
        raise UnixAttestorError(_SETTING, "discover_workload_path is neither true nor false")
    size_limit = settings.get("workload_size_limit", DEFAULT_SIZE_LIMIT)
    if not isinstance(size_limit, int) or isinstance(size_limit, bool):
        raise UnixAttestorError(_SETTING, "workload_size_limit is no whole number")
    return UnixAttestor(discover_path=discover_path, size_limit=size_limit, clock=context.clock)


@dataclass(frozen=True, slots=True)
class _Look:
    """A process at one moment: the lines of its credentials, and its executable where that can be read."""

    credentials: tuple[bytes, ...]
    path: str
    file: _File | None


@dataclass(frozen=True, slots=True)
class _Answer:
    look: _Look
    selectors: tuple[Selector, ...]


class UnixAttestor:
    """Selectors of the type `unix`.

    Args:
        discover_path: Whether to give `path` and `sha256`. Where the executable cannot be read, for want of
            rights, both are left out, which can only make fewer entries match.
        size_limit: Bytes of the largest executable that is hashed, 0 for any; below 0 none is hashed. A
            larger one fails the attestation.
        clock: To know how old a change is.
    """

    def __init__(self, *, discover_path: bool, size_limit: int, clock: Clock) -> None:
        self._discover_path = discover_path
        self._size_limit = size_limit
        self._last: WeakKeyDictionary[WorkloadProcess, _Answer] = WeakKeyDictionary()
        self._names = _Names(clock)
        self._digests = _Digests(clock)

    async def attest(self, process: WorkloadProcess) -> tuple[Selector, ...]:
        """The selectors of a process as it is now.

        Raises:
            UnixAttestorError: It has ended, cannot be read, has too large an executable, or keeps changing.
        """
        for _ in range(_TRIES):
            look = self._look(process)
            last = self._last.get(process)
            if last is not None and last.look == look:
                return last.selectors
            selectors, lasting = await self._describe(process, look)
            if self._look(process) == look:  # no exec and no setuid while files were read
                if lasting:
                    self._last[process] = _Answer(look, selectors)
                return selectors
        raise UnixAttestorError(_RESTLESS, f"process {process.pid} changed at each of {_TRIES} readings")

    def _look(self, process: WorkloadProcess) -> _Look:
        try:
            status = process.read("status")
        except OSError as error:
            raise _failed(process, error) from error
        credentials = tuple(
            line for line in status.split(b"\n") if line.startswith((b"Uid:", b"Gid:", b"Groups:"))
        )
        if len(credentials) != 3:
            raise UnixAttestorError(_UNREADABLE, f"the status of process {process.pid} lacks credentials")
        if not self._discover_path:
            return _Look(credentials, "", None)
        try:
            path = os.readlink("exe", dir_fd=process.folder)
            return _Look(credentials, path, _file(os.stat("exe", dir_fd=process.folder)))
        except OSError as error:
            if error.errno in {errno.EACCES, errno.EPERM}:
                return _Look(credentials, "", None)
            raise _failed(process, error) from error

    async def _describe(self, process: WorkloadProcess, look: _Look) -> tuple[tuple[Selector, ...], bool]:
        """The selectors that a look amounts to, and whether they hold as long as the look is the same."""
        uid, gid, groups = _numbers(look.credentials)
        users, group_names = await self._names.of([uid], [gid, *groups])
        values = [f"uid:{uid}", *_named("user", users, [uid])]
        values += [f"gid:{gid}", *_named("group", group_names, [gid])]
        values += [f"supplementary_gid:{number}" for number in groups]
        values += _named("supplementary_group", group_names, groups)
        lasting = True
        if look.path:
            values.append(f"path:{look.path}")
        if look.file is not None and self._size_limit >= 0:
            digest, lasting = await self._digest(process, look.file)
            values += [f"sha256:{digest}"] if digest else []
        return tuple(Selector(TYPE, value) for value in values), lasting

    async def _digest(self, process: WorkloadProcess, file: _File) -> tuple[str, bool]:
        size = file[2]
        if 0 < self._size_limit < size:
            message = (
                f"the executable of process {process.pid} has {size} bytes, at most {self._size_limit}"
                " are hashed"
            )
            raise UnixAttestorError(_LARGE, message)
        known = self._digests.get(file)
        if known is not None:
            return known, True
        try:
            descriptor = os.open("exe", os.O_RDONLY | os.O_CLOEXEC, dir_fd=process.folder)
        except OSError as error:
            if error.errno in {errno.EACCES, errno.EPERM}:
                return "", True  # it may be run and not read
            raise _failed(process, error) from error
        try:
            return await self._digests.make(descriptor, file)
        except OSError as error:
            raise _failed(process, error) from error


class _Names:
    """Names of users and groups, asked of the system in a thread: a directory service may stand behind."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._users: dict[int, tuple[float, str]] = {}
        self._groups: dict[int, tuple[float, str]] = {}

    async def of(self, uids: Iterable[int], gids: Iterable[int]) -> tuple[dict[int, str], dict[int, str]]:
        """Those numbers that have a name, with it."""
        users = await self._find(self._users, uids, lambda number: pwd.getpwuid(number).pw_name)
        groups = await self._find(self._groups, gids, lambda number: grp.getgrgid(number).gr_name)
        return users, groups

    async def _find(
        self, kept: dict[int, tuple[float, str]], numbers: Iterable[int], lookup: Callable[[int], str]
    ) -> dict[int, str]:
        now = self._clock.monotonic()
        wanted = set(numbers)
        missing = [number for number in wanted if number not in kept or kept[number][0] <= now]
        found = {number: kept[number][1] for number in wanted.difference(missing)}
        if missing:
            if len(kept) > _MAX_NAMES:
                kept.clear()
            for number, name in (await asyncio.to_thread(_look_up, lookup, missing)).items():
                kept[number] = (now + _NAMES_FOR, name)
                found[number] = name
        return {number: name for number, name in found.items() if name}


class _Digests:
    """SHA-256 of files, made in threads, each file once at a time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: OrderedDict[_File, str] = OrderedDict()
        self._running: dict[_File, asyncio.Future[str]] = {}

    def get(self, file: _File) -> str | None:
        """The digest of a file that is known."""
        digest = self._kept.get(file)
        if digest is not None:
            self._kept.move_to_end(file)
        return digest

    async def make(self, descriptor: int, file: _File) -> tuple[str, bool]:
        """Hash an open file, which is closed then.

        Args:
            descriptor: Of the file.
            file: What it has to be, before and after.

        Returns:
            The digest, and whether the file has been at rest long enough for it to be kept.

        Raises:
            OSError: It cannot be read, or is another one, or changed meanwhile.
        """
        settled = self._settled(file)
        running = self._running.get(file)
        if running is None:
            running = asyncio.get_running_loop().run_in_executor(None, _hash, descriptor, file)
            running.add_done_callback(lambda done: self._finished(file, done, keep=settled))
            self._running[file] = running
        else:
            os.close(descriptor)
        # One caller's end must not end the work that others wait for, nor lose the descriptor.
        return await asyncio.shield(running), settled

    def _settled(self, file: _File) -> bool:
        changed = datetime.fromtimestamp(file[3] / 1e9, UTC)
        return self._clock.now() - changed >= _SETTLED

    def _finished(self, file: _File, done: asyncio.Future[str], *, keep: bool) -> None:
        self._running.pop(file, None)
        if keep and not done.cancelled() and done.exception() is None:
            self._kept[file] = done.result()
            if len(self._kept) > _MAX_DIGESTS:
                self._kept.popitem(last=False)


def _hash(descriptor: int, file: _File) -> str:
    try:
        if _file(os.fstat(descriptor)) != file:
            raise OSError(errno.ESTALE, "the executable is another one by now")
        digest = hashlib.sha256()
        while piece := os.read(descriptor, _PIECE):
            digest.update(piece)
        if _file(os.fstat(descriptor)) != file:
            raise OSError(errno.ESTALE, "the executable changed while it was read")
        return digest.hexdigest()
    finally:
        os.close(descriptor)


def _file(status: os.stat_result) -> _File:
    return status.st_dev, status.st_ino, status.st_size, status.st_ctime_ns


def _look_up(lookup: Callable[[int], str], numbers: Iterable[int]) -> dict[int, str]:
    found = {}
    for number in numbers:
        try:
            found[number] = lookup(number)
        except KeyError:
            found[number] = ""
    return found


def _numbers(credentials: tuple[bytes, ...]) -> tuple[int, int, list[int]]:
    """The effective user, the effective group, and the supplementary groups."""
    fields = {line.partition(b":")[0]: line.partition(b":")[2].split() for line in credentials}
    return int(fields[b"Uid"][1]), int(fields[b"Gid"][1]), [int(text) for text in fields[b"Groups"]]


def _named(kind: str, names: Mapping[int, str], numbers: Iterable[int]) -> list[str]:
    return [f"{kind}:{names[number]}" for number in numbers if number in names]


def _failed(process: WorkloadProcess, error: OSError) -> UnixAttestorError:
    if error.errno in {errno.ESRCH, errno.ENOENT}:
        return UnixAttestorError(_GONE, f"process {process.pid} has ended")
    why = error.strerror or str(error)
    return UnixAttestorError(_UNREADABLE, f"process {process.pid} cannot be read: {why}")
