"""What the rules of tokens of every kind have in common: their checks, not their reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from finial.core.algorithms import Algorithm
from finial.core.claims import Claims
from finial.core.errors import shown

Header = Mapping[str, object]

_NAMES = frozenset(algorithm.value for algorithm in Algorithm)


def algorithm(header: Header) -> str:
    """Asked before anything else of a token is looked at."""
    name = header.get("alg")
    if not isinstance(name, str):
        return "there is no algorithm"
    return "" if name in _NAMES else f"algorithm {shown(name)} is not one of the nine for tokens"


def further(header: Header) -> str:
    """Whether there are parameters beyond the three that tokens have."""
    names = header.keys() - {"alg", "kid", "typ"}
    return f"there are further parameters: {', '.join(map(shown, sorted(names)[:3]))}" if names else ""


def critical(header: Header) -> str:
    """Whether the header demands that something be understood (RFC 7515, 4.1.11); nothing is."""
    return "the header has the parameter crit" if "crit" in header else ""


def exact_type(header: Header, kind: str) -> str:
    """Whether the header names this type and no other."""
    found = header.get("typ")
    return "" if found == kind else f"the type is {shown(str(found))}, not {kind}"


def subject(claims: Claims) -> str:
    """Whether the token names anybody."""
    return claims.subject_fault


def root_id(claims: Claims) -> str:
    """Whether the one it names is no workload."""
    spiffe_id = claims.subject
    return "" if spiffe_id is None or spiffe_id.path else f"{spiffe_id} is the ID of a trust domain"


def expiry(claims: Claims) -> str:
    """Whether the token ends."""
    return "" if claims.expires_at is not None else "the claim exp is missing or is no number of seconds"


def other_times(claims: Claims) -> str:
    """Whether the other two times, which need not be there, can be read if they are."""
    if "nbf" in claims.members and claims.not_before is None:
        return "the claim nbf is no number of seconds"
    return (
        "the claim iat is no number of seconds"
        if "iat" in claims.members and claims.issued_at is None
        else ""
    )


def lifetime(claims: Claims) -> str:
    """Whether an issued token ends at a whole second, later than its issue, and says when that was."""
    begin, end = claims.members.get("iat"), claims.members.get("exp")
    good = type(begin) is int and type(end) is int and begin < end
    return "" if good else "exp and iat are no whole seconds, or exp is not the later one"


@dataclass(frozen=True, slots=True, kw_only=True)
class Presented:
    """A token at the moment of its validation.

    Args:
        expires_at: From then on it is good for nothing.
        not_before: Before then it is not either; None when it does not say.
        now: The instant of validation.
        leeway: By how much clocks may differ.
        audience: Whom it is meant for.
        wanted: What the validator calls itself.
    """

    expires_at: datetime
    not_before: datetime | None
    now: datetime
    leeway: timedelta
    audience: tuple[str, ...] = ()
    wanted: frozenset[str] = frozenset()


def expired(presented: Presented) -> str:
    """Whether it ended; at the very instant that exp names, it has."""
    end, now = presented.expires_at, presented.now
    return "" if now - presented.leeway < end else f"it expired at {instant(end)}, now is {instant(now)}"


def not_yet_valid(presented: Presented) -> str:
    """Whether it has not begun, with leeway."""
    begin, now = presented.not_before, presented.now
    early = begin is not None and now + presented.leeway < begin
    return f"it is valid from {instant(begin)} on, now is {instant(now)}" if early and begin else ""


def instant(moment: datetime) -> str:
    """An instant as messages show it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
