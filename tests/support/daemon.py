"""A long-running program with its log kept: waited for by what it says, stopped by its process id."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Self

_PATIENCE = 30.0  # seconds for anything that a test waits for; reached only by a bug
_TAIL = 40  # lines of log that a failure shows
_LINE = 1 << 20


def free_port() -> int:
    """A port of the loopback address that nobody listens on at the moment.

    It is below those that the system gives to whoever connects, so that a server which has been killed finds
    it free again.
    """
    while True:
        port = 10_000 + secrets.randbelow(20_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class Daemon:
    """One run after another of one program; `async with` is the first run.

    Args:
        name: What failures call it.
        command: Program and arguments.
        env: Added to the environment.
        user: Another user to run as, which only root may ask for.
    """

    ready_words: ClassVar[Sequence[str]] = ()
    """What the line contains that says that it is ready."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        user: int | None = None,
    ) -> None:
        self.name = name
        self.command = [str(each) for each in command]
        self.lines: list[str] = []
        self._env = {**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})}
        self._user = user
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._news = asyncio.Condition()

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()  # nobody else will
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start it and wait until it is ready."""
        await self.launch()
        await self.ready()

    async def launch(self) -> None:
        """Start it and wait for nothing."""
        assert self._process is None, f"{self.name} runs already"
        self._first = len(self.lines)
        pipe, null, merged = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL, asyncio.subprocess.STDOUT
        self._process = await asyncio.create_subprocess_exec(
            *self.command, stdin=null, stdout=pipe, stderr=merged, env=self._env, user=self._user, limit=_LINE
        )
        assert self._process.stdout is not None
        self._reader = asyncio.get_running_loop().create_task(self._read(self._process.stdout))

    async def ready(self) -> None:
        """Wait until this run says that it is ready."""
        if self.ready_words:
            await self.line(*self.ready_words, after=self._first)

    async def _read(self, lines: asyncio.StreamReader) -> None:
        while line := await lines.readline():
            async with self._news:
                self.lines.append(line.decode(errors="replace").rstrip("\n"))
                self._news.notify_all()
        async with self._news:
            self._news.notify_all()

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None, f"{self.name} does not run"
        return self._process.pid

    @property
    def _silent(self) -> bool:
        """Whether it says no more."""
        return self._reader is None or self._reader.done()

    async def line(self, *words: str, after: int = 0, patience: float = _PATIENCE) -> int:
        """The number behind that of the first line, from `after` on, with all these words; waits for it."""
        return await self.find(lambda line: all(each in line for each in words), after=after, wait=patience)

    async def find(self, wanted: Callable[[str], bool], *, after: int = 0, wait: float = _PATIENCE) -> int:
        """The number behind that of the first line, from `after` on, that is wanted; waits for it."""
        seen = after
        try:
            async with asyncio.timeout(wait), self._news:
                while True:
                    while seen < len(self.lines):
                        seen += 1
                        if wanted(self.lines[seen - 1]):
                            return seen
                    assert not self._silent, self.explain("has ended without the line that a test waits for")
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(
                self.explain(f"has not said in {wait:.0f} s what a test waits for")
            ) from None

    def explain(self, what: str) -> str:
        """A failure's message: what is wrong, and the end of the log."""
        code = None if self._process is None else self._process.returncode
        state = "running" if code is None else f"ended with {code}"
        return "\n  ".join([f"{self.name} {what} ({state}); its last lines:", *self.lines[-_TAIL:]])

    async def ended(self, patience: float = _PATIENCE) -> int:
        """Wait until it ends by itself; its exit code."""
        assert self._process is not None, f"{self.name} does not run"
        try:
            code = await asyncio.wait_for(self._process.wait(), patience)
        except TimeoutError:
            raise AssertionError(self.explain(f"has not ended in {patience:.0f} s")) from None
        await self._collect()
        return code

    async def stop(self) -> int | None:
        """Ask it to end and see that it does; its exit code, or None if it does not run."""
        if self._process is None:
            return None
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            code = await asyncio.wait_for(self._process.wait(), _PATIENCE)
        except TimeoutError:
            await self.kill()
            raise AssertionError(self.explain("does not end when asked to")) from None
        await self._collect()
        return code

    async def kill(self) -> None:
        """End it without a word, as a power failure would."""
        assert self._process is not None, f"{self.name} does not run"
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)
        await self._process.wait()
        await self._collect()

    async def _collect(self) -> None:
        assert self._reader is not None
        await self._reader
        self._process = None
