"""The two slots that an authority and its successor take turns in. Pure: values and `now` in, values out.

Each kind of authority has its own two. While one slot signs, the other holds what comes next, published but
unused, or what came before. What may become of a slot is the table TRANSITIONS; what is to be done next is
`next_step`, which looks at nothing but the slots and the time and so says the right thing after a kill at any
moment and after any jump of the clock.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Generic

from finial.core.errors import FinialError, Kind, Reason
from finial.core.rotation import Lifetime
from finial.core.token_authority import TokenAuthority
from finial.core.x509_profile import BACKDATE
from finial.server.ca.kinds import A, AnyAuthority, authority_id_of

TAINT_NOTICE = timedelta(minutes=1)
"""For how long a successor has been published when it takes over from an active authority that is tainted."""

_SLOTS = Reason(
    "ca-slots",
    Kind.INTERNAL,
    meaning="The slots of the authority are in a state, or were to be brought into one, that cannot be.",
)


class SlotsError(FinialError):
    """A slot, or two of them together, that cannot be."""


class SlotName(StrEnum):
    """Which of the two."""

    A = "A"
    B = "B"


class Status(StrEnum):
    """What a slot is to the signing of SVIDs."""

    PREPARED = "prepared"  # published, not used yet
    ACTIVE = "active"  # signs
    OLD = "old"  # signed once and never will again; still published


class Event(StrEnum):
    """What happens to a slot."""

    PREPARE = "prepare"  # a new authority is put in it
    ACTIVATE = "activate"  # it begins to sign
    SUPERSEDE = "supersede"  # the other one begins to sign
    LOSE = "lose"  # its key is found to be gone


TRANSITIONS: Mapping[tuple[Status | None, Event], Status | None] = MappingProxyType(
    {
        (None, Event.PREPARE): Status.PREPARED,
        (Status.PREPARED, Event.PREPARE): Status.PREPARED,
        (Status.OLD, Event.PREPARE): Status.PREPARED,
        (Status.PREPARED, Event.ACTIVATE): Status.ACTIVE,
        (Status.ACTIVE, Event.SUPERSEDE): Status.OLD,
        (Status.OLD, Event.SUPERSEDE): Status.OLD,
        (Status.PREPARED, Event.LOSE): None,
        (Status.ACTIVE, Event.LOSE): Status.OLD,  # what it signed is still out there
        (Status.OLD, Event.LOSE): Status.OLD,
    }
)
"""Status before (None: empty) and event to status after; what is not here cannot happen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot(Generic[A]):
    """One authority in its slot.

    Args:
        name: Which slot.
        status: What it is to signing.
        key_id: Of its key in the key manager.
        authority: Its signing certificate, or its public key, without a taint.
        prepared_at: When it was published.
        activated_at: When it began to sign; None exactly while it is prepared.

    Raises:
        SlotsError: The status and the instants disagree, or nothing could be signed by the authority.
        RotationError: The authority ends before it begins.
    """

    name: SlotName
    status: Status
    key_id: str
    authority: A
    prepared_at: datetime
    activated_at: datetime | None = None
    lifetime: Lifetime = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if (self.status is Status.PREPARED) != (self.activated_at is None):
            raise SlotsError(_SLOTS, f"slot {self.name} is {self.status}, which its instants contradict")
        object.__setattr__(self, "lifetime", _lifetime(self.name, self.authority, self.prepared_at))

    @property
    def authority_id(self) -> str:
        """How operators name it."""
        return authority_id_of(self.authority)

    @property
    def end(self) -> datetime:
        """When it ends."""
        return self.lifetime.end

    def valid_at(self, now: datetime) -> bool:
        """Whether it can sign then; after a jump of the clock it may not have begun."""
        return self.lifetime.begin <= now < self.lifetime.end


def _lifetime(name: SlotName, authority: AnyAuthority, prepared_at: datetime) -> Lifetime:
    if isinstance(authority, TokenAuthority):
        if authority.expires_at is None:
            raise SlotsError(_SLOTS, f"the key of slot {name} has no end")
        # Nobody asks for the beginning of a key. But one that was made by a clock far ahead would have a life
        # as much longer, and so it ends with the clock's error, as a certificate does.
        return Lifetime(prepared_at - BACKDATE, authority.expires_at)
    constraints = authority.basic_constraints
    signing = constraints is not None and constraints.ca and authority.key is not None
    if not signing or authority.subject_key_id is None:
        raise SlotsError(_SLOTS, f"the certificate of slot {name} is no signing certificate")
    return Lifetime(authority.not_before, authority.not_after)


