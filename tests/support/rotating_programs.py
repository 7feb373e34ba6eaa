"""Programs of workloads, each with an executable of its own, so that an agent tells their processes apart."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from support import finial_peer, pyspiffe_peer

GO, PY, OURS = "go-spiffe", "py-spiffe", "finial.sdk"
"""The libraries that workloads use."""

SCRIPTS = {PY: pyspiffe_peer.__file__, OURS: finial_peer.__file__}

Command = tuple[str | Path, ...]


def command(kind: str, folder: Path, spiffepeer: Path | None) -> Command:
    """What starts a workload's program; its first word is the path that an agent sees.

    Args:
        kind: The library that it uses.
        folder: For its executable; made.
        spiffepeer: The program on go-spiffe, where there is one.
    """
    if kind == GO:
        assert spiffepeer is not None
        folder.mkdir(parents=True)
        return (_own(spiffepeer, folder / "spiffepeer"),)
    return _interpreter(folder), SCRIPTS[kind]


def _interpreter(folder: Path) -> Path:
    """This interpreter under another path, with all that is installed for this one."""
    programs = folder / "bin"
    programs.mkdir(parents=True)
    real = Path(os.path.realpath(sys.executable))
    (folder / "pyvenv.cfg").write_text(f"home = {real.parent}\n")
    for name in ("lib", "lib64"):
        installed = Path(sys.prefix) / name
        if installed.exists():
            (folder / name).symlink_to(installed)
    return _own(real, programs / "python3")


def _own(program: Path, path: Path) -> Path:
    """The same program under another path. A symbolic link would not do: the kernel shows where it leads."""
    real = os.path.realpath(program)
    try:
        os.link(real, path)
    except OSError:  # another file system, or another owner
        shutil.copy2(real, path)
    return path
