"""Inputs that were kept because they reached something that none before them did.

They stand in `seeds/`, one file for each target, an input a line. Mutation begins with them too, so a run
starts where the ones before it had come to.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

FOLDER = Path(__file__).parent / "seeds"


def read(target: str, folder: Path = FOLDER) -> list[bytes]:
    """What was kept for a target, in the order in which it was found."""
    path = folder / f"{target}.txt"
    lines = path.read_text("ascii").splitlines() if path.exists() else []
    return [base64.b64decode(line) for line in lines]


def write(target: str, kept: Iterable[bytes], folder: Path = FOLDER) -> None:
    """Keep inputs for a target, in place of those that were kept."""
    lines = [base64.b64encode(data).decode("ascii") for data in kept]
    folder.mkdir(exist_ok=True)
    (folder / f"{target}.txt").write_text("".join(f"{line}\n" for line in lines), "ascii")


def digest(corpus: Sequence[bytes]) -> str:
    """Names a corpus: input n of a seed is the same only as long as this is."""
    whole = hashlib.sha256()
    for data in corpus:
        whole.update(len(data).to_bytes(8, "big") + data)
    return whole.hexdigest()[:12]
