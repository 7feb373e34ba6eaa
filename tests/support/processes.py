"""Child processes that connect to a socket and do as they are told: exec, change their user, end."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from finial.runtime.peer import PeerProcess, peer_process

NOBODY = 65534

_CHILD = """
import os, socket, sys
user = int(sys.argv[2])
if user != os.getuid():
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
connection.set_inheritable(True)
print("connected", flush=True)
for line in sys.stdin:
    command, *arguments = line.split()
    if command == "exec":
        print("done", flush=True)
        os.execv(arguments[0], arguments)
    if command == "user":
        user, *groups = map(int, arguments)
        os.setgroups(groups[1:])
        os.setresgid(groups[0], groups[0], groups[0])
        os.setresuid(user, user, user)
    if command == "effective":
        os.setresuid(0, int(arguments[0]), 0)
    if command == "end":
        break
    print("done", flush=True)
"""


@dataclass
class Child:
    """A connected child."""

    process: subprocess.Popen[str]
    peer: PeerProcess

    def tell(self, command: str) -> None:
        """Have it done before this returns; the end too."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        if command == "end":
            self.process.wait()
        else:
            assert self.process.stdout.readline() == "done\n"

    def exec(self, path: Path | str) -> None:
        """Have it become another program, and wait until it is."""
        self.tell(f"exec {path}")
        while Path(f"/proc/{self.process.pid}/exe").readlink() != Path(path).resolve():
            os.sched_yield()


@contextmanager
def child(folder: Path, *, user: int | None = None) -> Iterator[Child]:
    """A child that has connected to a socket in this folder; as another user where one is named."""
    path = folder / "socket"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o777)
        listener.listen()
        with subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(path), str(os.getuid() if user is None else user)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            connection, _ = listener.accept()
            with connection:
                assert process.stdout is not None
                assert process.stdout.readline() == "connected\n"
                peer = peer_process(connection)
                try:
                    yield Child(process, peer)
                finally:
                    peer.close()
                    process.kill()


def interpreter_copy(folder: Path, name: str) -> tuple[Path, dict[str, str]]:
    """Another program that is a Python interpreter too, and the environment that it needs."""
    path = folder / name
    base = getattr(sys, "_base_executable", sys.executable)
    shutil.copy(os.path.realpath(base), path)
    site = sysconfig.get_paths()["purelib"]
    source = str(Path(__file__).parents[2] / "src")
    library = str(Path(sys.base_prefix) / "lib")
    return path, {
        "PYTHONHOME": sys.base_prefix,
        "PYTHONPATH": os.pathsep.join([source, site]),
        "LD_LIBRARY_PATH": library,
    }
