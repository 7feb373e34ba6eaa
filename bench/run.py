"""What every measurement shares: options, a folder, the two sides, an end that leaves nothing running."""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.sides import Finial, Side, Spire
from bench.table import Row, show
from interop.peers import PeerMissingError, build
from support.site import ServerDaemon

_ROOT = Path(__file__).parents[1]


@dataclass
class Bench:
    """Where it all happens.

    Args:
        folder: For what the processes keep.
        sides: What is measured; SPIRE's first where it is here.
        quick: Whether only to show that everything runs.
    """

    folder: Path
    sides: tuple[Side, ...]
    quick: bool = False
    _places: int = field(default=0, init=False)

    @property
    def ours(self) -> Finial:
        """Our side."""
        return Finial()

    def place(self) -> Path:
        """A new folder; its path is short enough for sockets."""
        self._places += 1
        path = self.folder / str(self._places)
        path.mkdir()
        return path

    @asynccontextmanager
    async def server(self, side: Side) -> AsyncIterator[ServerDaemon]:
        """A running server with an empty database."""
        async with side.server(self.place()) as server:
            yield server

    @staticmethod
    def say(text: str) -> None:
        """Tell whoever waits how far it is."""
        print(f"  {text}", file=sys.stderr, flush=True)


Measure = Callable[[Bench], Coroutine[Any, Any, list[Row]]]


def _sides(only: str) -> tuple[Side, ...]:
    if only == "ours":
        return (Finial(),)
    try:
        spire = Spire(build("spire_server"), build("spire_agent"))
    except PeerMissingError as error:
        print(f"SPIRE is not here, so that there is nothing to compare with: {error}")
        return (Finial(),)
    return (spire,) if only == "spire" else (spire, Finial())


def _raise_descriptors() -> int:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def add_to_path(folder: Path) -> None:
    """Let processes that are started from now on find what is in a folder."""
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)


async def _until_told(work: Coroutine[Any, Any, list[Row]]) -> list[Row]:
    """Do the work; a signal to end it lets every block in it clean up."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        return await task
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


def run(measure: Measure, about: str | None) -> None:
    """Measure, print the rows and end.

    Args:
        measure: What is to be done.
        about: What `--help` says.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a little of everything: shows that it runs")
    parser.add_argument("--only", choices=["ours", "spire"], default="", help="one side alone")
    options = parser.parse_args()
    files, load = _raise_descriptors(), os.getloadavg()[0]
    os.chdir(_ROOT)
    # The programs of this checkout, whatever is installed.
    add_to_path(_ROOT / "src")
    with tempfile.TemporaryDirectory(prefix="finial-") as folder:
        Path(folder).chmod(0o755)  # some workloads are other users
        bench = Bench(Path(folder), _sides(options.only), options.quick)
        try:
            rows = asyncio.run(_until_told(measure(bench)))
        except asyncio.CancelledError:
            raise SystemExit("told to end before it was done") from None
    cores = f"{os.cpu_count()} CPUs, shared with who measures"
    loads = f"load average {load:.1f} before, {os.getloadavg()[0]:.1f} after"
    print(f"{cores} ({loads}); RLIMIT_NOFILE {files}; Python {sys.version.split()[0]}")
    show(rows)
