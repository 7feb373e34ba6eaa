from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from finial.runtime.workers import BusyError, Workers

PATIENCE = 20.0  # seconds


class Gate:
    """Work that waits until it is let go."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self.done: list[str] = []

    def work(self, name: str) -> Callable[[], str]:
        def call() -> str:
            assert self._open.wait(PATIENCE)
            self.done.append(name)
            return name

        return call

    def open(self) -> None:
        self._open.set()


def test_results_and_errors_come_back() -> None:
    async def main() -> None:
        workers = Workers("test", threads=2, most_waiting=9)
        assert await workers.submit("a", lambda: threading.current_thread().daemon) is True
        with pytest.raises(ZeroDivisionError):
            await workers.submit("a", lambda: 1 // 0)

    asyncio.run(main())


def test_owners_take_turns() -> None:
    async def main() -> None:
        workers, gate = Workers("test", threads=1, most_waiting=9), Gate()
        first = workers.submit("greedy", gate.work("g0"))
        later = [workers.submit("greedy", gate.work(f"g{number}")) for number in range(1, 4)]
        later += [workers.submit("modest", gate.work("m"))]
        gate.open()
        await asyncio.gather(first, *later)
        assert gate.done.index("m") <= 2

    asyncio.run(main())


def test_what_waits_is_bounded_for_each_owner_alone() -> None:
    async def main() -> None:
        workers, gate = Workers("test", threads=1, most_waiting=2), Gate()
        began = threading.Event()

        def begin() -> str:
            began.set()
            return gate.work("first")()

        jobs = [workers.submit("greedy", begin)]
        assert began.wait(PATIENCE)
        jobs += [workers.submit("greedy", gate.work(name)) for name in ("second", "third")]
        with pytest.raises(BusyError, match=r"2 calls wait already \(test\)"):
            workers.submit("greedy", gate.work("fourth"))
        jobs.append(workers.submit("modest", gate.work("modest")))
        gate.open()
        await asyncio.gather(*jobs)
        assert sorted(gate.done) == ["first", "modest", "second", "third"]

    asyncio.run(main())


def test_a_call_is_made_also_when_nobody_waits_any_more() -> None:
    async def main() -> None:
        workers, gate = Workers("test", threads=1, most_waiting=2), Gate()
        given_up = workers.submit("a", gate.work("given up"))
        given_up.cancel()
        after = workers.submit("a", gate.work("after"))
        gate.open()
        assert await after == "after"
        assert gate.done == ["given up", "after"]

    asyncio.run(main())


def test_a_system_without_threads_is_told_and_nothing_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        workers, gate = Workers("test", threads=2, most_waiting=2), Gate()
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refused)
            with pytest.raises(BusyError, match="grants no thread"):
                workers.submit("a", gate.work("refused"))
        first = workers.submit("a", gate.work("first"))
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refused)
            second = workers.submit("a", gate.work("second"))  # the one thread will come to it
        gate.open()
        assert list(await asyncio.gather(first, second)) == ["first", "second"]

    asyncio.run(main())


_HANGS = """
import asyncio, threading
from finial.runtime.workers import Workers

async def main() -> None:
    begun = threading.Event()
    def call() -> None:
        begun.set()
        threading.Event().wait()
    Workers("test", threads=1, most_waiting=1).submit("a", call)
    begun.wait()

asyncio.run(main())
"""


def test_a_call_that_never_returns_holds_no_process_up() -> None:
    done = subprocess.run([sys.executable, "-c", _HANGS], timeout=PATIENCE, check=False, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
