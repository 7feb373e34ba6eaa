"""Selectors: what an attestor has observed of a node or a workload, as `type:value`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from finial.core.errors import Finding, SelectorError, shown
from finial.core.reasons import registry as reasons

_Member = TypeVar("_Member")


@dataclass(frozen=True, slots=True, order=True)
class Selector:
    """One observation.

    Args:
        type: Which attestor made it (`unix`); not empty, without a colon.
        value: What it saw (`uid:1000`); not empty, colons are its own affair.

    Raises:
        SelectorError: One of the two is malformed.
    """

    type: str
    value: str

    def __post_init__(self) -> None:
        found: list[str] = []
        if not self.type:
            found.append("a selector has no type")
        elif ":" in self.type:
            found.append(f"selector type {shown(self.type)} holds a colon")
        if not self.value:
            found.append(f"the selector of type {shown(self.type)} has no value")
        if found:
            raise SelectorError([Finding(reasons.SELECTOR_FORM, message) for message in found])

    @classmethod
    def parse(cls, text: str) -> Selector:
        """The selector that a text spells as `type:value`.

        Raises:
            SelectorError: There is no colon, or nothing before or after the first one.
        """
        kind, colon, value = text.partition(":")
        if not colon:
            raise SelectorError.because(reasons.SELECTOR_FORM, f"selector {shown(text)} has no colon")
        return cls(kind, value)

    def __str__(self) -> str:
        return f"{self.type}:{self.value}"


class SetMatch(Enum):
    """How a stored set is compared with a given one, in the words of the server's API."""

    EXACT = "exact"  # the same set
    SUBSET = "subset"  # the stored set is not empty and lies within the given one
    SUPERSET = "superset"  # the stored set holds everything given
    ANY = "any"  # at least one is common


def canonical(selectors: Iterable[Selector]) -> tuple[Selector, ...]:
    """The set of some selectors in its one order: each once, by type, then by value."""
    return tuple(sorted(set(selectors)))


def set_matches(stored: frozenset[_Member], given: frozenset[_Member], how: SetMatch) -> bool:
    """Whether a stored set, of selectors or of trust domains, matches a given one.

    Args:
        stored: What an entry or a node has.
        given: What is asked for, or what was observed; not empty.
        how: The comparison.

    Raises:
        SelectorError: `given` is empty, which would match in ways that nobody expects.
    """
    if not given:
        raise SelectorError.because(reasons.SELECTORS_EMPTY, "empty selector set")
    match how:
        case SetMatch.EXACT:
            return stored == given
        case SetMatch.SUBSET:
            return bool(stored) and stored <= given
        case SetMatch.SUPERSET:
            return stored >= given
    return not stored.isdisjoint(given)