@dataclass(frozen=True, slots=True, init=False)
class Slots(Generic[A]):
    """Both slots, of which either may be empty.

    Args:
        held: What is in them.

    Raises:
        SlotsError: Two in one slot, two that sign, two that are prepared, or two with one key.
    """

    held: tuple[Slot[A], ...]

    def __init__(self, held: Iterable[Slot[A]] = ()) -> None:
        ordered = tuple(sorted(held, key=lambda slot: slot.name))
        for what, values in (
            ("name", [slot.name for slot in ordered]),
            ("key", [slot.key_id for slot in ordered]),
            ("status", [slot.status for slot in ordered if slot.status is not Status.OLD]),
        ):
            twice = [value for at, value in enumerate(values) if value in values[:at]]
            if twice:
                raise SlotsError(_SLOTS, f"two slots of the authority have one {what}: {twice[0]}")
        object.__setattr__(self, "held", ordered)

    def __iter__(self) -> Iterator[Slot[A]]:
        return iter(self.held)

    def named(self, name: SlotName) -> Slot[A] | None:
        """What is in this slot."""
        return next((slot for slot in self.held if slot.name is name), None)

    @property
    def active(self) -> Slot[A] | None:
        """The one that signs."""
        return self._with(Status.ACTIVE)

    @property
    def prepared(self) -> Slot[A] | None:
        """The one that is published and waits for its turn."""
        return self._with(Status.PREPARED)

    @property
    def old(self) -> Slot[A] | None:
        """The one that signed before; of two the later."""
        found = [slot for slot in self.held if slot.status is Status.OLD]
        return max(found, key=_activated, default=None)

    @property
    def spare(self) -> SlotName:
        """Where the next authority is put: what is prepared gives way first, what signs never."""
        if self.prepared is not None:
            return self.prepared.name
        for name in SlotName:
            if self.named(name) is None:
                return name
        return min((slot for slot in self.held if slot.status is Status.OLD), key=_activated).name

    def prepare(self, slot: Slot[A]) -> Slots[A]:
        """The slots when a new authority has been put in one.

        Raises:
            SlotsError: The slot is in use.
        """
        self._moved(slot.name, Event.PREPARE)
        return Slots([*self._others(slot.name), slot])

    def activate(self, name: SlotName, now: datetime) -> Slots[A]:
        """The slots when one has begun to sign, and the other, whatever it was, has not.

        Raises:
            SlotsError: The slot is not prepared.
        """
        moved = self._moved(name, Event.ACTIVATE, now)
        for other in self._others(name):
            moved += self._moved(other.name, Event.SUPERSEDE)
        return Slots(moved)

    def lose(self, name: SlotName) -> Slots[A]:
        """The slots when the key of one is found to be gone: it can sign no more.

        Raises:
            SlotsError: The slot is empty.
        """
        return Slots([*self._others(name), *self._moved(name, Event.LOSE)])

    def _with(self, status: Status) -> Slot[A] | None:
        return next((slot for slot in self.held if slot.status is status), None)

    def _others(self, name: SlotName) -> list[Slot[A]]:
        return [slot for slot in self.held if slot.name is not name]

    def _moved(self, name: SlotName, event: Event, activated_at: datetime | None = None) -> list[Slot[A]]:
        """What is in the slot after the event."""
        slot = self.named(name)
        before = None if slot is None else slot.status
        if (before, event) not in TRANSITIONS:
            raise SlotsError(_SLOTS, f"slot {name} of the authority is {before or 'empty'}: cannot {event}")
        after = TRANSITIONS[before, event]
        if slot is None or after is None or after is Status.PREPARED:
            return []  # nothing, or what is about to be put there
        return [replace(slot, status=after, activated_at=activated_at or slot.activated_at)]


class Why(StrEnum):
    """What a step is taken for."""

    NONE = "there is none that can sign"
    DUE = "its time has come"
    NOT_VALID = "the active one is not valid now"
    STALE = "the prepared one is not valid now"
    TAINTED = "the one so far is tainted"
    ORDERED = "an operator ordered it"


@dataclass(frozen=True, slots=True)
class Prepare:
    """Make and publish an authority.

    Args:
        slot: Where to put it.
        why: What for.
    """

    slot: SlotName
    why: Why


@dataclass(frozen=True, slots=True)
class Activate:
    """Sign by the authority that is prepared.

    Args:
        slot: Where it is.
        why: What for.
    """

    slot: SlotName
    why: Why


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before this instant.

    Args:
        until: Aware, UTC.
    """

    until: datetime


Step = Prepare | Activate | Wait


def next_step(slots: Slots[A], now: datetime, tainted: Collection[A] = ()) -> Step:
    """What is to be done with the slots.

    Args:
        slots: As the journal has them, without those that cannot sign any more.
        now: Aware, UTC.
        tainted: Authorities from which to rotate away.
    """
    active, prepared = slots.active, slots.prepared
    if prepared is not None and not prepared.valid_at(now):
        return Prepare(slots.spare, Why.STALE)
    if prepared is not None and prepared.authority in tainted:
        return Prepare(slots.spare, Why.TAINTED)
    if active is None or not active.valid_at(now):
        why = Why.NONE if active is None else Why.NOT_VALID
        return Prepare(slots.spare, why) if prepared is None else Activate(prepared.name, why)
    # Nobody taints the active one by an order; a database that was changed by hand may say so all the same.
    why = Why.TAINTED if active.authority in tainted else Why.DUE
    if prepared is None:
        due = active.lifetime.prepare_at()
        return Prepare(slots.spare, why) if why is Why.TAINTED or now >= due else Wait(due)
    due = _activate_at(active, prepared)
    if why is Why.TAINTED:
        due = min(due, prepared.prepared_at + TAINT_NOTICE)
    return Activate(prepared.name, why) if now >= due else Wait(due)


def _activate_at(active: Slot[A], prepared: Slot[A]) -> datetime:
    # One that was prepared late, after an outage or by order, is not used before it has been published for
    # half of what remained; one that was prepared in time has been, and more, at the usual instant.
    halfway = prepared.prepared_at + (active.lifetime.end - prepared.prepared_at) / 2
    # Where lifetimes were made shorter, it would otherwise expire again and again before its turn.
    return min(max(active.lifetime.activate_at(), halfway), prepared.lifetime.activate_at())


def _activated(slot: Slot[A]) -> datetime:
    return slot.activated_at or slot.prepared_at
