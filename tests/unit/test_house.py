"""The gates themselves: that each one notices what it is there for."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sizes import complaints

ROOT = Path(__file__).parents[2]


def _copy(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path / "src" / "finial"


def _lint_imports(tmp_path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "src"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("core/ids.py", "import finial.rpc.status", "Layers"),
        ("rpc/status.py", "import finial.wire", "Layers"),
        ("core/ids.py", "import logging", "core is pure"),
        ("wire/__init__.py", "import h2.connection", "Only rpc knows HTTP/2"),
        ("rpc/status.py", "import google.protobuf.message", "Only wire knows protobuf"),
    ],
)
def test_a_planted_import_against_the_layers_is_found(
    tmp_path: Path, module: str, line: str, contract: str
) -> None:
    package = _copy(tmp_path)
    with (package / module).open("a") as file:
        file.write(f"\n{line}\n")
    found = _lint_imports(tmp_path)
    assert found.returncode == 1, found.stdout
    broken = [text for text in found.stdout.splitlines() if "BROKEN" in text]
    assert any(contract in text for text in broken)


def test_the_layers_hold(tmp_path: Path) -> None:
    _copy(tmp_path)
    found = _lint_imports(tmp_path)
    assert found.returncode == 0, found.stdout


def test_what_is_too_large_is_named() -> None:
    long_function = "def f():\n" + "    x = 1\n" * 60
    assert list(complaints("a.py", long_function)) == ["a.py:1: f has 61 lines, at most 60: take a part out"]
    assert list(complaints("a.py", "x = 1\n" * 401)) == ["a.py: 401 lines, at most 400: split it by subject"]
    assert not list(complaints("a.py", "# oversized: a table\n" + "x = 1\n" * 401))
    assert not list(complaints("a.py", "x = 1\n" * 400))
