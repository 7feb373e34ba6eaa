"""What the agent holds by push: entries and bundles with their marks, and what they add up to. Pure.

A change comes in pages. They are put aside (`Staged`) and taken all at once or not at all (`Replica.take`),
and what is held then is compared with what the server says is held.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from finial.agent.entry import AuthorizedEntry
from finial.core.bundle import Bundle
from finial.core.errors import FinialError, Kind, Reason
from finial.core.ids import TrustDomain
from finial.core.setdigest import SetDigest

MOST_ENTRIES: Final = 1_000_000
MOST_BUNDLES: Final = 10_000
MOST_PAGES: Final = 100_000
MOST_BYTES: Final = 512 << 20
"""Of all pages of one change, as they travelled."""
_LONGEST_EPOCH: Final = 64

_PROTOCOL: Final = Reason("agent-push-protocol", Kind.UNAVAILABLE)


class PushError(FinialError):
    """What a server pushes breaks the rules; what is held stays as it is."""


@dataclass(frozen=True, slots=True)
class State:
    """What a server and its agent compare, in a few bytes.

    Args:
        epoch: Of the database.
        seq: How far in its log the rest reaches.
        entries: What the marks of the entries add up to.
        bundles: What the marks of the bundles add up to.
    """

    epoch: str
    seq: int
    entries: SetDigest
    bundles: int

    def says_alike(self, other: State) -> bool:
        """Whether both tell of the same content of one database, wherever its log stands."""
        return self.epoch == other.epoch and self.entries == other.entries and self.bundles == other.bundles


@dataclass(frozen=True, slots=True)
class HeldEntry:
    """An entry as the server counts it.

    Args:
        id: Of the entry.
        mark: Over the whole of it, as the server gave it.
        entry: What the agent works with; None for one that is of no use, and is counted all the same.
        names: The trust domains whose bundles belong to it.
    """

    id: str
    mark: int
    entry: AuthorizedEntry | None
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HeldBundle:
    """A bundle as the server counts it.

    Args:
        name: Of its trust domain.
        mark: Over its message.
        bundle: What the agent works with; None for one that cannot be read.
    """

    name: str
    mark: int
    bundle: Bundle | None


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a change.

    Args:
        reset: Whether what is held, and does not come from here on, is gone.
        entries: That came, or say something else.
        gone: Ids of those that are no more.
        bundles: That came, or say something else.
        bundles_gone: Names of trust domains whose bundles are no more.
        size: Bytes, as it travelled.
    """

    reset: bool = False
    entries: tuple[HeldEntry, ...] = ()
    gone: tuple[str, ...] = ()
    bundles: tuple[HeldBundle, ...] = ()
    bundles_gone: tuple[str, ...] = ()
    size: int = 0


@dataclass(slots=True)
class Staged:
    """Pages of a change that is not complete. What a later page says of something counts."""

    whole: bool = False
    entries: dict[str, HeldEntry | None] = field(default_factory=dict)
    """By id; None for one that is gone."""
    bundles: dict[str, HeldBundle | None] = field(default_factory=dict)
    """By name; None for one that is gone."""
    _pages: int = 0
    _bytes: int = 0

    @property
    def empty(self) -> bool:
        """Whether nothing is changed by it."""
        return not (self.whole or self.entries or self.bundles)

    def add(self, page: Page) -> None:
        """Put a page aside.

        Raises:
            PushError: It names something twice, or the change has grown beyond every bound.
        """
        came = {entry.id: entry for entry in page.entries}
        brought = {bundle.name: bundle for bundle in page.bundles}
        if (
            len(came) + len(set(page.gone)) != len(page.entries) + len(page.gone)
            or len(brought) + len(set(page.bundles_gone)) != len(page.bundles) + len(page.bundles_gone)
            or not came.keys().isdisjoint(page.gone)
            or not brought.keys().isdisjoint(page.bundles_gone)
        ):
            raise refused("the server names something twice on one page")
        if page.reset:
            self.whole = True
            self.entries, self.bundles = {}, {}
        self._pages += 1
        self._bytes += page.size
        self.entries.update(dict.fromkeys(page.gone))
        self.entries.update(came)
        self.bundles.update(dict.fromkeys(page.bundles_gone))
        self.bundles.update(brought)
        if (
            self._pages > MOST_PAGES
            or self._bytes > MOST_BYTES
            or len(self.entries) > MOST_ENTRIES
            or len(self.bundles) > MOST_BUNDLES
        ):
            raise refused("the server sends a change that has no end")


