"""The agent that `bench.streams` measures: the real one, whose event loop tells how long its turns take."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from finial.agent import app
from finial.agent.config import AgentSettings
from finial.rpc import Tcp
from finial.runtime.chance import SystemChance
from finial.runtime.clock import SystemClock


class Turns:
    """How long the loop works between two looks at its sockets. Made on the loop that it watches.

    That is as long as anything else has to wait. Beside it the CPU time, which other processes on the machine
    do not lengthen, and the pauses of the garbage collector, which are part of it. It costs nothing while the
    loop sleeps.
    """

    def __init__(self) -> None:
        loop: Any = asyncio.get_running_loop()
        selector = loop._selector  # noqa: SLF001 - asyncio tells nobody when a turn begins
        select = selector.select
        self._begun, self._cpu = time.perf_counter(), time.thread_time()
        self._figures: dict[str, float] = {}
        self._collecting = 0.0
        gc.callbacks.append(self._collected)

        def timed(timeout: float | None = None) -> list[Any]:
            took = (time.perf_counter() - self._begun) * 1e3
            self._most("turn_ms", took)
            self._most("turn_cpu_ms", (time.thread_time() - self._cpu) * 1e3)
            self._figures["over_5_ms"] = self._figures.get("over_5_ms", 0) + (took > 5)
            found: list[Any] = select(timeout)
            self._begun, self._cpu = time.perf_counter(), time.thread_time()
            return found

        selector.select = timed

    def take(self) -> dict[str, float]:
        """The longest ones since the last call, and how many took more than five milliseconds."""
        zero = dict.fromkeys(("turn_ms", "turn_cpu_ms", "collection_ms", "over_5_ms"), 0.0)
        found, self._figures = {**zero, **self._figures}, {}
        return found

    def _most(self, name: str, value: float) -> None:
        self._figures[name] = max(self._figures.get(name, 0.0), value)

    def _collected(self, phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            self._collecting = time.thread_time()
        else:
            self._most("collection_ms", (time.thread_time() - self._collecting) * 1e3)


async def _serve(settings: AgentSettings) -> None:
    turns, stop = Turns(), asyncio.Event()

    def ready(running: app.Running) -> None:
        print(json.dumps({"socket": running.socket.path}), flush=True)

    running = asyncio.ensure_future(
        app.run(settings, clock=SystemClock(), chance=SystemChance(), stop=stop, ready=ready)
    )
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(orders), sys.stdin
    )
    while line := await orders.readline():
        order = json.loads(line)
        found = turns.take()
        if order["op"] == "collect":
            gc.collect()
            turns.take()
        print(json.dumps({"id": order["id"], **found}), flush=True)
        if running.done():
            break
    stop.set()
    await running


def main() -> None:
    """Run the agent until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", required=True, help="HOST:PORT")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--token", required=True)
    options = parser.parse_args()
    host, _, port = options.server.rpartition(":")
    settings = AgentSettings(
        server=Tcp(host, int(port)),
        trust_bundle=options.bundle,
        join_token=options.token,
        data_dir=options.folder / "data",
        socket=options.folder / "agent.sock",
        log_level="warning",
        shutdown_grace=timedelta(seconds=1),
    )
    os.umask(0o022)
    asyncio.run(_serve(settings))


if __name__ == "__main__":
    main()
