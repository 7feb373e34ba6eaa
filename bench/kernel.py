"""What the kernel's books say of other processes: processor time to the nanosecond, and memory."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

_SCHEDULED = 2  # of a process's clocks, the one that counts all time of its threads
_RESET_PEAK = "5"


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads of a process, so far."""
    return time.clock_gettime((~pid << 3) | _SCHEDULED)


def resident_mib(pid: int) -> float:
    """Its resident memory, in MiB."""
    return _status_kib(pid, "VmRSS:") / 1024


def peak_mib(pid: int) -> float:
    """The most resident memory that it has had since its start or `reset_peak`, in MiB."""
    return _status_kib(pid, "VmHWM:") / 1024


def reset_peak(pid: int) -> None:
    """Let its peak begin anew."""
    Path(f"/proc/{pid}/clear_refs").write_text(_RESET_PEAK, encoding="ascii")


def _status_kib(pid: int, field: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field):
            return int(line.split()[1])
    raise ProcessLookupError(pid)


@dataclass
class Meter:
    """What a process uses from this object's making on.

    Args:
        pid: Of the process.
    """

    pid: int

    def __post_init__(self) -> None:
        self._began = time.perf_counter()
        self._cpu = cpu_seconds(self.pid)

    @property
    def seconds(self) -> float:
        """How long that is by now."""
        return time.perf_counter() - self._began

    @property
    def cpu(self) -> float:
        """Seconds of processor time."""
        return cpu_seconds(self.pid) - self._cpu

    @property
    def percent(self) -> float:
        """Of one core."""
        return 100 * self.cpu / self.seconds
