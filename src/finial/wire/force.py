"""What an operator says beside a request to have it done although the server advises against it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

FORCE: Final = ("finial-force", "true")
"""The metadata that says so; any other value says nothing."""


def read_force(metadata: Iterable[tuple[str, str | bytes]]) -> bool:
    """Whether it is among what came with a request."""
    return FORCE in metadata
