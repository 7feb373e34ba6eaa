from __future__ import annotations

import pytest

from finial.core.errors import Kind
from finial.server.ca.orders import OrderError, order_activate, order_prepare, order_taint
from finial.server.ca.slots import Activate, Prepare, Slot, SlotName, Slots, Status, Why
from support.authorities import slot

A, B = SlotName
ACTIVE, OLD, PREPARED = slot("A", Status.ACTIVE), slot("B", Status.OLD), slot("B", Status.PREPARED)


def test_a_successor_is_prepared_in_place_of_any_before() -> None:
    for slots in (Slots([ACTIVE]), Slots([ACTIVE, OLD]), Slots([ACTIVE, PREPARED])):
        assert order_prepare(slots) == Prepare(B, Why.ORDERED)


def test_the_successor_is_activated_by_its_id() -> None:
    assert order_activate(Slots([ACTIVE, PREPARED]), PREPARED.authority_id) == Activate(B, Why.ORDERED)


def test_what_signed_before_is_tainted() -> None:
    assert order_taint(Slots([ACTIVE, OLD]), OLD.authority_id) is OLD


def test_nothing_is_ordered_before_there_is_an_authority() -> None:
    for slots in (Slots(), Slots([PREPARED])):
        for order in (
            lambda slots=slots: order_prepare(slots),
            lambda slots=slots: order_activate(slots, "x"),
            lambda slots=slots: order_taint(slots, "x"),
        ):
            with pytest.raises(OrderError, match="server is initializing") as caught:
                order()
            assert caught.value.reason.kind is Kind.UNAVAILABLE


@pytest.mark.parametrize(
    ("slots", "authority_id", "message"),
    [
        ([ACTIVE, PREPARED], "", "no authority ID provided"),
        ([ACTIVE, PREPARED], "00", "unexpected authority ID"),
        ([ACTIVE, PREPARED], ACTIVE.authority_id, "unexpected authority ID"),
        ([ACTIVE, OLD], OLD.authority_id, "only Prepared authorities can be activated: it is old"),
    ],
)
def test_what_is_not_activated(slots: list[Slot], authority_id: str, message: str) -> None:
    with pytest.raises(OrderError, match=f"^{message}$") as caught:
        order_activate(Slots(slots), authority_id)
    assert caught.value.reason.kind is Kind.INVALID
    assert caught.value.reason.hint


@pytest.mark.parametrize(
    ("slots", "authority_id", "message"),
    [
        ([ACTIVE, OLD], "", "no authority ID provided"),
        ([ACTIVE, OLD], "\0" * 100, "unexpected authority ID"),
        ([ACTIVE, OLD], ACTIVE.authority_id, "unable to taint current local authority"),
        (
            [ACTIVE, PREPARED],
            PREPARED.authority_id,
            "only Old local authorities can be tainted: it is prepared",
        ),
    ],
)
def test_what_is_not_tainted(slots: list[Slot], authority_id: str, message: str) -> None:
    with pytest.raises(OrderError, match=f"^{message}$") as caught:
        order_taint(Slots(slots), authority_id)
    assert caught.value.subject.isprintable()
