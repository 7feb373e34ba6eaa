"""What a call, a connection and an idle stream cost our server, beside grpc-go's in the same run.

Every server is a process of its own, and one Go program loads them all. Counted is the CPU time of the server
process alone (user and system, from the kernel's books), so the load generator's speed does not matter, and
the growth of its resident memory. The servers take turns in each run; shown are medians over the runs, and
the medians of the ratios to grpc-go in the same run, which other load on the machine disturbs less.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from interop.peers import build
from support.interop_certs import CLIENT_ID, PKI, SERVER_ID
from support.interop_process import PeerProcess

_ROOT = Path(__file__).parents[1]
_TICK = os.sysconf("SC_CLK_TCK")
_WARM_UP = 2000
_DESCRIPTORS = 500  # beside one for each idle connection, on either side

METRICS = ("16 in flight", "64 in flight", "connection", "KiB idle")
FLOORS = {"16 in flight": 1.5, "64 in flight": 1.5, "connection": 1.5, "KiB idle": 1.0}
"""How many times grpc-go's cost `JUDGED` may have."""
JUDGED = "finial, ngh2"


@dataclass(frozen=True)
class Subject:
    """One server under measurement.

    Args:
        name: For the table.
        command: Program and arguments; the address is added.
        method: The unary method that is called.
        secure: Whether over mTLS, else over a Unix socket.
        slow: Makes a tenth of the calls do.
    """

    name: str
    command: tuple[str, ...]
    method: str = "Unary"
    secure: bool = False
    slow: bool = False

    @property
    def yardstick(self) -> str:
        """Whose figures it is compared with."""
        return "grpc-go, mTLS" if self.secure else "grpc-go"


@dataclass(frozen=True)
class Amounts:
    """How much load is put on for each figure."""

    runs: int
    calls: int
    connections: int
    idle: int


@dataclass
class Bench:
    """Where it all happens."""

    go: Path
    pki: PKI
    folder: Path
    amounts: Amounts

    def subjects(self) -> list[Subject]:
        """Every server that can be had here."""
        ours = (sys.executable, "-m", "bench.server")
        go = (str(self.go), "serve")
        ngh2 = (*ours, "--engine", "ngh2")
        found = [
            Subject("grpc-go", go),
            Subject(JUDGED, ngh2, "Plain"),
            Subject("finial, ngh2, async def", ngh2),
            Subject("finial, h2", (*ours, "--engine", "h2"), "Plain", slow=True),
            Subject("grpc-go, mTLS", go, secure=True),
            Subject("finial, ngh2, mTLS", ngh2, "Plain", secure=True),
            Subject("finial, h2, mTLS", (*ours, "--engine", "h2"), "Plain", secure=True, slow=True),
        ]
        if find_spec("uvloop"):
            found.insert(2, Subject("finial, ngh2, uvloop", (*ngh2, "--loop", "uvloop"), "Plain"))
        return found

    @asynccontextmanager
    async def running(self, subject: Subject) -> AsyncIterator[tuple[PeerProcess, PeerProcess]]:
        """A fresh server and the load generator, connected to it."""
        dash = "-" if subject.name.startswith("grpc-go") else "--"
        listen = "127.0.0.1:0" if subject.secure else f"unix:{tempfile.mkdtemp(dir=self.folder)}/s"
        command = [*subject.command, f"{dash}listen", listen]
        load = [str(self.go), "load", "-method", subject.method]
        if subject.secure:
            command += [f"{dash}tls", json.dumps(self.pki.go_tls(self.pki.server, CLIENT_ID))]
            load += ["-tls", json.dumps(self.pki.go_tls(self.pki.client, SERVER_ID))]
        async with PeerProcess(*command, hello=True) as server:
            address = str(server.hello["address"])
            target = address if subject.secure or address.startswith("unix:") else f"unix:{address}"
            async with PeerProcess(*load, "-target", target, hello=True) as client:
                yield server, client

    async def measure(self, subject: Subject) -> dict[str, float]:
        """One round of figures."""
        figures: dict[str, float] = {}
        calls = self.amounts.calls // 5 if subject.slow else self.amounts.calls
        async with self.running(subject) as (server, client):
            await client.order("calls", count=_WARM_UP, workers=16)
            for name, workers in (("16 in flight", 16), ("64 in flight", 64)):
                before = _cpu_seconds(server.pid)
                await client.order("calls", count=calls, workers=workers)
                figures[name] = (_cpu_seconds(server.pid) - before) * 1e6 / calls
            before = _cpu_seconds(server.pid)
            await client.order("connections", count=self.amounts.connections, workers=4)
            figures["connection"] = (_cpu_seconds(server.pid) - before) * 1e6 / self.amounts.connections
        # Memory in a process of its own: what calls leave behind would hide the growth.
        async with self.running(subject) as (server, client):
            await client.order("calls", count=200, workers=16)
            resident = _resident_kib(server.pid)
            await client.order("idle", count=self.amounts.idle)
            figures["KiB idle"] = (_resident_kib(server.pid) - resident) / self.amounts.idle
        return figures


