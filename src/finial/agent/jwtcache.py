"""The JWT-SVIDs that are held for workloads to fetch again: which one is served, renewed, dropped. Pure.

A token is held for an entry and a set of audiences. Rules:
- It is served until its own end, as long as its key is in the own bundle and is not one that was tainted
  after it came, and its entry is still of the same subject.
- At half of its life it is renewed, if it was asked for since it came; else when it is asked for next.
- Shortly before its end, or when its entry says something else by now, it is served only when no other can
  be had.
- What one caller asks for displaces what that caller asked for before. Only where an entry, or everything,
  has grown to its bound does the caller with the most give way, with what has not been asked for longest.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from finial.agent.entry import AuthorizedEntry
from finial.agent.schedule import Calendar
from finial.core.bundle import Bundle
from finial.core.jwtsvid import JWTSVID
from finial.core.rotation import Lifetime
from finial.core.token_authority import TokenAuthority

# In KiB, as `_weight` counts.
MOST_OF_CALLER: Final = 256
MOST_OF_ENTRY: Final = 1_024
MOST: Final = 32 * 1_024

_OF_AUDIENCE: Final = 256  # bytes that a text takes wherever it is kept

_LEAST_LIFE: Final = timedelta(seconds=30)
_LEAST_SHARE: Final = 4  # of a short life
# A server that still signs with a tainted key has no better one; it is asked again so much later.
_TAINTED_LIFE: Final = timedelta(seconds=10)

Key = tuple[str, tuple[str, ...]]
"""The id of an entry, and audiences."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A JWT-SVID that a workload wants.

    Args:
        entry: Whose.
        asked: The audiences in the order in which they were asked for, each once.
    """

    entry: AuthorizedEntry
    asked: tuple[str, ...] = field(compare=False)
    key: Key = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", (self.entry.id, tuple(sorted(self.asked))))

    def __hash__(self) -> int:
        return hash(self.key)  # entries have many fields, and their ids tell them apart well enough


class Renewal(Enum):
    """Whether another token is to be had."""

    NONE = "none"
    BEHIND = "behind"  # while this one is served
    FIRST = "first"  # this one, if there is one, is served only when that fails


@dataclass(frozen=True, slots=True)
class Proven:
    """A token that has just come, and was proven.

    Args:
        svid: The token.
        fragment: The FetchJWTSVID response with it alone.
        authority: The key of the own bundle that proves it.
    """

    svid: JWTSVID
    fragment: bytes = field(repr=False)
    authority: TokenAuthority


@dataclass(eq=False, slots=True, kw_only=True)
class HeldJWT:
    """A token that verifies.

    Args:
        wanted: What it was signed for, with the entry as it was then.
        svid: The token.
        fragment: The FetchJWTSVID response with this token alone.
        authority: The key of the own bundle that it was signed by; tainted if it was so already then.
        least_life: With less than that left another one is better.
        renew_at: When to have another one.
        caller: Whose share it counts in.
        name: In the calendars.
        asked: Whether it has been asked for since it came.
        planned: Whether it is in the calendar of renewals.
    """

    wanted: Wanted
    svid: JWTSVID
    fragment: bytes = field(repr=False)
    authority: TokenAuthority
    least_life: timedelta
    renew_at: datetime
    caller: int
    name: str
    asked: bool = False
    planned: bool = True

    @property
    def weight(self) -> int:
        """What it costs to hold, in KiB."""
        texts = len(self.svid.token) + len(self.fragment)
        return 2 + (texts + _OF_AUDIENCE * len(self.wanted.asked)) // 1_024

    def trusted(self, own: Bundle) -> bool:
        """Whether its key is in the own bundle, and is no worse than when the token came."""
        authority = own.jwt_authority(self.authority.key_id)
        if authority is self.authority:
            return True
        if authority is None or authority.key != self.authority.key:
            return False
        if authority.tainted and not self.authority.tainted:
            return False
        self.authority = authority
        return True


@dataclass(eq=False, slots=True)
class _Shelf:
    """What is held for one entry."""

    # By caller, and by name; what was asked for longest ago is the first in both. None is empty.
    callers: dict[int, dict[str, HeldJWT]] = field(default_factory=dict)
    weights: dict[int, int] = field(default_factory=dict)  # by caller
    weight: int = 0

    def add(self, held: HeldJWT, sign: int) -> None:
        """Put a token in, or take it out when the sign is negative."""
        more = sign * held.weight
        self.weight += more
        self.weights[held.caller] = self.weights.get(held.caller, 0) + more
        mine = self.callers.setdefault(held.caller, {})
        if sign > 0:
            mine[held.name] = held
            return
        del mine[held.name]
        if not mine:
            del self.callers[held.caller], self.weights[held.caller]

    def touch(self, held: HeldJWT) -> None:
        """A token has been asked for."""
        mine = self.callers[held.caller] = self.callers.pop(held.caller)
        mine[held.name] = mine.pop(held.name)

    def heaviest(self) -> int:
        """The caller with the most; of several the one that has asked longest ago."""
        return max(self.callers, key=self.weights.__getitem__)

    def oldest(self, caller: int) -> HeldJWT:
        """What a caller has asked for longest ago."""
        return next(iter(self.callers[caller].values()))


class JWTCache:
    """The tokens of one agent. Whatever is asked touches a few of them."""

    def __init__(self) -> None:
        self.weight = 0
        """What all of them cost to hold, in KiB."""
        self._held: dict[Key, HeldJWT] = {}
        self._named: dict[str, HeldJWT] = {}
        self._shelves: dict[str, _Shelf] = {}  # by entry; none is empty
        self._by_weight = _ByWeight()
        self._number = 0
        self._ends = self._calendar_of_ends()
        self._renewals = self._calendar_of_renewals()

    def __len__(self) -> int:
        return len(self._held)

    def look(self, wanted: Wanted, now: datetime, own: Bundle) -> tuple[HeldJWT | None, Renewal]:
        """What a workload gets that asks now, and whether another one is to be had.

        Args:
            wanted: What it asks for.
            now: Aware.
            own: The own bundle.
        """
        held, entry = self._held.get(wanted.key), wanted.entry
        if held is None:
            return None, Renewal.FIRST
        left, signed_for = held.svid.expires_at - now, held.wanted.entry
        same = entry is signed_for or entry.same_subject(signed_for)
        if left <= timedelta(0) or not same or entry.unique_tokens or not held.trusted(own):
            self._drop(held)
            return None, Renewal.FIRST
        self._shelves[entry.id].touch(held)
        held.asked = True
        if left < held.least_life or entry.revision != signed_for.revision:
            return held, Renewal.FIRST
        return held, Renewal.BEHIND if now >= held.renew_at else Renewal.NONE

    def get(self, key: Key) -> HeldJWT | None:
        """The token that is held, whether or not it would be served."""
        return self._held.get(key)

    def put(self, wanted: Wanted, proven: Proven, *, now: datetime, spread: float, caller: int) -> HeldJWT:
        """Hold a token in place of the one so far, which goes on counting where it counted.

        Args:
            wanted: What was asked for, with the entry as it was then.
            proven: What came.
            now: Aware; before its end.
            spread: A random fraction, for the time of its renewal.
            caller: Whose share it counts in.
        """
        end, old = proven.svid.expires_at, self._held.get(wanted.key)
        if old is not None:
            self._drop(old)
        renew_at = Lifetime(now, end).renew_at(spread)
        if proven.authority.tainted:
            renew_at = min(renew_at, now + _TAINTED_LIFE)
        self._number += 1
        held = HeldJWT(
            wanted=wanted,
            svid=proven.svid,
            fragment=proven.fragment,
            authority=proven.authority,
            least_life=min(_LEAST_LIFE, (end - now) / _LEAST_SHARE),
            renew_at=renew_at,
            caller=caller if old is None else old.caller,
            name=str(self._number),
        )
        self._held[wanted.key] = self._named[held.name] = held
        self._count(held, 1)
        self._ends.put(held.name, end)
        self._renewals.put(held.name, renew_at)
        self._make_room(held)
        return held

    def forget(self, entry_id: str) -> None:
        """Drop all tokens of an entry."""
        shelf = self._shelves.get(entry_id)
        if shelf is not None:
            for held in [held for mine in shelf.callers.values() for held in mine.values()]:
                self._drop(held)

    def expire(self, now: datetime, most: int) -> None:
        """Drop tokens that have ended.

        Args:
            now: Aware.
            most: How many; more may be left.
        """
        for name in self._ends.take(now, most):
            self._remove(self._named[name])

    def due(self, now: datetime, most: int) -> list[Key]:
        """Tokens that are to be renewed, since they were asked for; each once.

        Args:
            now: Aware.
            most: How many to look at; more may be left.
        """
        ripe = [self._named[name] for name in self._renewals.take(now, most)]
        for held in ripe:
            held.planned = False
        return [held.wanted.key for held in ripe if held.asked]

    def next_at(self) -> datetime | None:
        """When the next token is to be renewed or dropped."""
        instants = (self._renewals.first(), self._ends.first())
        return min((each for each in instants if each is not None), default=None)

    def clear(self) -> None:
        """Drop everything."""
        self.weight = 0
        self._held.clear()
        self._named.clear()
        self._shelves.clear()
        self._by_weight = _ByWeight()
        self._ends = self._calendar_of_ends()
        self._renewals = self._calendar_of_renewals()

    # Inside.

    def _calendar_of_ends(self) -> Calendar:
        return Calendar(lambda name: self._named[name].svid.expires_at)

    def _calendar_of_renewals(self) -> Calendar:
        return Calendar(lambda name: self._named[name].renew_at)

    def _make_room(self, fresh: HeldJWT) -> None:
        shelf = self._shelves[fresh.wanted.entry.id]
        while shelf.weights[fresh.caller] > MOST_OF_CALLER:
            self._drop(shelf.oldest(fresh.caller))
        while shelf.weight > MOST_OF_ENTRY:
            self._drop(shelf.oldest(shelf.heaviest()))
        while self.weight > MOST:
            heavy = self._shelves[self._by_weight.heaviest()]
            self._drop(heavy.oldest(heavy.heaviest()))

    def _drop(self, held: HeldJWT) -> None:
        self._ends.drop(held.name, held.svid.expires_at)
        self._remove(held)

    def _remove(self, held: HeldJWT) -> None:
        """Let a token go that is in the calendar of ends no more."""
        if held.planned:
            self._renewals.drop(held.name, held.renew_at)
        self._count(held, -1)
        del self._held[held.wanted.key], self._named[held.name]

    def _count(self, held: HeldJWT, sign: int) -> None:
        entry_id = held.wanted.entry.id
        shelf = self._shelves.setdefault(entry_id, _Shelf())
        before = shelf.weight
        shelf.add(held, sign)
        self.weight += shelf.weight - before
        self._by_weight.move(entry_id, before, shelf.weight)
        if not shelf.weight:
            del self._shelves[entry_id]


class _ByWeight:
    """Names by a weight each, of which the heaviest is found at once."""

    __slots__ = ("_at", "_top")

    def __init__(self) -> None:
        self._at: dict[int, dict[str, None]] = {}  # none is empty
        self._top = 0  # nothing is heavier

    def move(self, name: str, old: int, new: int) -> None:
        """A name has another weight; none is zero."""
        if old:
            there = self._at[old]
            del there[name]
            if not there:
                del self._at[old]
        if new:
            self._at.setdefault(new, {})[name] = None
            self._top = max(self._top, new)

    def heaviest(self) -> str:
        """The heaviest name, of several the one that has been so for longest."""
        while self._top not in self._at:
            self._top -= 1
        return next(iter(self._at[self._top]))
