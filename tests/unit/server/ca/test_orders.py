from __future__ import annotations

from dataclasses import replace

import pytest

from finial.core.bundle import Bundle
from finial.core.errors import Kind, Reason
from finial.server.ca import orders
from finial.server.ca.orders import (
    OrderError,
    authority_id_of,
    not_ours,
    order_activate,
    order_prepare,
    order_revoke,
    order_taint,
    published,
)
from finial.server.ca.slots import Activate, Prepare, Slot, SlotName, Slots, Status, Why
from support.authorities import DOMAIN, root, slot

A, B = SlotName
ACTIVE, OLD, PREPARED = slot("A", Status.ACTIVE), slot("B", Status.OLD), slot("B", Status.PREPARED)
BUNDLE = Bundle(trust_domain=DOMAIN, x509_authorities=(root("A"), root("B"), root("C")))
TAINTED = replace(BUNDLE, tainted=frozenset({root("B"), root("C")}))
EMPTY = Bundle(trust_domain=DOMAIN)
REPLACED = authority_id_of(root("C"))  # in the bundle, and in no slot any more


def test_a_successor_is_prepared_in_place_of_any_before() -> None:
    for slots in (Slots([ACTIVE]), Slots([ACTIVE, OLD]), Slots([ACTIVE, PREPARED])):
        assert order_prepare(slots) == Prepare(B, Why.ORDERED)


def test_the_successor_is_activated_by_its_id() -> None:
    assert order_activate(Slots([ACTIVE, PREPARED]), PREPARED.authority_id) == Activate(B, Why.ORDERED)


def test_what_signed_before_is_tainted_in_its_slot_or_out_of_it() -> None:
    assert order_taint(Slots([ACTIVE, OLD]), OLD.authority_id, BUNDLE) == root("B")
    for held in ([ACTIVE], [ACTIVE, OLD], [ACTIVE, PREPARED]):
        assert order_taint(Slots(held), REPLACED, BUNDLE) == root("C")


def test_what_is_tainted_is_revoked_in_its_slot_or_out_of_it() -> None:
    assert order_revoke(Slots([ACTIVE, OLD]), OLD.authority_id, TAINTED) == root("B")
    for held in ([ACTIVE], [ACTIVE, OLD], [ACTIVE, PREPARED]):
        assert order_revoke(Slots(held), REPLACED, TAINTED) == root("C")


def test_an_authority_is_found_in_the_bundle_by_its_id() -> None:
    assert published(BUNDLE, OLD.authority_id) == [root("B")]
    assert not published(BUNDLE, "00")
    assert not published(None, OLD.authority_id)
    assert authority_id_of(replace(root("A"), subject_key_id=None)) == ""


def test_nothing_is_ordered_before_there_is_an_authority() -> None:
    for slots in (Slots(), Slots([PREPARED])):
        for order in (
            lambda slots=slots: order_prepare(slots),
            lambda slots=slots: order_activate(slots, "x"),
            lambda slots=slots: order_taint(slots, "x", BUNDLE),
            lambda slots=slots: order_revoke(slots, "x", BUNDLE),
        ):
            with pytest.raises(OrderError, match="server is initializing") as caught:
                order()
            assert caught.value.reason.kind is Kind.UNAVAILABLE


@pytest.mark.parametrize(
    ("slots", "authority_id", "message", "reason"),
    [
        ([ACTIVE, PREPARED], "", "no authority ID provided", orders.AUTHORITY_ID),
        ([ACTIVE, PREPARED], "00", "unexpected authority ID", orders.AUTHORITY_ID),
        ([ACTIVE, PREPARED], REPLACED, "unexpected authority ID", orders.AUTHORITY_ID),
        ([ACTIVE, PREPARED], ACTIVE.authority_id, "unexpected authority ID", orders.AUTHORITY_ID),
        (
            [ACTIVE, OLD],
            OLD.authority_id,
            "only Prepared authorities can be activated: unsupported local authority status: OLD",
            orders.NOT_PREPARED,
        ),
    ],
)
def test_what_is_not_activated(slots: list[Slot], authority_id: str, message: str, reason: Reason) -> None:
    with pytest.raises(OrderError, match=f"^{message}$") as caught:
        order_activate(Slots(slots), authority_id)
    assert caught.value.reason is reason
    assert caught.value.reason.hint


