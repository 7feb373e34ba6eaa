"""A peer process that takes orders: one JSON line in, one JSON line out."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, Self

_PATIENCE = 30.0  # seconds for any answer, and for its start and its end
_LINE = 1 << 20

Answer = dict[str, Any]


class PeerProcess:
    """A running peer. It ends when its standard input is closed, so a failed test leaves none behind.

    Args:
        command: Program and arguments.
        hello: Whether it prints one line when it is ready.
        patience: Seconds for any answer.
    """

    def __init__(self, *command: str | Path, hello: bool = False, patience: float = _PATIENCE) -> None:
        self._command = command
        self._wants_hello = hello
        self._patience = patience
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._answers: dict[int, asyncio.Future[Answer]] = {}
        self._last = 0
        self.hello: Answer = {}

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=_LINE
        )
        assert self._process.stdout is not None
        if self._wants_hello:
            line = await asyncio.wait_for(self._process.stdout.readline(), _PATIENCE)
            assert line, f"{self._command[0]} ended before it was ready"
            self.hello = json.loads(line)
        self._reader = asyncio.get_running_loop().create_task(self._read(self._process.stdout))
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._reader is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), _PATIENCE)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._reader

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        assert self._process is not None
        return self._process.returncode is None

    async def _read(self, lines: asyncio.StreamReader) -> None:
        while line := await lines.readline():
            answer = json.loads(line)
            waiter = self._answers.pop(answer["id"], None)
            if waiter is not None and not waiter.done():
                waiter.set_result(answer)
        for waiter in self._answers.values():
            if not waiter.done():
                waiter.set_exception(ConnectionError("the peer process has ended"))

    async def order(self, op: str, **fields: Any) -> Answer:
        """Give an order and wait for its answer; an `error` in it fails the test."""
        answer = await self.attempt(op, **fields)
        assert "error" not in answer, answer["error"]
        return answer

    async def attempt(self, op: str, **fields: Any) -> Answer:
        """Give an order and wait for its answer, whatever it says."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._last += 1
        waiter: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._answers[self._last] = waiter
        self._process.stdin.write(json.dumps({"id": self._last, "op": op, **fields}).encode() + b"\n")
        return await asyncio.wait_for(waiter, self._patience)
