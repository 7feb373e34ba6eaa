"""What is written down of the slots, so that a server which was killed knows what it had begun."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter
from typing import Protocol

from finial.core.bundle import Bundle
from finial.core.errors import FinialError, Kind, Reason, shown
from finial.core.ids import TrustDomain
from finial.core.x509cert import Certificate
from finial.plugin.keys import check_key_id
from finial.server.ca.slots import Slot, SlotName, Slots, SlotsError, Status

_DAMAGED = Reason(
    "ca-journal-damaged",
    Kind.UNAVAILABLE,
    hint="Restore the database from a backup, or delete the row from the table of authorities: "
    "the server then publishes a new authority, and SVIDs below the lost one hold until they expire.",
)
_FOREIGN = Reason(
    "ca-journal-foreign",
    Kind.CONFLICT,
    hint="Name the trust domain that the data folder belongs to, or choose another data folder.",
)

_TYPES: Mapping[str, type] = {
    "slot": str,
    "status": str,
    "key_id": str,
    "certificate": bytes,
    "prepared_at": int,
    "activated_at": int,
}


class JournalError(FinialError):
    """The journal of the authority cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotRow:
    """A slot in plain types, one row of a table.

    Args:
        slot: Name.
        status: By its word.
        key_id: Of the key in the key manager.
        certificate: DER.
        prepared_at: Unix seconds.
        activated_at: Unix seconds; 0 when it has never signed.
    """

    slot: str
    status: str
    key_id: str
    certificate: bytes
    prepared_at: int
    activated_at: int = 0


@dataclass(frozen=True, slots=True)
class Written:
    """What the journal holds.

    Args:
        rows: At most one for each slot.
        bundle: The own bundle; None before the first authority is published.
    """

    rows: tuple[SlotRow, ...]
    bundle: Bundle | None


class Journal(Protocol):
    """Keeps the rows. Whatever returns is durable; whatever raises may have been done all the same."""

    async def load(self) -> Written:
        """Everything, as it is at one moment.

        Raises:
            FinialError: It cannot be read.
        """

    async def prepare(self, row: SlotRow, authority: bytes) -> None:
        """In one transaction: put the row in its slot, and the authority into the own bundle.

        Args:
            row: With the status PREPARED; replaces what was in its slot.
            authority: DER of the certificate to publish.

        Raises:
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
            authority_id: Its subject key id in lower-case hex.

        Raises:
            OrderError: It is in a slot of another server.
            FinialError: It was not done, or nobody knows whether it was.
        """

    async def revoke(self, authority_id: str) -> None:
        """Take the authority out of the own bundle; its row, if it has one, stays.

        Args:
            authority_id: Its subject key id in lower-case hex.

        Raises:
            OrderError: It is in a slot of another server.
            FinialError: It was not done, or nobody knows whether it was.
        """


def to_row(slot: Slot) -> SlotRow:
    """A slot as it is written down."""
    activated = slot.activated_at
    return SlotRow(
        slot=slot.name.value,
        status=slot.status.value,
        key_id=slot.key_id,
        certificate=slot.certificate.der,
        prepared_at=int(slot.prepared_at.timestamp()),
        activated_at=0 if activated is None else int(activated.timestamp()),
    )


def from_row(row: SlotRow, trust_domain: TrustDomain) -> Slot:
    """The slot that a row describes.

    Args:
        row: As it was read.
        trust_domain: Whose authority it has to be.

    Raises:
        JournalError: It describes none, or one of another trust domain; the message names the row.
    """
    where = f"slot {shown(str(row.slot))} in the journal of the authority"
    try:
        _check_types(row)
        check_key_id(row.key_id)
        certificate = Certificate.parse(row.certificate)
        slot = Slot(
            name=SlotName(row.slot),
            status=Status(row.status),
            key_id=row.key_id,
            certificate=certificate,
            prepared_at=_instant("prepared_at", row.prepared_at),
            activated_at=_instant("activated_at", row.activated_at) if row.activated_at else None,
        )
    except (FinialError, ValueError) as error:
        raise JournalError(_DAMAGED, f"{where} is damaged: {error}", subject=where) from error
    names = certificate.names.uris
    if names != (trust_domain.id.text,):
        message = (
            f"{where} belongs to {', '.join(map(shown, names)) or 'no trust domain'}, not {trust_domain}"
        )
        raise JournalError(_FOREIGN, message, subject=where)
    return slot


def read(rows: Iterable[SlotRow], trust_domain: TrustDomain) -> Slots:
    """The slots that the whole journal describes.

    Two can both be prepared when their keys were lost together and a kill came before one was activated; the
    later one counts.

    Args:
        rows: As they were read.
        trust_domain: Whose authorities they have to be.

    Raises:
        JournalError: A row describes no slot, or they contradict each other.
    """
    slots = [from_row(row, trust_domain) for row in rows]
    prepared = sorted(
        (slot for slot in slots if slot.status is Status.PREPARED), key=attrgetter("prepared_at")
    )
    if len({slot.name for slot in prepared}) > 1:
        slots.remove(prepared[0])
    try:
        return Slots(slots)
    except SlotsError as error:
        message = f"the journal of the authority is damaged: {error}"
        raise JournalError(_DAMAGED, message) from error


def _check_types(row: SlotRow) -> None:
    # Some databases store whatever they are given, whatever the column's type.
    for column, kind in _TYPES.items():
        if type(getattr(row, column)) is not kind:
            raise JournalError(_DAMAGED, f"{column} is not of type {kind.__name__}")


def _instant(column: str, seconds: int) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise JournalError(_DAMAGED, f"{column} is out of range") from error
