"""Where a process keeps its state and its sockets when nobody says otherwise."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def state_folder(process: str, *, root: bool, environ: Mapping[str, str]) -> Path:
    """The data folder of a process: below `/var/lib/finial` for root, else below the XDG state folder.

    Args:
        process: `server` or `agent`.
        root: Whether root runs it.
        environ: The environment.
    """
    base = Path("/var/lib") if root else _home(environ, "XDG_STATE_HOME", ".local/state")
    return base / "finial" / process


def run_folder(process: str, *, root: bool, environ: Mapping[str, str]) -> Path:
    """The folder of a process's socket: below `/run/finial` for root, else below the XDG runtime folder.

    Each process has its own, since the server's is closed to others and the agent's is open to all. Without a
    runtime folder (no login session) it is beside the data folder.

    Args:
        process: `server` or `agent`.
        root: Whether root runs it.
        environ: The environment.
    """
    if root:
        return Path("/run/finial") / process
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    base = Path(runtime) / "finial" if runtime else state_folder("run", root=False, environ=environ)
    return base / process


def _home(environ: Mapping[str, str], name: str, fallback: str) -> Path:
    given = environ.get(name, "")
    return Path(given) if given.startswith("/") else Path(environ.get("HOME") or "/") / fallback


def default_data_dir(process: str) -> Path:
    """The data folder of a process, here and for this user."""
    return state_folder(process, root=os.geteuid() == 0, environ=os.environ)


def default_socket(process: str) -> Path:
    """The socket of a process, here and for this user."""
    return run_folder(process, root=os.geteuid() == 0, environ=os.environ) / f"{process}.sock"
