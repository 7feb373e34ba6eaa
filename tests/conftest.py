"""Fixtures for tests that start real processes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import racked


@pytest.fixture
def sockets() -> Iterator[Path]:
    """A folder with a path short enough for socket files."""
    with tempfile.TemporaryDirectory(prefix="finial-") as folder:
        yield Path(folder)


@pytest.fixture
def rack_attestor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node attestor of somebody else, installed for every process that is started."""
    site = tmp_path / "site"
    racked.install(site)
    paths = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
