"""The service that keeps an authority active and its successor published, through kills and failures.

It is the same for roots and for keys of tokens. Each step is done in an order that can be broken off
anywhere: the key is durable before the row that names it, the row and the publication are one transaction,
the activation is durable before anything is signed, and a key is deleted only when no row names it. What a
broken step leaves behind is a key without a row, which is deleted, or a prepared authority, which is
activated when its time comes.

Operators may order a step out of turn. Orders and the steps that are due go through one lock, and each order
begins by reading what the journal says.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Generic

from finial.core.bundle import Bundle
from finial.core.errors import FinialError
from finial.core.keys import PrivateKey, public_key_der
from finial.plugin.keys import KeyManager
from finial.runtime.chance import Chance
from finial.runtime.clock import Clock, wait_at_most
from finial.runtime.log import fields
from finial.runtime.retry import Backoff
from finial.server.ca.journal import Journal, read, to_row
from finial.server.ca.kinds import A, AnyAuthority, Kind, KindName
from finial.server.ca.offices import Office
from finial.server.ca.orders import (
    OrderError,
    order_activate,
    order_prepare,
    order_revoke,
    order_taint,
)
from finial.server.ca.slots import Activate, Prepare, Slot, SlotName, Slots, Status, Wait, next_step

CHECK_EVERY = timedelta(seconds=10)
"""The wall clock may be set while we sleep, so it is looked at that often."""

_NAME_BYTES = 16
_FIRST_RETRY, _LEAST_RETRY = timedelta(seconds=1), timedelta(milliseconds=100)
_log = logging.getLogger("finial.server.ca")


def key_prefix(kind: KindName) -> str:
    """What the ids of a kind's keys begin with; others in the same key manager are left alone."""
    return f"{kind}-ca-"