@dataclass(frozen=True, slots=True)
class Taken:
    """What a change has done to what is held.

    Args:
        whole: Whether everything that is held has come with it.
        came: Entries that are of use and are new or say something else.
        gone: Ids of those that are not of use, or not there, any more.
        own_bundle: Whether the own bundle has come.
        foreign: Whether a foreign bundle has come or gone.
        new_epoch: Whether it is of another database than what was held before.
        differs: In what the sums are not those that the server tells of; empty when they are.
    """

    whole: bool = False
    came: tuple[AuthorizedEntry, ...] = ()
    gone: tuple[str, ...] = ()
    own_bundle: bool = False
    foreign: bool = False
    new_epoch: bool = False
    differs: str = ""


class Replica:
    """The server's set for one agent, as the agent holds it.

    A foreign bundle is held as long as an entry names it: by this rule the server counts too, so it need not
    say that a bundle is gone whose last entry is.

    Args:
        own: The own trust domain.
    """

    def __init__(self, own: TrustDomain) -> None:
        self._own = own.name
        self._position: tuple[str, int] | None = None  # in the log of which database
        self._entries: dict[str, HeldEntry] = {}
        self._bundles: dict[str, HeldBundle] = {}
        self._entry_sum = SetDigest()
        self._bundle_sum = SetDigest()
        self._named: dict[str, int] = {}  # trust domains, by how many entries

    @property
    def entries(self) -> Mapping[str, HeldEntry]:
        """All entries by id, the useless ones among them; to be looked at only."""
        return self._entries

    @property
    def state(self) -> State | None:
        """What is held; None when that is nothing."""
        if self._position is None:
            return None
        return State(*self._position, self._entry_sum, self._bundle_sum.total)

    @property
    def own_bundle(self) -> Bundle:
        """The own bundle; there is one as soon as anything is held."""
        bundle = self._bundles[self._own].bundle
        assert bundle is not None
        return bundle

    def foreign_bundles(self) -> Iterator[HeldBundle]:
        """All others, those that cannot be read among them."""
        return (held for name, held in self._bundles.items() if name != self._own)

    def useful(self) -> Iterator[AuthorizedEntry]:
        """The entries that are of use."""
        return (held.entry for held in self._entries.values() if held.entry is not None)

    def forget(self) -> None:
        """Hold nothing: what is in force comes by other ways."""
        self._position = None
        self._empty()

    def confirm(self, state: State) -> None:
        """The server has what the agent told it: remember how far its log is, unless more has come since."""
        if self._position is not None and self._position[0] == state.epoch:
            self._position = (state.epoch, max(state.seq, self._position[1]))

    def take(self, staged: Staged, state: State) -> Taken:
        """Put a complete change in force.

        Args:
            staged: All its pages.
            state: What the server says is held from then on.

        Raises:
            PushError: It lies before what is held already, leaves no own bundle, or makes too much.
        """
        self._judge(staged, state)
        new_epoch = self._position is not None and self._position[0] != state.epoch
        self._position = (state.epoch, state.seq)
        touched: Iterable[str] = staged.entries
        if staged.whole:
            touched = self._entries
        useful = [each for each in touched if (held := self._entries.get(each)) is not None and held.entry]
        if staged.whole:
            self._empty()
        came = self._take_entries(staged.entries)
        foreign = self._take_bundles(staged.bundles, state.bundles)
        still = {entry.id for entry in came}
        return Taken(
            whole=staged.whole,
            came=came,
            gone=tuple(entry_id for entry_id in useful if entry_id not in still),
            own_bundle=self._own in staged.bundles,
            foreign=foreign or staged.whole,
            new_epoch=new_epoch,
            differs=self._difference(state),
        )

    def _judge(self, staged: Staged, state: State) -> None:
        if not 0 < len(state.epoch) <= _LONGEST_EPOCH:
            raise refused(f"the server tells of an epoch of {len(state.epoch)} characters")
        if self._position is not None:
            epoch, seq = self._position
            if state.epoch == epoch and state.seq < seq:
                raise refused(f"the server is at {state.seq} of its log, this agent has seen {seq}")
        held = None if staged.whole else self._bundles.get(self._own)
        own = staged.bundles.get(self._own, held)
        if own is None or own.bundle is None or not own.bundle.x509_authorities:
            raise refused(f"the server leaves no usable bundle of {self._own}")
        if not staged.whole:
            more = sum(1 for entry_id in staged.entries if entry_id not in self._entries)
            if len(self._entries) + more > MOST_ENTRIES:
                raise refused(f"the server sends more than {MOST_ENTRIES} entries")

    def _empty(self) -> None:
        self._entries, self._bundles, self._named = {}, {}, {}
        self._entry_sum = self._bundle_sum = SetDigest()

    def _take_entries(self, staged: Mapping[str, HeldEntry | None]) -> tuple[AuthorizedEntry, ...]:
        came = []
        for entry_id, fresh in staged.items():
            old = self._entries.pop(entry_id, None)
            if old is not None:
                self._entry_sum = self._entry_sum.minus(old.mark)
                self._count(old.names, -1)
            if fresh is not None:
                self._entries[entry_id] = fresh
                self._entry_sum = self._entry_sum.plus(fresh.mark)
                self._count(fresh.names, 1)
                if fresh.entry is not None:
                    came.append(fresh.entry)
        return tuple(came)

    def _count(self, names: Iterable[str], by: int) -> None:
        for name in names:
            count = self._named.get(name, 0) + by
            if count:
                self._named[name] = count
            else:
                del self._named[name]

    def _take_bundles(self, staged: Mapping[str, HeldBundle | None], wanted: int) -> bool:
        """Take what came, and drop what no entry names; whether that concerns a foreign one.

        A server that finds, at the beginning of a call, that the bundles are not the right ones does not know
        which the agent holds: it tells all of them, and its sum says so.
        """
        foreign = False
        for name, fresh in staged.items():
            foreign |= name != self._own
            self._put(name, fresh)
        all_told = _sum(held for held in staged.values() if held is not None) == wanted
        for name in [name for name in self._bundles if name != self._own]:
            gone = all_told and name not in staged and self._bundle_sum.total != wanted
            if gone or name not in self._named:
                foreign = True
                self._put(name, None)
        return foreign

    def _put(self, name: str, fresh: HeldBundle | None) -> None:
        old = self._bundles.pop(name, None)
        if old is not None:
            self._bundle_sum = self._bundle_sum.minus(old.mark)
        if fresh is not None:
            self._bundles[name] = fresh
            self._bundle_sum = self._bundle_sum.plus(fresh.mark)

    def _difference(self, state: State) -> str:
        found = []
        if self._entry_sum.count != state.entries.count:
            found.append(f"{self._entry_sum.count} entries here, {state.entries.count} there")
        elif self._entry_sum != state.entries:
            found.append(f"what {self._entry_sum.count} entries say")
        if self._bundle_sum.total != state.bundles:
            found.append(f"what {self._bundle_sum.count} bundles say")
        return ", ".join(found)


def _sum(bundles: Iterable[HeldBundle]) -> int:
    total = SetDigest()
    for held in bundles:
        total = total.plus(held.mark)
    return total.total


def refused(why: str) -> PushError:
    """The error for what a server must not push."""
    return PushError(_PROTOCOL, why)
