"""How far each target has come: kept in a file, so that a run goes on where the last one stopped."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

FILE = Path(__file__).parent / "counts.json"


@dataclass(frozen=True)
class Count:
    """What a target has stood.

    Args:
        seed: Which sequence of inputs it is in.
        corpus: Names the corpus that they were mutated from.
        next: The number of the next input of this seed and corpus.
        stood: Inputs in all, of this seed and those before it.
    """

    seed: int = 1
    corpus: str = ""
    next: int = 0
    stood: int = 0

    def on(self, corpus: str) -> Count:
        """Where to go on with a corpus: with another one than before a new sequence begins."""
        if corpus == self.corpus:
            return self
        return Count(self.seed + bool(self.corpus), corpus, 0, self.stood)

    def after(self, inputs: int) -> Count:
        """When so many more have been stood."""
        return Count(self.seed, self.corpus, self.next + inputs, self.stood + inputs)


def read(path: Path = FILE) -> dict[str, Count]:
    """The counts by target; none where there is no file."""
    if not path.exists():
        return {}
    found: dict[str, dict[str, int | str]] = json.loads(path.read_text("utf-8"))
    return {name: Count(**fields) for name, fields in found.items()}  # type: ignore[arg-type]


def write(counts: dict[str, Count], path: Path = FILE) -> None:
    """Keep the counts; a run that is killed meanwhile leaves the file as it was."""
    text = json.dumps({name: asdict(count) for name, count in sorted(counts.items())}, indent=1)
    fresh = path.with_suffix(".new")
    fresh.write_text(f"{text}\n", "utf-8")
    fresh.replace(path)
