"""Things with a set of selectors, found by those whose selectors include all of theirs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from finial.core.selectors import Selector


class Selective(Protocol):
    """What can be shelved."""

    @property
    def selectors(self) -> frozenset[Selector]:
        """All of which whoever looks for it must have; not empty."""


_Thing = TypeVar("_Thing", bound=Selective)


class Shelves(Generic[_Thing]):
    """Each thing stands under one of its selectors, the one with the fewest things when it came."""

    __slots__ = ("_shelf_of", "_shelves")

    def __init__(self) -> None:
        self._shelves: dict[Selector, dict[str, _Thing]] = {}
        self._shelf_of: dict[str, Selector] = {}

    def __len__(self) -> int:
        return len(self._shelf_of)

    def put(self, key: str, thing: _Thing) -> None:
        """Shelve a thing, in place of the one with this key."""
        self.drop(key)
        shelf = min(thing.selectors, key=lambda selector: (len(self._shelves.get(selector, ())), selector))
        self._shelves.setdefault(shelf, {})[key] = thing
        self._shelf_of[key] = shelf

    def drop(self, key: str) -> None:
        """Take a thing away, if it is there."""
        shelf = self._shelf_of.pop(key, None)
        if shelf is None:
            return
        things = self._shelves[shelf]
        del things[key]
        if not things:
            del self._shelves[shelf]

    def clear(self) -> None:
        """Take everything away."""
        self._shelves.clear()
        self._shelf_of.clear()

    def fitting(self, selectors: frozenset[Selector]) -> Iterator[_Thing]:
        """The things all of whose selectors are among these, in no order."""
        for selector in selectors:
            for thing in self._shelves.get(selector, {}).values():
                if thing.selectors <= selectors:
                    yield thing
