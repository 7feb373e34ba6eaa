from __future__ import annotations

import pytest

from finial.wire.force import FORCE, read_force


@pytest.mark.parametrize(
    ("metadata", "forced"),
    [
        ((), False),
        ((FORCE,), True),
        ((("x", "y"), FORCE), True),
        ((("finial-force", "TRUE"),), False),
        ((("finial-force", b"true"),), False),
        ((("finial-force-bin", b"true"),), False),
    ],
)
def test_only_the_very_words_insist(metadata: tuple[tuple[str, str | bytes], ...], forced: bool) -> None:
    assert read_force(metadata) is forced
