"""How the workloads are told apart on the machine that the demonstration happens to run on."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

NAMES: Final = ("web", "api", "stranger", "visitor")
_FIRST_UID: Final = 10_001
_PROGRAM: Final = ("-m", "demo.workload")
_PROBE: Final = "import os, sys; os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))"


@dataclass(frozen=True, slots=True)
class Player:
    """A workload that can be started.

    Args:
        selector: What the agent sees of it and of none of the others.
        words: Its command line.
        environ: Added to its environment.
    """

    selector: str
    words: tuple[str, ...]
    environ: Mapping[str, str] = field(default_factory=dict)


class Cast(Protocol):
    """All workloads, by name."""

    explanation: str
    """How they differ, for the reader."""

    def player(self, name: str) -> Player:
        """One of them."""


class Users:
    """Each workload runs as a user of its own; for root alone.

    It starts as root and becomes that user before it asks for anything: so it has its modules even where the
    user could not read them.
    """

    def __init__(self) -> None:
        first, last = _uid(NAMES[0]), _uid(NAMES[-1])
        self.explanation = (
            f"You are root, so here each program runs as a user of its own, {first} to {last}, and the "
            "selectors are user numbers: unix:uid."
        )

    def player(self, name: str) -> Player:
        """One of them."""
        uid = _uid(name)
        return Player(f"unix:uid:{uid}", (sys.executable, *_PROGRAM, "--uid", str(uid)))


class Copies:
    """Each workload runs by a copy of the Python interpreter, whose path tells it apart.

    Args:
        folder: Where the copies are made.
        why: Why not another way, for the reader.
    """

    def __init__(self, folder: Path, why: str) -> None:
        self._folder = folder.resolve()
        self._original = Path("/proc/self/exe").resolve()
        self.explanation = (
            f"{why}, so here all programs run as you, each by a copy of the Python interpreter of its own, "
            "and the selectors are paths: unix:path."
        )

    def player(self, name: str) -> Player:
        """One of them; its interpreter is copied now."""
        copy = self._folder / name
        shutil.copy(self._original, copy)
        # A copy cannot find its library by looking around, neither Python's nor the one that it is made of.
        libraries = [
            str(Path(sys.base_prefix) / "lib"),
            sysconfig.get_config_var("LIBDIR") or "",
            os.environ.get("LD_LIBRARY_PATH", ""),
        ]
        environ = {
            "PYTHONHOME": os.pathsep.join(dict.fromkeys([sys.base_prefix, sys.base_exec_prefix])),
            "LD_LIBRARY_PATH": os.pathsep.join(dict.fromkeys(filter(None, libraries))),
        }
        return Player(f"unix:path:{copy}", (str(copy), *_PROGRAM), environ)


def cast_for(folder: Path) -> Cast:
    """The way that works here.

    Args:
        folder: For files that it needs; removed by whoever made it.
    """
    why = "You are an ordinary user"
    if os.geteuid() == 0:
        why = _why_not_users(folder)
        if not why:
            folder.chmod(0o711)  # for the agent's socket to be reached by other users
            return Users()
    place = folder / "bin"
    place.mkdir()
    return Copies(place, why)


def _uid(name: str) -> int:
    return _FIRST_UID + NAMES.index(name)


def _why_not_users(folder: Path) -> str:
    """Why root cannot let other users play, for the reader; empty when it can."""
    if not all(each.stat().st_mode & stat.S_IXOTH for each in folder.parents):
        return f"You are root, but other users may not enter {folder.parent}"
    words = [sys.executable, "-c", _PROBE, str(_FIRST_UID)]
    if subprocess.run(words, capture_output=True, check=False).returncode != 0:
        return "You are root, but here root may not become other users"
    return ""