@pytest.mark.parametrize(
    ("slots", "authority_id", "bundle", "message", "reason"),
    [
        ([ACTIVE, OLD], "", BUNDLE, "no authority ID provided", orders.AUTHORITY_ID),
        ([ACTIVE, OLD], "\0" * 100, BUNDLE, "unexpected authority ID", orders.AUTHORITY_ID),
        ([ACTIVE, OLD], REPLACED, EMPTY, "unexpected authority ID", orders.AUTHORITY_ID),
        (
            [ACTIVE, OLD],
            ACTIVE.authority_id,
            BUNDLE,
            "unable to taint current local authority",
            orders.STATUS,
        ),
        (
            [ACTIVE, PREPARED],
            PREPARED.authority_id,
            BUNDLE,
            "only Old local authorities can be tainted: unsupported local authority status: PREPARED",
            orders.STATUS,
        ),
        (
            [ACTIVE, OLD],
            OLD.authority_id,
            TAINTED,
            "failed to taint X.509 authority: root CA is already tainted",
            orders.TAINTED,
        ),
        (
            [ACTIVE, OLD],
            OLD.authority_id,
            EMPTY,
            "failed to taint X.509 authority: no ca found with provided subject key ID",
            orders.GONE,
        ),
        (
            [ACTIVE, OLD],
            OLD.authority_id,
            None,
            "failed to taint X.509 authority: no ca found with provided subject key ID",
            orders.GONE,
        ),
    ],
)
def test_what_is_not_tainted(
    slots: list[Slot], authority_id: str, bundle: Bundle | None, message: str, reason: Reason
) -> None:
    with pytest.raises(OrderError, match=f"^{message}$") as caught:
        order_taint(Slots(slots), authority_id, bundle)
    assert caught.value.subject.isprintable()
    assert caught.value.reason is reason
    assert caught.value.reason.hint


@pytest.mark.parametrize(
    ("slots", "authority_id", "bundle", "message", "reason"),
    [
        ([ACTIVE, OLD], "", TAINTED, "invalid authority ID: no authority ID provided", orders.AUTHORITY_ID),
        (
            [ACTIVE, OLD],
            ACTIVE.authority_id,
            TAINTED,
            "invalid authority ID: unable to use current authority",
            orders.STATUS,
        ),
        (
            [ACTIVE, PREPARED],
            PREPARED.authority_id,
            TAINTED,
            "invalid authority ID: only Old local authority can be revoked",
            orders.STATUS,
        ),
        (
            [ACTIVE, OLD],
            "\0" * 100,
            TAINTED,
            "invalid authority ID: only Old local authority can be revoked",
            orders.AUTHORITY_ID,
        ),
        (
            [ACTIVE, OLD],
            OLD.authority_id,
            BUNDLE,
            "failed to revoke X.509 authority: it is not possible to revoke an untainted root CA",
            orders.UNTAINTED,
        ),
        (
            [ACTIVE, OLD],
            OLD.authority_id,
            EMPTY,
            "failed to revoke X.509 authority: no root CA found with provided subject key ID",
            orders.GONE,
        ),
    ],
)
def test_what_is_not_revoked(
    slots: list[Slot], authority_id: str, bundle: Bundle, message: str, reason: Reason
) -> None:
    with pytest.raises(OrderError, match=f"^{message}$") as caught:
        order_revoke(Slots(slots), authority_id, bundle)
    assert caught.value.subject.isprintable()
    assert caught.value.reason is reason
    assert caught.value.reason.hint


def test_what_another_server_signs_by_is_as_good_as_unknown() -> None:
    assert not_ours("00").message == "unexpected authority ID"
