"""The attestor `unix`: who a process runs as, and which program it is.

Read anew at each question. A comparison of the executable and the credentials with what was seen last on
the same connection stands in for a full reading, since then every selector would come out the same, but for
the names of users and groups, which are asked for again after a while.
Only digests of files are kept beyond that: by mount, device, inode, size and change time, and never of a file
that changed less than two seconds ago, because its change time could stay the same through another change.
Where the kernel does not tell mounts apart, none is kept of a file that has no disk under it.
"""

from __future__ import annotations

import asyncio
import errno
import grp
import hashlib
import os
import pwd
import re
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
from finial.runtime.fileid import FileID, file_id, open_file_id
from finial.runtime.workers import Workers

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
_ANOTHER_USER = Reason(
    "unix-user-changed",
    Kind.UNAVAILABLE,
    hint="A connection speaks for the user that opened it: the workload has to connect anew.",
)
_RESTLESS = Reason("unix-process-changing", Kind.UNAVAILABLE, hint="Ask again when the process has settled.")

# The kernel has them below each other, with another line in between; in names it escapes line ends.
_CREDENTIALS = re.compile(rb"^Uid:([^\n]*)\nGid:([^\n]*)\n(?:[^\n]*\n){0,4}?Groups:([^\n]*)$", re.MULTILINE)
_SETTLED = timedelta(seconds=2)
_TRIES = 3
_NAMES_FOR = 30.0  # seconds that the name of a user or group is kept
_MAX_NAMES = 4_096
_MAX_DIGESTS = 4_096
_PIECE = 1 << 20
# A directory service that hangs takes two threads; programs that are hashed, one core each.
_THREADS = 2
_MOST_WAITING = 64  # of the processes of one user


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
    """A process at one moment: its credentials, and its executable where that can be read."""

    credentials: tuple[bytes, ...]
    path: str
    file: FileID | None