def _cpu_seconds(pid: int) -> float:
    # The name in the second field may hold spaces; it ends with the last parenthesis.
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def _resident_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise ProcessLookupError(pid)


Rounds = dict[str, list[dict[str, float]]]


async def _all_rounds(bench: Bench, subjects: list[Subject]) -> Rounds:
    rounds: Rounds = defaultdict(list)
    for run in range(bench.amounts.runs):
        for subject in subjects:
            print(f"run {run + 1} of {bench.amounts.runs}: {subject.name}", file=sys.stderr, flush=True)
            rounds[subject.name].append(await bench.measure(subject))
    return rounds


def _ratio(rounds: Rounds, subject: Subject, metric: str) -> float:
    pairs = zip(rounds[subject.name], rounds[subject.yardstick], strict=True)
    return statistics.median(ours[metric] / theirs[metric] for ours, theirs in pairs)


def _show(rounds: Rounds, subjects: list[Subject]) -> None:
    print(f"{'server':26}" + "".join(f"{metric:>20}" for metric in METRICS))
    print(f"{'':26}" + f"{'CPU us per call':>40}{'CPU us':>20}{'with connection':>20}")
    for subject in subjects:
        cells = []
        for metric in METRICS:
            median = statistics.median(figures[metric] for figures in rounds[subject.name])
            cells.append(f"{median:12.1f} ({_ratio(rounds, subject, metric):4.2f}x)")
        print(f"{subject.name:26}" + "".join(f"{cell:>20}" for cell in cells))


def _judge(rounds: Rounds, subjects: list[Subject]) -> bool:
    judged = next(subject for subject in subjects if subject.name == JUDGED)
    good = True
    for metric, most in FLOORS.items():
        ratio = _ratio(rounds, judged, metric)
        passed = ratio <= most
        good = good and passed
        verdict = "PASS" if passed else "FALLS SHORT"
        print(f"{verdict:12}{JUDGED}, {metric}: {ratio:.2f} times grpc-go, at most {most:.2f}")
    return good


def _descriptors(idle: int) -> int:
    """Raise the limit on open files as far as we may; returns it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < idle + _DESCRIPTORS:
        raise SystemExit(f"{idle} idle connections need more open files than the {hard} allowed")
    return max(soft, hard)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="rounds over all servers (default 5)")
    parser.add_argument("--calls", type=int, default=20_000, help="calls per figure; a fifth on h2")
    parser.add_argument("--connections", type=int, default=1000, help="new connections")
    parser.add_argument("--idle", type=int, default=2000, help="idle connections with one stream each")
    parser.add_argument("--quick", action="store_true", help="one small round: shows that it runs")
    parser.add_argument("--only", default="", help="only servers whose name holds this, and their yardsticks")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a floor is missed")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    options = _options()
    amounts = Amounts(options.runs, options.calls, options.connections, options.idle)
    if options.quick:
        amounts = Amounts(1, 5000, 200, 300)
    files = _descriptors(amounts.idle)
    os.chdir(_ROOT)
    with tempfile.TemporaryDirectory(prefix="finial-") as folder:
        bench = Bench(build("grpcpeer"), PKI.make(Path(folder)), Path(folder), amounts)
        subjects = [
            subject
            for subject in bench.subjects()
            if options.only in subject.name or subject.name.startswith("grpc-go") or subject.name == JUDGED
        ]
        rounds = asyncio.run(_all_rounds(bench, subjects))
    print(f"{amounts}; RLIMIT_NOFILE {files}; {os.cpu_count()} CPUs; Python {sys.version.split()[0]}")
    _show(rounds, subjects)
    if not _judge(rounds, subjects) and options.check:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
