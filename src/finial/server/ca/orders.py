"""What an operator may order of the authorities, and what is refused. Pure.

The safe order is: prepare, activate, taint, wait until everything has been renewed, revoke. An authority that
has been replaced in its slot is still one of ours while it is in the bundle, so it can be tainted and revoked
there.
"""

from __future__ import annotations

from collections.abc import Sequence

from finial.core.bundle import Bundle
from finial.core.errors import FinialError, Kind, Reason, shown
from finial.core.x509cert import Certificate
from finial.server.ca.slots import Activate, Prepare, Slot, Slots, Status, Why

INITIALIZING = Reason(
    "ca-initializing",
    Kind.UNAVAILABLE,
    hint="Try again in a moment; look at the server's log if it stays so.",
    meaning="The server has no authority to sign by yet.",
)
AUTHORITY_ID = Reason(
    "ca-authority-id",
    Kind.INVALID,
    hint="`finial server authority show` shows the authorities and what each one is.",
    meaning="The ID given is not that of an authority which this can be done to.",
)
STATUS = Reason(
    "ca-authority-status",
    Kind.INVALID,
    hint="Keep to the order: prepare, activate, taint, revoke.",
    meaning="The authority is in a state in which this cannot be done to it.",
)
NOT_PREPARED = Reason(
    "ca-authority-not-prepared",
    Kind.CONFLICT,
    hint="Prepare another one: what has signed before does not sign again.",
    meaning="The authority to activate is not prepared.",
)
TAINTED = Reason(
    "ca-authority-tainted",
    Kind.CONFLICT,
    hint="Wait until nothing rests on it any more, then revoke it.",
    meaning="The authority to taint is tainted.",
)
UNTAINTED = Reason(
    "ca-authority-untainted",
    Kind.CONFLICT,
    hint="Taint it first, so that what rests on it is renewed.",
    meaning="The authority to revoke is not tainted.",
)
GONE = Reason(
    "ca-authority-gone",
    Kind.CONFLICT,
    hint="Nobody trusts it any more, so there is nothing left to be done.",
    meaning="The authority is not in the bundle any more.",
)

LAGGING = Reason(
    "ca-agents-behind",
    Kind.CONFLICT,
    hint="Evict agents that will not come back, and try again when the others have it.",
    meaning="Agents would refuse what the authority signs: they have not been told of it.",
)
RESTING = Reason(
    "ca-authority-in-use",
    Kind.CONFLICT,
    hint="Evict agents that will not come back, and try again when the others have renewed.",
    meaning="SVIDs that rest on the authority would be refused everywhere.",
)


class OrderError(FinialError):
    """An order about the authority that is refused."""


def authority_id_of(certificate: Certificate) -> str:
    """How operators name an authority: its subject key id in lower-case hex; empty when it has none."""
    return (certificate.subject_key_id or b"").hex()


def published(bundle: Bundle | None, authority_id: str) -> Sequence[Certificate]:
    """The authorities of the own bundle that have this ID."""
    authorities = () if bundle is None else bundle.x509_authorities
    return [each for each in authorities if authority_id_of(each) == authority_id]


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
        message = f"only Prepared authorities can be activated: {_unsupported(slot)}"
        raise OrderError(NOT_PREPARED, message, subject=authority_id)
    return Activate(slot.name, Why.ORDERED)


def order_taint(slots: Slots, authority_id: str, bundle: Bundle | None) -> Certificate:
    """The authority to rotate away from, which signs no more.

    Args:
        slots: As they are.
        authority_id: Of one that signed before, or that was replaced before it did.
        bundle: The own one.

    Raises:
        OrderError: Nothing signs yet, the ID is missing or unknown, or the authority signs, is about to, is
            tainted already, or is trusted no more.
    """
    active = _active(slots)
    _given(authority_id)
    slot = _find(slots, authority_id)
    found = published(bundle, authority_id)
    if slot is active:
        raise OrderError(STATUS, "unable to taint current local authority", subject=authority_id)
    if slot is not None and slot.status is not Status.OLD:
        message = f"only Old local authorities can be tainted: {_unsupported(slot)}"
        raise OrderError(STATUS, message, subject=authority_id)
    if slot is None and not found:
        raise _unexpected(authority_id)
    failed = "failed to taint X.509 authority"
    if bundle is None or not found:
        message = f"{failed}: no ca found with provided subject key ID"
        raise OrderError(GONE, message, subject=authority_id)
    if bundle.tainted.issuperset(found):
        raise OrderError(TAINTED, f"{failed}: root CA is already tainted", subject=authority_id)
    return found[0]


def order_revoke(slots: Slots, authority_id: str, bundle: Bundle | None) -> Certificate:
    """The authority that is to be trusted no more.

    Args:
        slots: As they are.
        authority_id: Of one that is tainted.
        bundle: The own one.

    Raises:
        OrderError: Nothing signs yet, the ID is missing or unknown, or the authority signs, is about to, is
            not tainted, or is trusted no more.
    """
    active = _active(slots)
    slot = _find(slots, authority_id)
    found = published(bundle, authority_id)
    wrong = ""
    if not authority_id:
        wrong = "no authority ID provided"
    elif slot is active:
        wrong = "unable to use current authority"
    elif (slot is None and not found) or (slot is not None and slot.status is not Status.OLD):
        wrong = "only Old local authority can be revoked"
    if wrong:
        reason = AUTHORITY_ID if slot is None else STATUS
        raise OrderError(reason, f"invalid authority ID: {wrong}", subject=shown(authority_id))
    failed = "failed to revoke X.509 authority"
    if bundle is None or not found:
        message = f"{failed}: no root CA found with provided subject key ID"
        raise OrderError(GONE, message, subject=authority_id)
    if not bundle.tainted.issuperset(found):
        message = f"{failed}: it is not possible to revoke an untainted root CA"
        raise OrderError(UNTAINTED, message, subject=authority_id)
    return found[0]


def not_ours(authority_id: str) -> OrderError:
    """The refusal of an authority that another server signs by, or is about to."""
    return _unexpected(authority_id)


def _active(slots: Slots) -> Slot:
    if slots.active is None:
        raise OrderError(INITIALIZING, "server is initializing")
    return slots.active


def _given(authority_id: str) -> None:
    if not authority_id:
        raise OrderError(AUTHORITY_ID, "no authority ID provided")


def _find(slots: Slots, authority_id: str) -> Slot | None:
    return next((slot for slot in slots if slot.authority_id == authority_id), None)


def _unexpected(authority_id: str) -> OrderError:
    return OrderError(AUTHORITY_ID, "unexpected authority ID", subject=shown(authority_id))


def _unsupported(slot: Slot) -> str:
    return f"unsupported local authority status: {slot.status.name}"
