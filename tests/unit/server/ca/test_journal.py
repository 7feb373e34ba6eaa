from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finial.core.errors import Kind
from finial.core.ids import TrustDomain
from finial.server.ca.journal import JournalError, SlotRow, from_row, read, to_row
from finial.server.ca.slots import SlotName, Slots, Status
from support import forge
from support.authorities import DOMAIN, slot
from support.clock import START

GOOD = slot("A", Status.ACTIVE)
ROW = to_row(GOOD)


@pytest.mark.parametrize("status", list(Status))
def test_a_slot_survives_being_written_down(status: Status) -> None:
    before = slot("B", status)
    row = to_row(before)
    assert (row.slot, row.status, row.key_id) == ("B", status.value, "key-b")
    assert row.prepared_at == int(START.timestamp())
    assert row.activated_at == (0 if status is Status.PREPARED else int(START.timestamp()))
    assert from_row(row, DOMAIN) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"slot": "C"}, "slot 'C' in the journal of the authority is damaged: 'C' is not a valid SlotName"),
        ({"slot": 7}, "slot '7' in the journal of the authority is damaged: slot is not of type str"),
        ({"status": "ACTIVE"}, "is damaged: 'ACTIVE' is not a valid Status"),
        ({"status": "prepared"}, "is damaged: slot A is prepared, which its instants contradict"),
        ({"activated_at": 0}, "is damaged: slot A is active, which its instants contradict"),
        ({"key_id": "../x"}, "is damaged: key id '../x' is malformed"),
        ({"key_id": None}, "is damaged: key_id is not of type str"),
        ({"certificate": b""}, "is damaged: certificate: cannot be read"),
        ({"certificate": "text"}, "is damaged: certificate is not of type bytes"),
        ({"certificate": ROW.certificate[:-1]}, "is damaged: certificate: cannot be read"),
        (
            {"certificate": forge.leaf(forge.root()).der},
            "is damaged: the certificate of slot A is no signing",
        ),
        ({"prepared_at": 10**18}, "is damaged: prepared_at is out of range"),
        ({"activated_at": -(10**30)}, "is damaged: activated_at is out of range"),
        ({"prepared_at": True}, "is damaged: prepared_at is not of type int"),
    ],
)
def test_a_damaged_row_is_named_with_what_to_do(change: dict[str, Any], message: str) -> None:
    with pytest.raises(JournalError) as caught:
        from_row(replace(ROW, **change), DOMAIN)
    assert message in caught.value.message
    assert caught.value.message.startswith("slot ")
    assert "\n" not in caught.value.message
    assert "delete the row" in caught.value.reason.hint


def test_an_authority_of_another_trust_domain() -> None:
    with pytest.raises(JournalError) as caught:
        from_row(ROW, TrustDomain("b.test"))
    assert (
        caught.value.message
        == "slot 'A' in the journal of the authority belongs to 'spiffe://a.test', not b.test"
    )
    assert caught.value.reason.kind is Kind.CONFLICT
    nameless = forge.root(uris=()).der
    with pytest.raises(JournalError, match="belongs to no trust domain, not a.test"):
        from_row(replace(ROW, certificate=nameless), DOMAIN)


def test_the_whole_journal() -> None:
    active, prepared = slot("A", Status.ACTIVE), slot("B", Status.PREPARED)
    assert read([], DOMAIN) == Slots()
    assert read([to_row(prepared), to_row(active)], DOMAIN) == Slots([active, prepared])
    other = to_row(slot("B", Status.ACTIVE))
    with pytest.raises(
        JournalError, match="the journal of the authority is damaged: two slots .* status: active"
    ):
        read([ROW, other], DOMAIN)
    with pytest.raises(JournalError, match="two slots .* one name: A"):
        read([ROW, ROW], DOMAIN)
    twice = to_row(slot("A", Status.PREPARED))
    with pytest.raises(JournalError, match="two slots .* one name: A"):
        read([twice, twice], DOMAIN)


def test_of_two_prepared_ones_the_later_counts() -> None:
    first, second = slot("A", Status.PREPARED), slot("B", Status.PREPARED, START + timedelta(hours=1))
    for rows in ([to_row(first), to_row(second)], [to_row(second), to_row(first)]):
        assert read(rows, DOMAIN) == Slots([second])


_ANY = st.one_of(st.none(), st.integers(), st.floats(), st.text(), st.binary())


@given(
    slot=_ANY | st.sampled_from([*SlotName]).map(str),
    status=_ANY | st.sampled_from([*Status]).map(str),
    key_id=_ANY,
    certificate=_ANY | st.just(ROW.certificate),
    prepared_at=_ANY,
    activated_at=_ANY,
)
def test_garbage_is_a_damaged_journal_and_never_another_error(**row: Any) -> None:
    try:
        found = from_row(SlotRow(**row), DOMAIN)
    except JournalError:
        return
    assert to_row(found) == SlotRow(**row)