@dataclass(frozen=True, slots=True)
class _Answer:
    look: _Look
    selectors: tuple[Selector, ...]
    until: float  # on the monotonic clock: names may be others by then


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
        self._clock = clock
        self._last: WeakKeyDictionary[WorkloadProcess, _Answer] = WeakKeyDictionary()
        workers = Workers("names", threads=_THREADS, most_waiting=_MOST_WAITING)
        self._users = _Names(_user, workers=workers, clock=clock)
        self._groups = _Names(_group, workers=workers, clock=clock)
        self._digests = _Digests(clock)

    async def attest(self, process: WorkloadProcess) -> tuple[Selector, ...]:
        """The selectors of a process as it is now.

        Raises:
            UnixAttestorError: It has ended, cannot be read, has too large an executable, or keeps changing.
        """
        for _ in range(_TRIES):
            look = self._look(process)
            last = self._last.get(process)
            if last is not None and last.look == look and self._clock.monotonic() < last.until:
                return last.selectors
            until = self._clock.monotonic() + _NAMES_FOR
            selectors, lasting = await self._describe(process, look)
            if self._look(process) == look:  # no exec and no setuid while files were read
                if lasting:
                    self._last[process] = _Answer(look, selectors, until)
                return selectors
        raise UnixAttestorError(_RESTLESS, f"process {process.pid} changed at each of {_TRIES} readings")

    def _look(self, process: WorkloadProcess) -> _Look:
        try:
            status = process.read("status")
        except OSError as error:
            raise _failed(process, error) from error
        found = _CREDENTIALS.search(status)
        if found is None:
            raise UnixAttestorError(_UNREADABLE, f"the status of process {process.pid} lacks credentials")
        credentials = found.groups()
        uid, gid, _ = _numbers(credentials)
        if (uid, gid) != (process.uid, process.gid):
            message = (
                f"process {process.pid} connected as user {process.uid} and group {process.gid},"
                f" and is {uid} and {gid} now"
            )
            raise UnixAttestorError(_ANOTHER_USER, message)
        if not self._discover_path:
            return _Look(credentials, "", None)
        try:
            path = os.readlink("exe", dir_fd=process.folder)
            return _Look(credentials, path, file_id("exe", folder=process.folder))
        except OSError as error:
            if error.errno in {errno.EACCES, errno.EPERM}:
                return _Look(credentials, "", None)
            raise _failed(process, error) from error

    async def _describe(self, process: WorkloadProcess, look: _Look) -> tuple[tuple[Selector, ...], bool]:
        """The selectors that a look amounts to, and whether they hold as long as the look is the same."""
        uid, gid, groups = _numbers(look.credentials)
        users = await self._users.of(uid, [uid])
        group_names = await self._groups.of(uid, [gid, *groups])
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

    async def _digest(self, process: WorkloadProcess, file: FileID) -> tuple[str, bool]:
        if 0 < self._size_limit < file.size:
            message = (
                f"the executable of process {process.pid} has {file.size} bytes, at most {self._size_limit}"
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
            return await self._digests.make(process.uid, descriptor, file)
        except OSError as error:
            raise _failed(process, error) from error


class _Names:
    """Names of users or of groups, asked of the system in a thread: a directory service may stand behind.

    Args:
        ask: The name of one; raises KeyError when there is none.
        workers: The threads.
        clock: To know for how long a name is kept.
    """

    def __init__(self, ask: Callable[[int], str], *, workers: Workers, clock: Clock) -> None:
        self._ask = ask
        self._workers = workers
        self._clock = clock
        self._kept: dict[int, tuple[float, str]] = {}
        self._running: dict[int, asyncio.Future[dict[int, str]]] = {}

    async def of(self, owner: int, numbers: Iterable[int]) -> dict[int, str]:
        """Those numbers that have a name, with it.

        Args:
            owner: The user for whose process it is.
            numbers: Of users or of groups.

        Raises:
            BusyError: Too many names are asked for already for this user's processes.
        """
        now = self._clock.monotonic()
        found: dict[int, str] = {}
        missing: list[int] = []
        wanted = set(numbers)
        for number in wanted:
            until, name = self._kept.get(number, (now, ""))
            if until > now:
                found[number] = name
            else:
                missing.append(number)
        if fresh := [number for number in missing if number not in self._running]:
            self._start(owner, fresh)
        for running in {self._running[number] for number in missing}:
            found |= await asyncio.shield(running)  # others wait for it too
        return {number: name for number in wanted if (name := found[number])}

    def _start(self, owner: int, numbers: list[int]) -> None:
        running = self._workers.submit(owner, lambda: _look_up(self._ask, numbers))
        running.add_done_callback(lambda done: self._finished(numbers, done))
        self._running.update(dict.fromkeys(numbers, running))

    def _finished(self, numbers: list[int], done: asyncio.Future[dict[int, str]]) -> None:
        for number in numbers:
            del self._running[number]
        if done.cancelled() or done.exception() is not None:
            return
        if len(self._kept) > _MAX_NAMES:
            self._kept.clear()
        until = self._clock.monotonic() + _NAMES_FOR
        self._kept.update((number, (until, name)) for number, name in done.result().items())


def _user(number: int) -> str:
    return pwd.getpwuid(number).pw_name


def _group(number: int) -> str:
    return grp.getgrgid(number).gr_name


class _Digests:
    """SHA-256 of files, made in threads, each file once at a time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._workers = Workers("digests", threads=_THREADS, most_waiting=_MOST_WAITING)
        self._kept: OrderedDict[FileID, str] = OrderedDict()
        self._running: dict[FileID, asyncio.Future[str]] = {}

    def get(self, file: FileID) -> str | None:
        """The digest of a file that is known."""
        digest = self._kept.get(file)
        if digest is not None:
            self._kept.move_to_end(file)
        return digest

    async def make(self, owner: int, descriptor: int, file: FileID) -> tuple[str, bool]:
        """Hash an open file, which is closed then.

        Args:
            owner: The user for whose process it is.
            descriptor: Of the file.
            file: What it has to be, before and after.

        Returns:
            The digest, and whether it may be kept: the file has been at rest long enough, and no other one
            can be taken for it.

        Raises:
            OSError: It cannot be read, or is another one, or changed meanwhile.
            BusyError: The user has too many programs hashed already.
        """
        lasting = file.unmistakable and self._settled(file)
        running = self._running.get(file)
        if running is None:
            try:
                running = self._workers.submit(owner, lambda: _hash(descriptor, file))
            except FinialError:
                os.close(descriptor)
                raise
            running.add_done_callback(lambda done: self._finished(file, done, keep=lasting))
            self._running[file] = running
        else:
            os.close(descriptor)
        # One caller's end must not end the work that others wait for, nor lose the descriptor.
        return await asyncio.shield(running), lasting

    def _settled(self, file: FileID) -> bool:
        changed = datetime.fromtimestamp(file.changed_ns / 1e9, UTC)
        return self._clock.now() - changed >= _SETTLED

    def _finished(self, file: FileID, done: asyncio.Future[str], *, keep: bool) -> None:
        self._running.pop(file, None)
        if keep and not done.cancelled() and done.exception() is None:
            self._kept[file] = done.result()
            if len(self._kept) > _MAX_DIGESTS:
                self._kept.popitem(last=False)


def _hash(descriptor: int, file: FileID) -> str:
    try:
        if open_file_id(descriptor) != file:
            raise OSError(errno.ESTALE, "the executable is another one by now")
        digest = hashlib.sha256()
        while piece := os.read(descriptor, _PIECE):
            digest.update(piece)
        if open_file_id(descriptor) != file:
            raise OSError(errno.ESTALE, "the executable changed while it was read")
        return digest.hexdigest()
    finally:
        os.close(descriptor)


def _look_up(lookup: Callable[[int], str], numbers: Iterable[int]) -> dict[int, str]:
    found = {}
    for number in numbers:
        try:
            found[number] = lookup(number)
        except (KeyError, OSError):
            found[number] = ""
    return found


def _numbers(credentials: tuple[bytes, ...]) -> tuple[int, int, list[int]]:
    """The effective user, the effective group, and the supplementary groups."""
    users, groups, others = (text.split() for text in credentials)
    return int(users[1]), int(groups[1]), [int(text) for text in others]


def _named(kind: str, names: Mapping[int, str], numbers: Iterable[int]) -> list[str]:
    return [f"{kind}:{names[number]}" for number in numbers if number in names]


def _failed(process: WorkloadProcess, error: OSError) -> UnixAttestorError:
    if error.errno in {errno.ESRCH, errno.ENOENT}:
        return UnixAttestorError(_GONE, f"process {process.pid} has ended")
    why = error.strerror or str(error)
    return UnixAttestorError(_UNREADABLE, f"process {process.pid} cannot be read: {why}")
