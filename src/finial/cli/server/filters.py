"""Filters of lists, as options give them and as the server's API takes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import click

from finial.cli.inputs import Inputs
from finial.core.ids import TrustDomain
from finial.core.selectors import Selector
from finial.wire.gen import spire_api_types as types

F = TypeVar("F", bound=Callable[..., object])

_HOW = ("exact", "subset", "superset", "any")
_MEANING = "exactly these, a part of these, these and maybe more, or at least one"


def match_option(what: str) -> Callable[[F], F]:
    """How a set that is stored compares with the one that is given.

    Args:
        what: `selectors` or `federates-with`.
    """
    return click.option(
        f"--match-{what}-on",
        type=click.Choice(_HOW),
        default="superset",
        show_default=True,
        help=f"Whether the stored ones are {_MEANING}.",
    )


def selector_match(inputs: Inputs, given: Sequence[str], how: str) -> types.SelectorMatch | None:
    """The filter for some selectors; None when none are given.

    Args:
        inputs: Where mistakes go.
        given: Selectors as text.
        how: One of the choices of `match_option`.
    """
    if not given:
        return None
    selectors = inputs.take_all("--selector", Selector.parse, given)
    messages = [types.Selector(type=each.type, value=each.value) for each in selectors]
    return types.SelectorMatch(
        selectors=messages, match=types.SelectorMatch.MatchBehavior.Value(f"MATCH_{how.upper()}")
    )


def federates_with_match(inputs: Inputs, given: Sequence[str], how: str) -> types.FederatesWithMatch | None:
    """The filter for some trust domains; arguments as `selector_match`."""
    if not given:
        return None
    domains = inputs.take_all("--federates-with", TrustDomain.from_name_or_id, given)
    return types.FederatesWithMatch(
        trust_domains=[each.name for each in domains],
        match=types.FederatesWithMatch.MatchBehavior.Value(f"MATCH_{how.upper()}"),
    )
