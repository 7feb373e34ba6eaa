"""Pages of a list: a token is the row number of the last result, so that a page is stable under change.

A page that holds anything comes with a token, also the last one: the page after that is empty, and so is its
token. Whoever asks without a size gets everything, without a token.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, TypeVar

from finial.core.errors import FinialError, Kind, Reason, shown

PAGE_TOKEN: Final = Reason(
    "page-token",
    Kind.INVALID,
    hint="Send the next_page_token of the answer before, or none for the first page.",
    meaning="A page token is not one that the server gave.",
)

# What fits into the 64 bits of a row number.
_TOKEN: Final = re.compile(r"[0-9]{1,18}")

_R = TypeVar("_R")


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is asked for.

    Args:
        size: How many at most; 0 for all of them.
        after: Row number of the last one of the page before; 0 for the first page.
    """

    size: int = 0
    after: int = 0

    def take(self, rows: Iterable[_R]) -> list[_R]:
        """The rows on this page.

        Args:
            rows: Those behind `after`, in order.
        """
        return list(islice(rows, self.size) if self.size else rows)

    def token(self, numbers: Sequence[int]) -> str:
        """The token for what comes after this page.

        Args:
            numbers: Row numbers of what is on the page.
        """
        return str(numbers[-1]) if self.size and numbers else ""


def read(page_size: int, page_token: str) -> Page:
    """The page that a request asks for.

    Args:
        page_size: Zero or less asks for everything, whatever the token.
        page_token: As the answer before gave it; empty for the first page.

    Raises:
        FinialError: The token is none of ours.
    """
    if page_size <= 0:
        return Page()
    if page_token and not _TOKEN.fullmatch(page_token):
        raise FinialError(PAGE_TOKEN, f"page_token: could not parse token {shown(page_token)}")
    return Page(page_size, int(page_token or 0))