class Rotation(Generic[A]):
    """Keeps an authority of one kind active.

    Args:
        office: What authorities take turns in; told of each activation.
        journal: Where the slots are written down.
        keys: Where the keys are.
        clock: Says when to take a step.
        chance: Gives names and delays.
    """

    def __init__(
        self, office: Office[A], *, journal: Journal, keys: KeyManager, clock: Clock, chance: Chance
    ) -> None:
        self._office = office
        self._journal = journal
        self._keys = keys
        self._clock = clock
        self._chance = chance
        self._backoff = Backoff(_FIRST_RETRY, CHECK_EVERY, chance=chance, least=_LEAST_RETRY)
        # All below are written by `start`, then by whoever holds the lock: `run`, or an order.
        self._lock = asyncio.Lock()
        self._slots: Slots[A] = Slots()
        self._bundle: Bundle | None = None  # the own one, as it was when the journal was last read
        self._held: dict[str, PrivateKey] = {}  # by key id, of the slots that can sign
        self._doubtful = False  # a step failed: only the journal knows what came of it
        self._untidy = True  # there may be keys that no slot names
        self._wake = asyncio.Event()  # an order has left something for `run`

    @property
    def kind(self) -> Kind[A]:
        """Of the authorities."""
        return self._office.kind

    @property
    def slots(self) -> Slots[A]:
        """The slots as they are now."""
        return self._slots

    def last_end(self, authority: A) -> datetime | None:
        """When the last SVID ends that an authority may have signed; None when nobody can say."""
        return self._office.last_end(authority)

    async def start(self) -> None:
        """Return when there is an authority to sign by, the one from before if it can.

        Raises:
            JournalError: The journal is damaged, or another trust domain's.
            FinialError: It cannot be read or written, or a key cannot be made or read.
        """
        await self._load()
        while not self._adopt():
            await self._step()

    async def run(self) -> None:
        """Take each step when its time comes, until cancelled; `start` has returned before.

        What fails is tried again, soon and then less often; until then the active authority goes on.
        """
        while True:
            await wait_at_most(self._clock, self._wake, await self._round())

    async def prepare(self) -> Slot[A]:
        """Make and publish a successor by order, in place of one that is prepared already.

        Raises:
            OrderError: Nothing signs yet.
            FinialError: It was not done, or nobody knows whether it was.
        """
        async with self._order():
            step = order_prepare(self._slots)
            await self._prepare(step)
            return self._in(step.slot)

    async def activate(self, authority_id: str) -> Slot[A]:
        """Sign by the successor from now on, by order.

        Args:
            authority_id: The successor's.

        Raises:
            OrderError: It is refused.
            FinialError: It was not done, or nobody knows whether it was.
        """
        async with self._order():
            step = order_activate(self._slots, authority_id)
            await self._activate(step)
            return self._in(step.slot)

    async def taint(self, authority_id: str) -> A:
        """Mark an authority that signs no more as one to rotate away from.

        Args:
            authority_id: Of an authority in the own bundle.

        Raises:
            OrderError: It is refused.
            FinialError: It was not done, or nobody knows whether it was.
        """
        async with self._order():
            found = order_taint(self._slots, authority_id, kind=self.kind, bundle=self._bundle)
            await self._journal.taint(authority_id)
            return found

    async def revoke(self, authority_id: str) -> A:
        """Take a tainted authority out of the own bundle.

        Args:
            authority_id: Of an authority in the own bundle.

        Raises:
            OrderError: It is refused.
            FinialError: It was not done, or nobody knows whether it was.
        """
        async with self._order():
            found = order_revoke(self._slots, authority_id, kind=self.kind, bundle=self._bundle)
            await self._journal.revoke(authority_id)
            return found

    @asynccontextmanager
    async def _order(self) -> AsyncIterator[None]:
        """The lock, with all as the journal says; what is left to be done afterwards is done at once."""
        async with self._lock:
            self._doubtful = True
            try:
                await self._load()
                yield
            except OrderError:
                raise
            except BaseException:  # cancelled as well: only the journal knows what came of it
                self._doubtful = True
                raise
            finally:
                self._wake.set()

    async def _round(self) -> timedelta:
        """Do what is due; say how long to sleep."""
        self._wake.clear()
        async with self._lock:
            return await self._due()

    async def _due(self) -> timedelta:
        try:
            if self._doubtful:
                await self._load()
            self._adopt()  # also one that a jump of the clock had made invalid at its activation
            until = await self._step()
            while until is None:
                until = await self._step()
        except FinialError as error:
            self._doubtful = True
            pause = self._backoff.next()
            _log.error(
                "the authority could not be rotated and will be again",
                extra=fields(
                    kind=self.kind.name.value,
                    error=error.message,
                    reason=error.reason.id,
                    next_step=error.reason.hint,
                    again_in_s=pause.total_seconds(),
                ),
            )
            return pause
        self._backoff.reset()
        await self._tidy()
        return min(until - self._clock.now(), CHECK_EVERY)

    async def _load(self) -> None:
        """Take over what the journal says, as far as the keys are there."""
        written = await self._journal.load()
        slots = read(written.rows, self.kind, self._office.trust_domain)
        trusted = () if written.bundle is None else self.kind.published(written.bundle)
        now = self._clock.now()
        held: dict[str, PrivateKey] = {}
        for slot in slots:
            if slot.status is Status.OLD:
                continue  # signs no more, so it needs no key
            key = await self._keys.get(slot.key_id)
            if slot.authority not in trusted:
                if now < slot.end:  # what has ended long ago is taken out of every bundle
                    _log.warning(_unpublished(slot), extra=self._fields(slot))
                slots = slots.lose(slot.name)
            elif key is None or not _belongs(key, slot.authority):
                _log.warning(_lost(slot), extra=self._fields(slot))
                slots = slots.lose(slot.name)
            else:
                held[slot.key_id] = key
        self._slots, self._held, self._bundle = slots, held, written.bundle
        self._doubtful = False
        self._untidy = True

    def _adopt(self, *, first: bool = False) -> bool:
        """Sign by the active slot, perhaps for the first time of all; whether it is valid."""
        active = self._slots.active
        if active is None or not active.valid_at(self._clock.now()):
            return False
        if active.authority != self._office.authority:
            self._office.use(active.authority, self._held[active.key_id], first=first)
            _log.info("authority in use", extra=self._fields(active))
        return True

    async def _step(self) -> datetime | None:
        """Take the next step if it is due; until when to wait if it is not."""
        step = next_step(self._slots, self._clock.now(), self._tainted)
        if isinstance(step, Wait):
            return step.until
        if isinstance(step, Prepare):
            await self._prepare(step)
        else:
            await self._activate(step)
        self._untidy = True
        return None

    async def _prepare(self, step: Prepare) -> None:
        # A new name each time: a key's id that is used again would let a kill pair a new key with an old row.
        name = self._chance.token(_NAME_BYTES).hex()
        key_id = f"{key_prefix(self.kind.name)}{step.slot.lower()}-{name}"
        key = await self._keys.generate(key_id, self._office.key_type)
        now = self._clock.now()
        slot = Slot(
            name=step.slot,
            status=Status.PREPARED,
            key_id=key_id,
            authority=self._office.make(name, key, now),
            prepared_at=now,
        )
        await self._journal.prepare(to_row(slot, self.kind))
        self._slots = self._slots.prepare(slot)
        self._held[key_id] = key
        _log.info("authority prepared and published", extra=self._fields(slot, why=step.why.value))

    async def _activate(self, step: Activate) -> None:
        slots = self._slots.activate(step.slot, self._clock.now())
        active, old = slots.active, slots.old
        assert active is not None
        await self._journal.activate(
            to_row(active, self.kind), None if old is None else to_row(old, self.kind)
        )
        self._slots = slots
        _log.info("authority activated", extra=self._fields(active, why=step.why.value))
        self._adopt(first=True)

    @property
    def _tainted(self) -> Collection[A]:
        return () if self._bundle is None else self.kind.tainted(self._bundle)

    def _in(self, name: SlotName) -> Slot[A]:
        slot = self._slots.named(name)
        assert slot is not None  # it has just been put there
        return slot

    async def _tidy(self) -> None:
        """Delete our keys that no slot names."""
        if not self._untidy:
            return
        named = {slot.key_id for slot in self._slots}
        try:
            for key_id in sorted(await self._keys.ids() - named):
                if key_id.startswith(key_prefix(self.kind.name)):
                    await self._keys.delete(key_id)
        except FinialError as error:
            _log.warning(
                "keys that are no longer needed could not be deleted and will be again",
                extra=fields(
                    kind=self.kind.name.value,
                    error=error.message,
                    reason=error.reason.id,
                    next_step=error.reason.hint,
                ),
            )
            return
        self._held = {key_id: key for key_id, key in self._held.items() if key_id in named}
        self._untidy = False

    def _fields(self, slot: Slot[A], **more: str) -> dict[str, object]:
        return fields(
            kind=self.kind.name.value,
            slot=slot.name.value,
            authority_id=slot.authority_id,
            not_after=slot.end.isoformat(),
            **more,
        )


def _belongs(key: PrivateKey, authority: AnyAuthority) -> bool:
    ours = authority.key
    return ours is not None and public_key_der(key.public_key()) == public_key_der(ours)


def _unpublished(slot: Slot[A]) -> str:
    if slot.status is Status.PREPARED:
        return "the prepared authority has been taken out of the bundle: another one is prepared"
    return (
        "the active authority has been taken out of the bundle: another one is published and used at once; "
        "what the old one signed is not trusted any more"
    )


def _lost(slot: Slot[A]) -> str:
    if slot.status is Status.PREPARED:
        return "the key of the prepared authority is gone: another one is prepared"
    return (
        "the key of the active authority is gone: another one is published and used at once; what the old "
        "one signed holds until it expires, new SVIDs are refused by peers that have not the new bundle yet"
    )
