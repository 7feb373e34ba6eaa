"""What is written down of the slots, so that a server which was killed knows what it had begun.

There is a journal for each kind of authority.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter
from typing import Protocol

from finial.core.bundle import Bundle
from finial.core.errors import FinialError, Reason, shown
from finial.core.errors import Kind as Failure
from finial.core.ids import TrustDomain
from finial.plugin.keys import check_key_id
from finial.server.ca.kinds import A, Kept, Kind
from finial.server.ca.slots import Slot, SlotName, Slots, SlotsError, Status

_DAMAGED = Reason(
    "ca-journal-damaged",
    Failure.UNAVAILABLE,
    hint="Restore the database from a backup, or delete the row from the table of authorities: "
    "the server then publishes a new authority, and what the lost one signed holds until it expires.",
)
_FOREIGN = Reason(
    "ca-journal-foreign",
    Failure.CONFLICT,
    hint="Name the trust domain that the data folder belongs to, or choose another data folder.",
)

_TYPES: Mapping[str, type] = {
    "kind": str,
    "slot": str,
    "status": str,
    "key_id": str,
    "certificate": bytes,
    "prepared_at": int,
    "activated_at": int,
    "ends_at": int,
}


class JournalError(FinialError):
    """The journal of the authority cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotRow:
    """A slot in plain types, one row of a table.

    Args:
        kind: Of the authority, by its word.
        slot: Name.
        status: By its word.
        key_id: Of the key in the key manager.
        certificate: DER of the certificate, or of the public key of tokens.
        prepared_at: Unix seconds.
        activated_at: Unix seconds; 0 when it has never signed.
        ends_at: Unix seconds; 0 when the certificate says it.
    """

    kind: str
    slot: str
    status: str
    key_id: str
    certificate: bytes
    prepared_at: int
    activated_at: int = 0
    ends_at: int = 0


@dataclass(frozen=True, slots=True)
class Written:
    """What the journal holds.

    Args:
        rows: Of one kind, at most one for each slot.
        bundle: The own bundle; None before the first authority is published.
    """

    rows: tuple[SlotRow, ...]
    bundle: Bundle | None


class Journal(Protocol):
    """Keeps the rows of one kind. Whatever returns is durable; whatever raises may have been done."""

    async def load(self) -> Written:
        """Everything, as it is at one moment.

        Raises:
            FinialError: It cannot be read.
        """

    async def prepare(self, row: SlotRow) -> None:
        """In one transaction: put the row in its slot, and its authority into the own bundle.

        Args:
            row: With the status PREPARED; replaces what was in its slot.

        Raises:
            BundleError: It was not done: its key id is in the bundle already.
            FinialError: It was not done, or nobody knows whether it was.
        """

    async def activate(self, new: SlotRow, old: SlotRow | None) -> None:
        """In one transaction: put both rows in their slots.

        Args:
            new: With the status ACTIVE.
            old: What is in the other slot, with the status OLD; None when that one is empty.

        Raises:
            FinialError: It was not done, or nobody knows whether it was.
        """

    async def taint(self, authority_id: str) -> None:
        """Mark the authority in the own bundle as one to rotate away from.

        Args:
            authority_id: Its ID.

        Raises:
            OrderError: It is in a slot of another server.
            FinialError: It was not done, or nobody knows whether it was.
        """

    async def revoke(self, authority_id: str) -> None:
        """Take the authority out of the own bundle; its row, if it has one, stays.

        Args:
            authority_id: Its ID.

        Raises:
            OrderError: It is in a slot of another server.
            FinialError: It was not done, or nobody knows whether it was.
        """


def to_row(slot: Slot[A], kind: Kind[A]) -> SlotRow:
    """A slot as it is written down.

    Args:
        slot: Whatever is in it.
        kind: Of its authority.
    """
    kept = kind.to_kept(slot.authority)
    return SlotRow(
        kind=kind.name.value,
        slot=slot.name.value,
        status=slot.status.value,
        key_id=slot.key_id,
        certificate=kept.data,
        prepared_at=_seconds(slot.prepared_at),
        activated_at=_seconds(slot.activated_at),
        ends_at=_seconds(kept.end),
    )


def authority_in(row: SlotRow, kind: Kind[A]) -> A:
    """The authority that a row holds.

    Args:
        row: As it was read, or is about to be written.
        kind: Of the authority.

    Raises:
        JournalError: Its end is out of range.
        RefusedError: It holds none.
    """
    name = row.key_id.rpartition("-")[2]
    return kind.from_kept(Kept(name, row.certificate, _instant("ends_at", row.ends_at)))


def from_row(row: SlotRow, kind: Kind[A], trust_domain: TrustDomain) -> Slot[A]:
    """The slot that a row describes.

    Args:
        row: As it was read.
        kind: Of the authority that it has to be.
        trust_domain: Whose authority it has to be.

    Raises:
        JournalError: It describes none, or one of another trust domain; the message names the row.
    """
    where = f"slot {shown(str(row.slot))} in the journal of the {kind.title} authority"
    try:
        _check_types(row)
        check_key_id(row.key_id)
        if row.kind != kind.name:
            raise JournalError(_DAMAGED, f"it is of kind {shown(row.kind)}")
        prepared_at = _instant("prepared_at", row.prepared_at)
        if prepared_at is None:
            raise JournalError(_DAMAGED, "prepared_at is missing")
        slot = Slot(
            name=SlotName(row.slot),
            status=Status(row.status),
            key_id=row.key_id,
            authority=authority_in(row, kind),
            prepared_at=prepared_at,
            activated_at=_instant("activated_at", row.activated_at),
        )
    except (FinialError, ValueError) as error:
        raise JournalError(_DAMAGED, f"{where} is damaged: {error}", subject=where) from error
    stranger = kind.stranger(slot.authority, trust_domain)
    if stranger:
        message = f"{where} belongs to {stranger}, not {trust_domain}"
        raise JournalError(_FOREIGN, message, subject=where)
    return slot


def read(rows: Iterable[SlotRow], kind: Kind[A], trust_domain: TrustDomain) -> Slots[A]:
    """The slots that the whole journal of a kind describes.

    Two can both be prepared when their keys were lost together and a kill came before one was activated; the
    later one counts.

    Args:
        rows: As they were read.
        kind: Of the authorities that they have to be.
        trust_domain: Whose authorities they have to be.

    Raises:
        JournalError: A row describes no slot, or they contradict each other.
    """
    slots = [from_row(row, kind, trust_domain) for row in rows]
    prepared = sorted(
        (slot for slot in slots if slot.status is Status.PREPARED), key=attrgetter("prepared_at")
    )
    if len({slot.name for slot in prepared}) > 1:
        slots.remove(prepared[0])
    try:
        return Slots(slots)
    except SlotsError as error:
        message = f"the journal of the {kind.title} authority is damaged: {error}"
        raise JournalError(_DAMAGED, message) from error


def _check_types(row: SlotRow) -> None:
    # Some databases store whatever they are given, whatever the column's type.
    for column, kind in _TYPES.items():
        if type(getattr(row, column)) is not kind:
            raise JournalError(_DAMAGED, f"{column} is not of type {kind.__name__}")


def _seconds(instant: datetime | None) -> int:
    return 0 if instant is None else int(instant.timestamp())


def _instant(column: str, seconds: int) -> datetime | None:
    if not seconds:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise JournalError(_DAMAGED, f"{column} is out of range") from error
