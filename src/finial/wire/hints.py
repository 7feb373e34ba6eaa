"""What our agents say beside a request, in metadata that others neither send nor miss."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import timedelta
from typing import Final

REMAINING: Final = "finial-remaining-seconds"
"""With a request for SVIDs: how much life is left to the one among those it renews that ends first."""

_SECONDS = re.compile(r"[0-9]{1,9}", re.ASCII)


def write_remaining(left: timedelta) -> tuple[str, str]:
    """The metadata that says how much life is left; nothing, for one that holds nothing.

    Args:
        left: Of the SVID that ends first; less than nothing when it has ended.
    """
    return REMAINING, str(max(int(left.total_seconds()), 0))


def read_remaining(metadata: Iterable[tuple[str, str | bytes]]) -> timedelta | None:
    """How much life is left to what the caller holds; None when it does not say so legibly.

    Args:
        metadata: All that came with the request.
    """
    said = [value for key, value in metadata if key == REMAINING]
    if len(said) != 1 or not isinstance(said[0], str) or not _SECONDS.fullmatch(said[0]):
        return None
    return timedelta(seconds=int(said[0]))
