"""A page in the making: what it names it names once, and it is no longer than peers take."""

from __future__ import annotations

from typing import Final

from finial.wire.push import Page, State

PAGE_ITEMS: Final = 1_000
"""Entries, and ids of such that are gone, on one page."""
PAGE_BYTES: Final = 3 << 20
"""Bytes of one page: peers take no message of more than 4 MiB. What is longer by itself goes alone."""


class Draft:
    """Collects what is to be told, page by page. What is said later of something takes the place.

    Args:
        reset: Whether what does not come is gone.
    """

    def __init__(self, *, reset: bool = False) -> None:
        self._reset = reset
        self._size = 0
        # By id or name; None for what is gone.
        self._entries: dict[str, bytes | None] = {}
        self._bundles: dict[str, bytes | None] = {}

    def entry(self, entry_id: str, item: bytes | None) -> bool:
        """Say what an entry is now; False when there is no room, and the page has to be taken first.

        Args:
            entry_id: Which one.
            item: None when it is gone.
        """
        size = len(entry_id) if item is None else len(item)
        if not self._has_room(size):
            return False
        self._size += size
        self._entries[entry_id] = item
        return True

    def bundle(self, name: str, data: bytes | None) -> bool:
        """Say what a bundle is now; like `entry`."""
        size = len(name) if data is None else len(data)
        if not self._has_room(size):
            return False
        self._size += size
        self._bundles[name] = data
        return True

    def take(self, *, number: int = 0, state: State | None = None) -> Page:
        """The page, after which the draft is empty again.

        Args:
            number: Of the change, when this is its last page.
            state: What holds after it, when this is the last page.
        """
        entries, bundles = self._entries, self._bundles
        page = Page(
            items=[item for item in entries.values() if item is not None],
            gone=[entry_id for entry_id, item in entries.items() if item is None],
            bundles=[data for data in bundles.values() if data is not None],
            bundles_gone=[name for name, data in bundles.items() if data is None],
            reset=self._reset,
            more=state is None,
            number=number,
            state=state,
        )
        self._reset, self._size = False, 0
        self._entries, self._bundles = {}, {}
        return page

    def _has_room(self, size: int) -> bool:
        count = len(self._entries) + len(self._bundles)
        return not count or (count < PAGE_ITEMS and self._size + size <= PAGE_BYTES)
