"""Who watches what: open streams, by the selectors of their callers and by what they are shown.

Callers with the same selectors are entitled to the same: they are one audience, which is looked up once and
shares what was encoded for it. What a change concerns is found by index, never by a look at all streams.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Final, Self, TypeVar

from finial.agent.change import Profile
from finial.agent.encode import Joined
from finial.agent.entry import AuthorizedEntry
from finial.agent.holdings import Held
from finial.core.ids import TrustDomain
from finial.core.selectors import Selector

_MOST_IDLE: Final = 256
"""Audiences that are kept though nobody watches: callers that come again and again cost less."""

_Key = TypeVar("_Key")


@dataclass(eq=False, slots=True)
class Content:
    """What a caller gets.

    Args:
        entitled: Whether any entry is for it.
        joined: The encoded response; None when there is nothing to fill one with.
        complete: Whether it is not worth to wait for what is missing: there is nothing, or others are there
            and it has failed already.
        shown: The SVIDs in the message, with their entries.
        until: When it may be another without anybody having been told.
    """

    entitled: bool
    joined: Joined | None
    complete: bool
    shown: tuple[tuple[AuthorizedEntry, Held], ...] = ()
    until: datetime | None = None

    @property
    def message(self) -> bytes | None:
        """The encoded response."""
        return None if self.joined is None else self.joined.data


@dataclass(frozen=True, eq=False, slots=True)
class View:
    """One of the things that callers can be shown.

    Args:
        profile: Whose it is: what changes for others does not change it.
        make: What callers with some entries are shown, in an order, at an instant.
    """

    profile: Profile
    make: Callable[[tuple[AuthorizedEntry, ...], datetime], Content]


@dataclass(eq=False, slots=True)
class Audience:
    """Callers with the same selectors.

    Args:
        selectors: Theirs.
        watchers: Their open streams.
        entries: What they are entitled to; None when that has to be looked up.
        ids: Of the entries that they are indexed by.
        domains: The foreign trust domains that their entries name, sorted.
        contents: What they are shown, as far as it has been made.
    """

    selectors: frozenset[Selector]
    watchers: set[Watcher] = field(default_factory=set)
    entries: tuple[AuthorizedEntry, ...] | None = None
    ids: tuple[str, ...] = ()
    domains: tuple[TrustDomain, ...] = ()
    contents: dict[View, Content] = field(default_factory=dict)

    def forget(self, profiles: AbstractSet[Profile]) -> None:
        """What these profiles show has changed, and has to be made anew."""
        for view in [view for view in self.contents if view.profile in profiles]:
            del self.contents[view]


class Watcher:
    """One open stream, which is told when to look again; to be used as a context.

    Args:
        audiences: Where it is known.
        profile: What it is about; it is told of nothing else.
    """

    __slots__ = ("_audiences", "_waiter", "audience", "profile", "told")

    def __init__(self, audiences: Audiences, profile: Profile = Profile.X509) -> None:
        self.profile = profile
        self.told = False
        """Whether to look again; whoever looks clears it before."""
        self.audience: Audience | None = None
        self._audiences = audiences
        self._waiter: asyncio.Future[None] | None = None

    def tell(self) -> None:
        """Let it look again."""
        self.told = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def news(self) -> asyncio.Future[None]:
        """Done when the watcher is told, or has been already; to be waited for by one task."""
        self._waiter = asyncio.get_running_loop().create_future()
        if self.told:
            self._waiter.set_result(None)
        return self._waiter

    def __enter__(self) -> Self:
        self._audiences.open += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._audiences.open -= 1
        self._audiences.part(self)


class Audiences:
    """All of them, and the index."""

    def __init__(self) -> None:
        self.open = 0
        """How many streams there are, also those that have not looked yet."""
        self._all: dict[frozenset[Selector], Audience] = {}
        self._idle: dict[
            frozenset[Selector], Audience
        ] = {}  # those of them that nobody watches, oldest first
        # For each key those who have it; none is empty.
        self._by_selector: dict[Selector, set[Audience]] = {}
        self._by_entry: dict[str, set[Audience]] = {}
        self._by_domain: dict[TrustDomain, set[Audience]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def join(self, watcher: Watcher, selectors: frozenset[Selector]) -> Audience:
        """The audience that a stream belongs to from now on.

        Args:
            watcher: The stream's.
            selectors: Of its caller, at this moment.
        """
        audience = watcher.audience
        if audience is not None and audience.selectors == selectors:
            return audience
        self.part(watcher)
        audience = self._with(selectors)
        self._idle.pop(selectors, None)
        audience.watchers.add(watcher)
        watcher.audience = audience
        return audience

    def visit(self, selectors: frozenset[Selector]) -> Audience:
        """The audience of a caller that is answered once and does not stay.

        Args:
            selectors: Of the caller, at this moment.
        """
        audience = self._with(selectors)
        if not audience.watchers:
            self._idle.pop(selectors, None)
            self._rest(audience)
        return audience

    def show(self, audience: Audience, entries: tuple[AuthorizedEntry, ...]) -> None:
        """An audience is entitled to these entries, and is told of what happens to them.

        Args:
            audience: Which.
            entries: All of them, in order.
        """
        ids = tuple(entry.id for entry in entries)
        domains = tuple(sorted({domain for entry in entries for domain in entry.federates_with}))
        if ids != audience.ids:
            _take_out(self._by_entry, audience.ids, audience)
            _enter(self._by_entry, ids, audience)
        if domains != audience.domains:
            _take_out(self._by_domain, audience.domains, audience)
            _enter(self._by_domain, domains, audience)
        audience.entries, audience.ids, audience.domains = entries, ids, domains

    def everyone(self) -> Iterable[Audience]:
        """All audiences."""
        return self._all.values()

    def concerned(
        self, ids: Iterable[str], came: Iterable[AuthorizedEntry], domains: Iterable[TrustDomain]
    ) -> set[Audience]:
        """Whom a change concerns.

        Args:
            ids: Of entries that have changed in any way.
            came: Entries that are new or say something else, which others may be entitled to than before.
            domains: Foreign trust domains with another bundle.
        """
        found: set[Audience] = set()
        for entry_id in ids:
            found |= self._by_entry.get(entry_id, frozenset())
        for domain in domains:
            found |= self._by_domain.get(domain, frozenset())
        for entry in came:
            # Whoever fits has all of its selectors: the rarest leaves the fewest to be looked at.
            rarest = min((self._by_selector.get(each, set()) for each in entry.selectors), key=len)
            found.update(each for each in rarest if entry.selectors <= each.selectors)
        return found

    def part(self, watcher: Watcher) -> None:
        """A stream belongs to no audience any more."""
        audience, watcher.audience = watcher.audience, None
        if audience is not None:
            audience.watchers.discard(watcher)
            if not audience.watchers:
                self._rest(audience)

    def _with(self, selectors: frozenset[Selector]) -> Audience:
        audience = self._all.get(selectors)
        if audience is None:
            audience = self._all[selectors] = Audience(selectors)
            _enter(self._by_selector, selectors, audience)
        return audience

    def _rest(self, audience: Audience) -> None:
        self._idle[audience.selectors] = audience
        if len(self._idle) > _MOST_IDLE:
            selectors, oldest = next(iter(self._idle.items()))
            del self._idle[selectors], self._all[selectors]
            _take_out(self._by_selector, selectors, oldest)
            self.show(oldest, ())


def _enter(index: dict[_Key, set[Audience]], keys: Iterable[_Key], audience: Audience) -> None:
    for key in keys:
        index.setdefault(key, set()).add(audience)


def _take_out(index: dict[_Key, set[Audience]], keys: Iterable[_Key], audience: Audience) -> None:
    for key in keys:
        there = index[key]
        there.discard(audience)
        if not there:
            del index[key]
