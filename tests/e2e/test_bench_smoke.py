"""The measurements still run: a little of one of them, without a peer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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
