"""The service that keeps an authority active and its successor published, through kills and failures.

Each step is done in an order that can be broken off anywhere: the key is durable before the row that names
it, the row and the published root are one transaction, the activation is durable before anything is signed,
and a key is deleted only when no row names it. What a broken step leaves behind is a key without a row, which
is deleted, or a prepared authority, which is activated when its time comes.

Operators may order a step out of turn. Orders and the steps that are due go through one lock, and each order
begins by reading what the journal says.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509

from finial.core.bundle import Bundle
from finial.core.errors import FinialError
from finial.core.keys import KeyType, PrivateKey, public_key_der
from finial.core.x509_profile import CARequest, Order, issue_root
from finial.core.x509cert import Certificate
from finial.plugin.keys import KeyManager
from finial.runtime.chance import Chance, serial_number
from finial.runtime.clock import Clock, wait_at_most
from finial.runtime.log import fields
from finial.runtime.retry import Backoff
from finial.server.ca.issue import Authority
from finial.server.ca.journal import Journal, read, to_row
from finial.server.ca.orders import (
    OrderError,
    order_activate,
    order_prepare,
    order_revoke,
    order_taint,
)
from finial.server.ca.slots import Activate, Prepare, Slot, SlotName, Slots, Status, Wait, next_step

KEY_PREFIX = "x509-ca-"
"""Begins the ids of the keys that are ours; others in the same key manager are left alone."""

CHECK_EVERY = timedelta(seconds=10)
"""The wall clock may be set while we sleep, so it is looked at that often."""

_FIRST_RETRY, _LEAST_RETRY = timedelta(seconds=1), timedelta(milliseconds=100)
_log = logging.getLogger("finial.server.ca")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorityPlan:
    """What authorities are made.

    Args:
        ttl: How long one lives.
        key_type: What key it has.
        subject: Its name, in place of the usual one.
    """

    ttl: timedelta
    key_type: KeyType
    subject: x509.Name | None = None


class Rotation:
    """Keeps an authority active.

    Args:
        plan: What authorities to make.
        authority: The one that signs; told of each activation.
        journal: Where the slots are written down.
        keys: Where the keys are.
        clock: Says when to take a step.
        chance: Gives serial numbers, key ids and delays.
        on_activated: Called with the signing certificate each time another one begins to sign;
            does not raise.
    """

    def __init__(
        self,
        plan: AuthorityPlan,
        *,
        authority: Authority,
        journal: Journal,
        keys: KeyManager,
        clock: Clock,
        chance: Chance,
        on_activated: Callable[[Certificate], None],
    ) -> None:
        self._plan = plan
        self._authority = authority
        self._journal = journal
        self._keys = keys
        self._clock = clock
        self._chance = chance
        self._on_activated = on_activated
        self._backoff = Backoff(_FIRST_RETRY, CHECK_EVERY, chance=chance, least=_LEAST_RETRY)
        # All below are written by `start`, then by whoever holds the lock: `run`, or an order.
        self._lock = asyncio.Lock()
        self._slots = Slots()
        self._bundle: Bundle | None = None  # the own one, as it was when the journal was last read
        self._held: dict[str, PrivateKey] = {}  # by key id, of the slots that can sign
        self._doubtful = False  # a step failed: only the journal knows what came of it
        self._untidy = True  # there may be keys that no slot names
        self._wake = asyncio.Event()  # an order has left something for `run`

    @property
    def slots(self) -> Slots:
        """The slots as they are now."""
        return self._slots

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

    async def prepare(self) -> Slot:
        """Make and publish a successor by order, in place of one that is prepared already.

        Raises:
            OrderError: Nothing signs yet.
            FinialError: It was not done, or nobody knows whether it was.
        """
        async with self._order():
            step = order_prepare(self._slots)
            await self._prepare(step)
            return self._in(step.slot)

    async def activate(self, authority_id: str) -> Slot:
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

    async def taint(self, authority_id: str) -> Certificate:
        """Mark an authority that signs no more as one to rotate away from.

        Args:
            authority_id: Of an authority in the own bundle.

        Raises:
            OrderError: It is refused.
            FinialError: It was not done, or nobody knows whether it was.
        """
        async with self._order():
            found = order_taint(self._slots, authority_id, self._bundle)
            await self._journal.taint(authority_id)
            return found

    async def revoke(self, authority_id: str) -> Certificate:
        """Take a tainted authority out of the own bundle.

        Args:
            authority_id: Of an authority in the own bundle.

        Raises:
            OrderError: It is refused.
            FinialError: It was not done, or nobody knows whether it was.
        """
        async with self._order():
            found = order_revoke(self._slots, authority_id, self._bundle)
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
        slots = read(written.rows, self._authority.trust_domain)
        trusted = () if written.bundle is None else written.bundle.x509_authorities
        held: dict[str, PrivateKey] = {}
        for slot in slots:
            if slot.status is Status.OLD:
                continue  # signs no more, so it needs no key
            key = await self._keys.get(slot.key_id)
            if slot.certificate not in trusted:
                _log.warning(_unpublished(slot), extra=_fields(slot))
                slots = slots.lose(slot.name)
            elif key is None or not _belongs(key, slot.certificate):
                _log.warning(_lost(slot), extra=_fields(slot))
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
        if active.certificate != self._authority.certificate:
            self._authority.use(active.certificate, self._held[active.key_id], first=first)
            _log.info("authority in use", extra=_fields(active))
            self._on_activated(active.certificate)
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
        # A new id each time: an id that is used again would let a kill pair a new key with an old row.
        key_id = f"{KEY_PREFIX}{step.slot.lower()}-{self._chance.token(8).hex()}"
        key = await self._keys.generate(key_id, self._plan.key_type)
        now = self._clock.now()
        order = Order(now=now, serial=serial_number(self._chance), ttl=self._plan.ttl)
        request = CARequest(
            trust_domain=self._authority.trust_domain,
            public_key=key.public_key(),
            subject=self._plan.subject,
        )
        certificate = issue_root(request, order, key=key)
        slot = Slot(
            name=step.slot, status=Status.PREPARED, key_id=key_id, certificate=certificate, prepared_at=now
        )
        await self._journal.prepare(to_row(slot), certificate.der)
        self._slots = self._slots.prepare(slot)
        self._held[key_id] = key
        _log.info("authority prepared and published", extra=_fields(slot, why=step.why.value))

    async def _activate(self, step: Activate) -> None:
        slots = self._slots.activate(step.slot, self._clock.now())
        active, old = slots.active, slots.old
        assert active is not None
        await self._journal.activate(to_row(active), None if old is None else to_row(old))
        self._slots = slots
        _log.info("authority activated", extra=_fields(active, why=step.why.value))
        self._adopt(first=True)

    @property
    def _tainted(self) -> Collection[Certificate]:
        return () if self._bundle is None else self._bundle.tainted

    def _in(self, name: SlotName) -> Slot:
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
                if key_id.startswith(KEY_PREFIX):
                    await self._keys.delete(key_id)
        except FinialError as error:
            _log.warning(
                "keys that are no longer needed could not be deleted and will be again",
                extra=fields(error=error.message, reason=error.reason.id, next_step=error.reason.hint),
            )
            return
        self._held = {key_id: key for key_id, key in self._held.items() if key_id in named}
        self._untidy = False


def _belongs(key: PrivateKey, certificate: Certificate) -> bool:
    ours = certificate.key
    return ours is not None and public_key_der(key.public_key()) == public_key_der(ours)


def _unpublished(slot: Slot) -> str:
    if slot.status is Status.PREPARED:
        return "the prepared authority has been taken out of the bundle: another one is prepared"
    return (
        "the active authority has been taken out of the bundle: another one is published and used at once; "
        "what the old one signed is not trusted any more"
    )


def _lost(slot: Slot) -> str:
    if slot.status is Status.PREPARED:
        return "the key of the prepared authority is gone: another one is prepared"
    return (
        "the key of the active authority is gone: another one is published and used at once; SVIDs below the "
        "old one hold until they expire, new ones are refused by peers that have not the new bundle yet"
    )


def _fields(slot: Slot, **more: str) -> dict[str, object]:
    return fields(
        slot=slot.name.value,
        authority_id=slot.authority_id,
        not_after=slot.certificate.not_after.isoformat(),
        **more,
    )
