"""The measurements still run: a little of two of them, without a peer that has to be built."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from bench import standards
from interop.peers import PeerMissingError

ROOT = Path(__file__).parents[2]
PATIENCE = 100.0
ROWS = (
    "entry created until on a stream, p50, ms",
    "agent reports ready, s",
    "server ready, empty, s",
    "memory after it, agent, MiB",
)


@pytest.mark.timeout(PATIENCE + 10)
def test_propagation_can_be_measured() -> None:
    command = [sys.executable, "-m", "bench.propagation", "--quick", "--only", "ours"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    for row in ROWS:
        [line] = [line for line in done.stdout.splitlines() if line.startswith(row)]
        assert float(line.removeprefix(row).split()[1].replace(",", "")) > 0


@pytest.mark.timeout(PATIENCE + 10)
def test_the_core_can_be_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(standards, "build", _nothing_is_here)
    asyncio.run(standards.main(quick=True))
    rows = capsys.readouterr().out.splitlines()
    assert [row for row in rows if row.startswith("validate a JWT-SVID, ES256")]


def _nothing_is_here(_name: str) -> Path:
    raise PeerMissingError("not asked for")
