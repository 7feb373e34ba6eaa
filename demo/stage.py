"""The processes of the demonstration: started in a folder of their own, listened to, always ended."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

PATIENCE: Final = 30.0
"""Seconds for anything that has to happen; reached only when something is wrong."""
_FAREWELL: Final = 10.0
_TAIL: Final = 12
_LINE: Final = 1 << 20
FINIAL: Final = (sys.executable, "-m", "finial.cli.main")


class StoryError(Exception):
    """Something did not happen as it is told.

    Args:
        what: What should have happened.
        evidence: What was seen instead; may be empty.
    """

    def __init__(self, what: str, evidence: str = "") -> None:
        super().__init__(what)
        self.evidence = evidence


def expect(condition: bool, what: str, evidence: str = "") -> None:
    """Go on when something is as it is told; StoryError otherwise."""
    if not condition:
        raise StoryError(what, evidence)


class Event:
    """Something that a workload reports.

    Args:
        values: All text; `event` is its kind.
    """

    def __init__(self, values: Mapping[str, str]) -> None:
        self.kind = values.get("event", "")
        self._values = values

    def __getitem__(self, name: str) -> str:
        return self._values.get(name, "")


class Process:
    """A running child.

    Args:
        name: What the reader knows it by.
        process: The child; its output and errors come in one stream.
    """

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self._process = process
        self._lines: list[str] = []
        self._seen = 0  # lines that have been waited for
        self._news = asyncio.Condition()
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            async with self._news:
                self._lines.append(line.decode(errors="replace").rstrip("\n"))
                self._news.notify_all()
        async with self._news:
            self._news.notify_all()

    async def line(self, words: str) -> str:
        """The next line, behind the last one that was waited for, with these words."""
        found: list[str] = []

        def wanted(line: str) -> bool:
            found[:] = [line]
            return words in line

        await self._next(wanted, words)
        return found[0]

    async def event(self, kind: str, **values: str) -> Event:
        """The next event of a kind, behind the last one that was waited for, with these values."""
        found: list[Event] = []

        def wanted(line: str) -> bool:
            event = _event(line)
            if event is None or event.kind != kind:
                return False
            found[:] = [event]
            return all(event[name] == value for name, value in values.items())

        await self._next(wanted, f"event {kind} {values or ''}")
        return found[0]

    async def _next(self, wanted: Callable[[str], bool], what: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE), self._news:
                while True:
                    while self._seen < len(self._lines):
                        self._seen += 1
                        if wanted(self._lines[self._seen - 1]):
                            return
                    expect(not self._reader.done(), f"{self.name} ended before it said: {what}")
                    await self._news.wait()
        except TimeoutError:
            raise StoryError(f"{self.name} did not say in {PATIENCE:.0f} s: {what}") from None

    async def tell(self, **command: str) -> None:
        """Give a workload something to do."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{json.dumps(command)}\n".encode())
        with suppress(ConnectionError):  # whoever waits for the answer will see that it has ended
            await self._process.stdin.drain()

    async def feed(self, text: str) -> None:
        """Write all of its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(text.encode())
        self._process.stdin.close()
        with suppress(ConnectionError):
            await self._process.stdin.wait_closed()

    async def ended(self) -> int:
        """Wait until it ends by itself; its exit code."""
        try:
            code = await asyncio.wait_for(self._process.wait(), PATIENCE)
        except TimeoutError:
            raise StoryError(f"{self.name} did not end in {PATIENCE:.0f} s") from None
        await self._reader
        return code

    async def end(self) -> None:
        """End it, in order if it can."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), _FAREWELL)
            except TimeoutError:
                with suppress(ProcessLookupError):
                    self._process.send_signal(signal.SIGKILL)
                await self._process.wait()
        await self._reader

    def evidence(self) -> str:
        """Its state and the end of what it said."""
        code = self._process.returncode
        state = "running" if code is None else f"ended with {code}"
        return "\n".join([f"{self.name} ({state}), its last lines:", *self._lines[-_TAIL:]])


class Stage:
    """A temporary folder and the processes in it; leaving the block ends and removes all of it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="finial-demo-"))
        self._processes: list[Process] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ending = asyncio.ensure_future(self._end())
        while not ending.done():
            with suppress(asyncio.CancelledError):  # impatience must not leave processes behind
                await asyncio.shield(ending)
        ending.result()

    async def _end(self) -> None:
        try:
            # The youngest first: nobody misses anybody.
            for process in reversed(self._processes):
                await process.end()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    async def start(
        self, name: str, words: Sequence[str | Path], *, environ: Mapping[str, str] | None = None
    ) -> Process:
        """Start a process in the folder, in a session of its own: Ctrl-C is for us, and we end it."""
        try:
            child = await asyncio.create_subprocess_exec(
                *map(str, words),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                cwd=self.folder,
                env={**environment(), **(environ or {})},
                start_new_session=True,
                limit=_LINE,
            )
        except OSError as error:
            where = f"{error}; programs have to be allowed in {self.folder.parent}: set TMPDIR otherwise"
            raise StoryError(f"{name} has to start", where) from error
        process = Process(name, child)
        self._processes.append(process)
        return process

    async def run(self, words: Sequence[str]) -> tuple[str, str]:
        """Run a `finial` command to its end; what it wrote to standard output, and to standard error.

        Args:
            words: Behind `finial`.
        """
        child = await asyncio.create_subprocess_exec(
            *FINIAL,
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=self.folder,
            env=environment(),
            start_new_session=True,
        )
        try:
            out, err = await asyncio.wait_for(child.communicate(), PATIENCE)
        except TimeoutError:
            raise StoryError(f"finial {' '.join(words)} did not end in {PATIENCE:.0f} s") from None
        finally:
            if child.returncode is None:
                with suppress(ProcessLookupError):
                    child.kill()
                await child.wait()
        evidence = err.decode(errors="replace")
        expect(child.returncode == 0, f"finial {' '.join(words)} has to succeed", evidence)
        return out.decode(), evidence

    def evidence(self) -> str:
        """What all processes said last."""
        return "\n\n".join(process.evidence() for process in self._processes)


def environment() -> dict[str, str]:
    """The environment of all children: they import what this process imports, wherever they start."""
    kept = {name: value for name, value in os.environ.items() if name != "SPIFFE_ENDPOINT_SOCKET"}
    path = os.pathsep.join(str(Path(each).absolute()) for each in sys.path if each)
    return {**kept, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


def _event(line: str) -> Event | None:
    if not line.startswith("{"):
        return None
    try:
        values = json.loads(line)
    except ValueError:
        return None
    return Event(values) if isinstance(values, dict) and "event" in values else None
