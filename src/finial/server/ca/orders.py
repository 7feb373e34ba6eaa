"""What an operator may order of the authorities, and what is refused. Pure.

The safe order is: prepare, activate, taint, wait until everything has been renewed, revoke. An authority that
has been replaced in its slot is still one of ours while it is in the bundle, so it can be tainted and revoked
there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from finial.core.bundle import Bundle
from finial.core.errors import FinialError, Reason, shown
from finial.core.errors import Kind as Failure
from finial.server.ca.kinds import A, Kind, KindName, named
from finial.server.ca.slots import Activate, Prepare, Slot, Slots, Status, Why

INITIALIZING = Reason(
    "ca-initializing",
    Failure.UNAVAILABLE,
    hint="Try again in a moment; look at the server's log if it stays so.",
    meaning="The server has no authority to sign by yet.",
)
AUTHORITY_ID = Reason(
    "ca-authority-id",
    Failure.INVALID,
    hint="`finial server authority show` shows the authorities and what each one is.",
    meaning="The ID given is not that of an authority which this can be done to.",
)
STATUS = Reason(
    "ca-authority-status",
    Failure.INVALID,
    hint="Keep to the order: prepare, activate, taint, revoke.",
    meaning="The authority is in a state in which this cannot be done to it.",
)
NOT_PREPARED = Reason(
    "ca-authority-not-prepared",
    Failure.CONFLICT,
    hint="Prepare another one: what has signed before does not sign again.",
    meaning="The authority to activate is not prepared.",
)
TAINTED = Reason(
    "ca-authority-tainted",
    Failure.CONFLICT,
    hint="Wait until nothing rests on it any more, then revoke it.",
    meaning="The authority to taint is tainted.",
)
UNTAINTED = Reason(
    "ca-authority-untainted",
    Failure.CONFLICT,
    hint="Taint it first, so that what rests on it is renewed.",
    meaning="The authority to revoke is not tainted.",
)
GONE = Reason(
    "ca-authority-gone",
    Failure.CONFLICT,
    hint="Nobody trusts it any more, so there is nothing left to be done.",
    meaning="The authority is not in the bundle any more.",
)

LAGGING = Reason(
    "ca-agents-behind",
    Failure.CONFLICT,
    hint="Evict agents that will not come back, and try again when the others have it.",
    meaning="Agents would refuse what the authority signs: they have not been told of it.",
)
RESTING = Reason(
    "ca-authority-in-use",
    Failure.CONFLICT,
    hint="Evict agents that will not come back, and try again when the others have renewed.",
    meaning="SVIDs that rest on the authority would be refused everywhere.",
)
TOKENS_OUT = Reason(
    "ca-tokens-out",
    Failure.CONFLICT,
    hint="Try again when the last of them has ended.",
    meaning="Tokens that the authority has signed would be refused everywhere; workloads have them.",
)


class OrderError(FinialError):
    """An order about the authority that is refused."""


@dataclass(frozen=True, slots=True)
class _Words:
    """How SPIRE speaks of the authorities of a kind.

    Args:
        noun: One of them.
        tainted: One that is tainted already.
        untainted: One that is not.
        not_to_taint: One to be tainted that is not in the bundle any more.
        not_to_revoke: The same, to be revoked.
        prepared: One to be revoked that is prepared.
        unknown: One to be revoked that there is not.
    """

    noun: str
    tainted: str
    untainted: str
    not_to_taint: str
    not_to_revoke: str
    prepared: str
    unknown: str


def _of_tokens(title: str) -> _Words:
    gone = f"no {title} Key found with provided key ID"
    return _Words(
        f"{title} authority",
        tainted="key is already tainted",
        untainted="it is not possible to revoke an untainted key",
        not_to_taint=gone,
        not_to_revoke=gone,
        prepared="unable to use a prepared key",
        unknown=f"no {title} authority found with provided authority ID",
    )


_WORDS: Final = {
    KindName.X509: _Words(
        "X.509 authority",
        tainted="root CA is already tainted",
        untainted="it is not possible to revoke an untainted root CA",
        not_to_taint="no ca found with provided subject key ID",
        not_to_revoke="no root CA found with provided subject key ID",
        prepared="only Old local authority can be revoked",
        unknown="only Old local authority can be revoked",
    ),
    KindName.JWT: _of_tokens("JWT"),
    KindName.WIT: _of_tokens("WIT"),
}


def order_prepare(slots: Slots[A]) -> Prepare:
    """Make a new successor, in place of the one that may be prepared already.

    Raises:
        OrderError: Nothing signs yet.
    """
    _active(slots)
    return Prepare(slots.spare, Why.ORDERED)


def order_activate(slots: Slots[A], authority_id: str) -> Activate:
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


def order_taint(slots: Slots[A], authority_id: str, *, kind: Kind[A], bundle: Bundle | None) -> A:
    """The authority to rotate away from, which signs no more.

    Args:
        slots: As they are.
        authority_id: Of one that signed before, or that was replaced before it did.
        kind: What is in the slots.
        bundle: The own one.

    Raises:
        OrderError: Nothing signs yet, the ID is missing or unknown, or the authority signs, is about to, is
            tainted already, or is trusted no more.
    """
    active, words = _active(slots), _WORDS[kind.name]
    _given(authority_id)
    slot = _find(slots, authority_id)
    found = named(kind, bundle, authority_id)
    if slot is active:
        raise OrderError(STATUS, "unable to taint current local authority", subject=authority_id)
    if slot is not None and slot.status is not Status.OLD:
        message = f"only Old local authorities can be tainted: {_unsupported(slot)}"
        raise OrderError(STATUS, message, subject=authority_id)
    if slot is None and not found:
        raise _unexpected(authority_id)
    failed = f"failed to taint {words.noun}"
    if bundle is None or not found:
        raise OrderError(GONE, f"{failed}: {words.not_to_taint}", subject=authority_id)
    if set(found) <= set(kind.tainted(bundle)):
        raise OrderError(TAINTED, f"{failed}: {words.tainted}", subject=authority_id)
    return found[0]


def order_revoke(slots: Slots[A], authority_id: str, *, kind: Kind[A], bundle: Bundle | None) -> A:
    """The authority that is to be trusted no more.

    Args:
        slots: As they are.
        authority_id: Of one that is tainted.
        kind: What is in the slots.
        bundle: The own one.

    Raises:
        OrderError: Nothing signs yet, the ID is missing or unknown, or the authority signs, is about to, is
            not tainted, or is trusted no more.
    """
    active, words = _active(slots), _WORDS[kind.name]
    slot = _find(slots, authority_id)
    found = named(kind, bundle, authority_id)
    wrong = ""
    if not authority_id:
        wrong = "no authority ID provided"
    elif slot is active:
        wrong = "unable to use current authority"
    elif slot is not None and slot.status is not Status.OLD:
        wrong = words.prepared
    elif slot is None and not found:
        wrong = words.unknown
    if wrong:
        reason = AUTHORITY_ID if slot is None else STATUS
        raise OrderError(reason, f"invalid authority ID: {wrong}", subject=shown(authority_id))
    failed = f"failed to revoke {words.noun}"
    if bundle is None or not found:
        raise OrderError(GONE, f"{failed}: {words.not_to_revoke}", subject=authority_id)
    if not set(found) <= set(kind.tainted(bundle)):
        raise OrderError(UNTAINTED, f"{failed}: {words.untainted}", subject=authority_id)
    return found[0]


def not_ours(authority_id: str) -> OrderError:
    """The refusal of an authority that another server signs by, or is about to."""
    return _unexpected(authority_id)


def _active(slots: Slots[A]) -> Slot[A]:
    if slots.active is None:
        raise OrderError(INITIALIZING, "server is initializing")
    return slots.active


def _given(authority_id: str) -> None:
    if not authority_id:
        raise OrderError(AUTHORITY_ID, "no authority ID provided")


def _find(slots: Slots[A], authority_id: str) -> Slot[A] | None:
    return next((slot for slot in slots if slot.authority_id == authority_id), None)


def _unexpected(authority_id: str) -> OrderError:
    return OrderError(AUTHORITY_ID, "unexpected authority ID", subject=shown(authority_id))


def _unsupported(slot: Slot[A]) -> str:
    return f"unsupported local authority status: {slot.status.name}"
