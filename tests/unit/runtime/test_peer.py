from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from finial.runtime import peer as module
from finial.runtime.peer import PeerProcess, peer_process, read_start_time

CHILD = """
import os, socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
sys.stdin.read()
"""


@pytest.fixture(params=["SO_PEERPIDFD", "pidfd_open"])
def how(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With the kernel's newest way, and as on a kernel that lacks it."""
    if request.param == "pidfd_open":
        monkeypatch.setattr(module, "_SO_PEERPIDFD", 60_000)
    return str(request.param)


def test_a_process_is_followed_to_its_end(tmp_path: Path, how: str) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with subprocess.Popen([sys.executable, "-c", CHILD, str(path)], stdin=subprocess.PIPE) as child:
            connection, _ = listener.accept()
            with connection:
                process = peer_process(connection)
                assert (process.pid, process.uid, process.gid) == (child.pid, os.geteuid(), os.getegid())
                assert (process.start_time is None) == (how == "SO_PEERPIDFD")
                assert not os.get_inheritable(process.pidfd)
                assert process.alive()
                assert child.stdin is not None
                child.stdin.close()
                child.wait()
                assert not process.alive()
                process.close()


def test_a_process_that_ended_before_it_was_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SO_PEERPIDFD", 60_000)
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        subprocess.run([sys.executable, "-c", CHILD, str(path)], stdin=subprocess.DEVNULL, check=True)
        connection, _ = listener.accept()
        with connection:
            process = peer_process(connection)
            assert process.pidfd == -1
            assert not process.alive()
            process.close()


def test_a_pid_that_changed_hands_meanwhile_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([1, 2])
    monkeypatch.setattr(module, "read_start_time", lambda pid: next(times))
    assert module._pinned_by_pid(os.getpid(), 0, 0).pidfd == -1


def test_start_times() -> None:
    own = read_start_time(os.getpid())
    assert own is not None
    assert own > 0
    assert read_start_time(2**22 + 1) is None
    assert PeerProcess(0, 0, 0, -1).alive() is False


def test_a_socket_without_a_peer_is_an_error() -> None:
    with (
        socket.socket(socket.AF_INET) as unconnected,
        pytest.raises(OSError, match="no peer with credentials"),
    ):
        peer_process(unconnected)
