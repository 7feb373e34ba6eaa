"""What an operator may order of the slots, and what is refused. Pure.

The safe order is: prepare, activate, taint, wait until everything has been renewed, revoke.
"""

from __future__ import annotations

from finial.core.errors import FinialError, Kind, Reason, shown
from finial.server.ca.slots import Activate, Prepare, Slot, Slots, Status, Why

INITIALIZING = Reason(
    "ca-initializing",
    Kind.UNAVAILABLE,
    hint="Try again in a moment; look at the server's log if it stays so.",
    meaning="The server has no authority to sign by yet.",
)
_AUTHORITY_ID = Reason(
    "ca-authority-id",
    Kind.INVALID,
    hint="Take the authority's ID from the state that the server shows.",
    meaning="The ID given is not that of an authority which this can be done to.",
)
_STATUS = Reason(
    "ca-authority-status",
    Kind.INVALID,
    hint="Keep to the order: prepare, activate, taint, revoke.",
    meaning="The authority is in a state in which this cannot be done to it.",
)


class OrderError(FinialError):
    """An order about the authority that is refused."""


def order_prepare(slots: Slots) -> Prepare:
    """Make a new successor, in place of the one that may be prepared already.

    Raises:
        OrderError: Nothing signs yet.
    """
    _active(slots)
    return Prepare(slots.spare, Why.ORDERED)


def order_activate(slots: Slots, authority_id: str) -> Activate:
    """Sign by the successor from now on.

    Args:
        slots: As they are.
        authority_id: The successor's, so that nobody activates what they have not looked at.

    Raises:
        OrderError: Nothing signs yet, the ID is missing or another's, or there is no successor.
    """
    active = _active(slots)
    _given(authority_id)
    slot = _find(slots, authority_id)
    if slot is None or slot is active:
        raise _unexpected(authority_id)
    if slot.status is not Status.PREPARED:
        message = f"only Prepared authorities can be activated: it is {slot.status}"
        raise OrderError(_STATUS, message, subject=authority_id)
    return Activate(slot.name, Why.ORDERED)


def order_taint(slots: Slots, authority_id: str) -> Slot:
    """The authority to rotate away from, which must have signed and sign no more.

    Args:
        slots: As they are.
        authority_id: Of the one that signed before.

    Raises:
        OrderError: Nothing signs yet, the ID is missing or unknown, or it still signs or never has.
    """
    active = _active(slots)
    _given(authority_id)
    slot = _find(slots, authority_id)
    if slot is None:
        raise _unexpected(authority_id)
    if slot is active:
        raise OrderError(_STATUS, "unable to taint current local authority", subject=authority_id)
    if slot.status is not Status.OLD:
        message = f"only Old local authorities can be tainted: it is {slot.status}"
        raise OrderError(_STATUS, message, subject=authority_id)
    return slot


def _active(slots: Slots) -> Slot:
    if slots.active is None:
        raise OrderError(INITIALIZING, "server is initializing")
    return slots.active


def _given(authority_id: str) -> None:
    if not authority_id:
        raise OrderError(_AUTHORITY_ID, "no authority ID provided")


def _find(slots: Slots, authority_id: str) -> Slot | None:
    return next((slot for slot in slots if slot.authority_id == authority_id), None)


def _unexpected(authority_id: str) -> OrderError:
    return OrderError(_AUTHORITY_ID, "unexpected authority ID", subject=shown(authority_id))
