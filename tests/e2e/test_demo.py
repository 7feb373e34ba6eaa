"""The demonstration, from beginning to end, as whoever runs the tests and as an ordinary user."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOBODY = 65_534
PATIENCE = 200.0
pytestmark = pytest.mark.timeout(240)

SENTENCES = (
    "[ok] The trust domain example.org has an authority that can sign.",
    "The machine has joined",
    "web says: I am spiffe://example.org/web, by a certificate with serial",
    "api says: I am spiffe://example.org/api, by a certificate with serial",
    "web says: I called and reached spiffe://example.org/api.",
    "api says: spiffe://example.org/web called me",
    "api says: I called and reached spiffe://example.org/web.",
    "web says: spiffe://example.org/api called me",
    "web says: I got a token for spiffe://example.org/api, good until",
    "api says: I had my agent validate a token. It is of spiffe://example.org/web",
    "api says: I do not believe a token: ",
    "has no identity for this process: no identity issued. Create an entry",
    "visitor says: I am spiffe://partner.example/visitor",
    "api says: I refused a caller: leaf: there is no federation with trust domain partner.example",
    "for web.example.org",
    "web says: I have no identity any more:",
    "[ok] 3 replacements,",
    "Every process has ended and every file is gone.",
)
PATHS = (ROOT / "src", *dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib")))


@dataclass(frozen=True)
class Demo:
    """Somebody who runs the demonstration, and the folder that its files go to."""

    folder: Path
    python: str = sys.executable
    user: int | None = None

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.python, "-m", "demo"],
            cwd=ROOT,
            env=self.environ(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            user=self.user,
            group=self.user,
            extra_groups=None if self.user is None else [],
        )

    def environ(self) -> dict[str, str]:
        path = os.pathsep.join(map(str, PATHS))
        places = {"HOME": str(self.folder), "TMPDIR": str(self.folder)}
        return {"PATH": os.environ["PATH"], "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", **places}

    def works(self) -> bool:
        """Whether this user may run this interpreter, and it can import what is needed."""
        version = sys.version_info[:2]
        code = f"import sys, demo.story, finial.server.app; assert sys.version_info[:2] == {version}"
        try:
            done = subprocess.run(
                [self.python, "-c", code],
                cwd=ROOT,
                env=self.environ(),
                capture_output=True,
                user=self.user,
                group=self.user,
                extra_groups=[],
                check=False,
            )
        except OSError:
            return False
        return done.returncode == 0

    def left_behind(self) -> list[str]:
        """Files, and processes that live there."""
        return [*map(str, self.folder.iterdir()), *(f"process {pid}" for pid in self.processes())]

    def processes(self, *words: str) -> Iterator[int]:
        """The processes that live in its folder and have these words in their command line."""
        for each in Path("/proc").glob("[0-9]*"):
            try:
                here = str((each / "cwd").readlink()).startswith(str(self.folder))
                said = (each / "cmdline").read_bytes().decode().split("\0")
            except OSError:  # it has ended, or is not ours
                continue
            if here and all(word in said for word in words):
                yield int(each.name)


@pytest.fixture
def folder() -> Iterator[Path]:
    # Short, for socket paths; open, for other users.
    found = Path(tempfile.mkdtemp(prefix="finial-"))
    found.chmod(0o777)
    try:
        yield found
    finally:
        shutil.rmtree(found)


@pytest.fixture
def demo(folder: Path) -> Demo:
    return Demo(folder)


def tells_all(demo: Demo) -> str:
    """Run the demonstration, which must end well; what it printed, on one line."""
    with demo.start() as process:
        out, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, out
    assert demo.left_behind() == []
    assert [line for line in out.splitlines() if len(line) > 100] == []
    assert out.isascii()
    assert "\x1b" not in out
    assert "eyJ" not in out  # no token is on a screen
    told = " ".join(out.split())
    assert [each for each in SENTENCES if each not in told] == [], out
    return told


def test_it_all_happens_as_it_is_told(demo: Demo) -> None:
    told = tells_all(demo)
    assert ("You are root," in told) == (os.geteuid() == 0)
    assert (" --selector unix:uid:10001 " in told) == (os.geteuid() == 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_it_happens_to_ordinary_users_too(folder: Path) -> None:
    # The interpreter of the tests may stand where nobody else may look.
    pythons = (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}", "/usr/local/bin/python3")
    demos = [Demo(folder, python, NOBODY) for python in pythons]
    demo = next((each for each in demos if each.works()), None)
    if demo is None:
        pytest.skip("there is no interpreter with these packages that an ordinary user may run")
    told = tells_all(demo)
    assert "You are an ordinary user," in told
    assert " --selector unix:path:/" in told


def until(process: subprocess.Popen[str], words: str) -> None:
    """Read what it prints until these words come."""
    assert process.stdout is not None
    for line in process.stdout:
        if words in line:
            return
    raise AssertionError(f"it ended without: {words}")


def test_an_interrupt_ends_every_process(demo: Demo) -> None:
    with demo.start() as process:
        until(process, "web      says: I am")
        assert len(list(demo.processes())) == 4
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)  # impatience changes nothing
        out, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert out.rstrip().endswith("Interrupted: ending every process.")
    assert demo.left_behind() == []


def test_what_does_not_happen_is_told_with_its_evidence(demo: Demo) -> None:
    with demo.start() as process:
        until(process, "web      says: I am")
        (agent,) = demo.processes("agent", "run")
        os.kill(agent, signal.SIGKILL)
        out, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "FAILED: " in out
    assert "agent of example.org (ended with -9), its last lines:\n" in out
    assert "server of example.org (running), its last lines:\n" in out
    assert demo.left_behind() == []
