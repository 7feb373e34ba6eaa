"""Figures with their method, beside a peer; the peers and certificates are those of the tests."""

import sys
from pathlib import Path

_ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(_ROOT / "src"), str(_ROOT / "tests")]
