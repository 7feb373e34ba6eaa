from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finial.core.errors import Kind
from finial.core.ids import TrustDomain
from finial.server.ca.journal import JournalError, SlotRow, authority_in, from_row, read, to_row
from finial.server.ca.kinds import JWT, WIT, X509, TokenKind
from finial.server.ca.slots import SlotName, Slots, Status
from support import forge
from support.authorities import DAY, DOMAIN, slot, token_slot
from support.clock import START

GOOD = slot("A", Status.ACTIVE)
ROW = to_row(GOOD, X509)


@pytest.mark.parametrize("status", list(Status))
def test_a_slot_survives_being_written_down(status: Status) -> None:
    before = slot("B", status)
    row = to_row(before, X509)
    assert (row.slot, row.status, row.key_id) == ("B", status.value, "key-b")
    assert row.prepared_at == int(START.timestamp())
    assert row.activated_at == (0 if status is Status.PREPARED else int(START.timestamp()))
    assert from_row(row, X509, DOMAIN) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"slot": "C"}, "'C' in the journal of the X.509 authority is damaged: 'C' is not a valid SlotName"),
        ({"slot": 7}, "slot '7' in the journal of the X.509 authority is damaged: slot is not of type str"),
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
        ({"prepared_at": 0}, "is damaged: prepared_at is missing"),
        ({"kind": "jwt"}, "is damaged: it is of kind 'jwt'"),
    ],
)
def test_a_damaged_row_is_named_with_what_to_do(change: dict[str, Any], message: str) -> None:
    with pytest.raises(JournalError) as caught:
        from_row(replace(ROW, **change), X509, DOMAIN)
    assert message in caught.value.message
    assert caught.value.message.startswith("slot ")
    assert "\n" not in caught.value.message
    assert "delete the row" in caught.value.reason.hint


@pytest.mark.parametrize("kind", [JWT, WIT])
def test_a_key_for_tokens_survives_being_written_down(kind: TokenKind) -> None:
    before = replace(token_slot("B", Status.ACTIVE), key_id=f"{kind.name}-ca-b-b")
    row = to_row(before, kind)
    assert (row.kind, row.key_id) == (kind.name, f"{kind.name}-ca-b-b")
    assert row.ends_at == int((START + DAY).timestamp())
    assert authority_in(row, kind) == before.authority
    assert from_row(row, kind, DOMAIN) == from_row(row, kind, TrustDomain("b.test")) == before
    with pytest.raises(JournalError, match=f"is of kind '{kind.name}'"):
        from_row(row, JWT if kind is WIT else WIT, DOMAIN)
    with pytest.raises(JournalError, match=f"is of kind '{kind.name}'"):
        from_row(row, X509, DOMAIN)
    for change, message in (
        ({"certificate": b""}, "the public key cannot be read"),
        ({"ends_at": 0}, "the key of slot B has no end"),
        ({"ends_at": 10**18}, "ends_at is out of range"),
        ({"ends_at": None}, "ends_at is not of type int"),
        ({"ends_at": 1}, "the lifetime ends at"),
    ):
        with pytest.raises(JournalError, match=message) as caught:
            from_row(replace(row, **change), kind, DOMAIN)
        assert caught.value.message.startswith(f"slot 'B' in the journal of the {kind.title} authority is")


def test_an_authority_of_another_trust_domain() -> None:
    with pytest.raises(JournalError) as caught:
        from_row(ROW, X509, TrustDomain("b.test"))
    assert (
        caught.value.message
        == "slot 'A' in the journal of the X.509 authority belongs to 'spiffe://a.test', not b.test"
    )
    assert caught.value.reason.kind is Kind.CONFLICT
    nameless = forge.root(uris=()).der
    with pytest.raises(JournalError, match="belongs to no trust domain, not a.test"):
        from_row(replace(ROW, certificate=nameless), X509, DOMAIN)


def test_the_whole_journal() -> None:
    active, prepared = slot("A", Status.ACTIVE), slot("B", Status.PREPARED)
    assert read([], X509, DOMAIN) == Slots()
    assert read([to_row(prepared, X509), to_row(active, X509)], X509, DOMAIN) == Slots([active, prepared])
    other = to_row(slot("B", Status.ACTIVE), X509)
    with pytest.raises(
        JournalError, match="the journal of the X.509 authority is damaged: two slots .* status: active"
    ):
        read([ROW, other], X509, DOMAIN)
    with pytest.raises(JournalError, match="two slots .* one name: A"):
        read([ROW, ROW], X509, DOMAIN)
    twice = to_row(slot("A", Status.PREPARED), X509)
    with pytest.raises(JournalError, match="two slots .* one name: A"):
        read([twice, twice], X509, DOMAIN)


def test_of_two_prepared_ones_the_later_counts() -> None:
    first, second = slot("A", Status.PREPARED), slot("B", Status.PREPARED, START + timedelta(hours=1))
    for rows in ([to_row(first, X509), to_row(second, X509)], [to_row(second, X509), to_row(first, X509)]):
        assert read(rows, X509, DOMAIN) == Slots([second])


KEY_ROW = to_row(token_slot("A", Status.ACTIVE), JWT)
_ANY = st.one_of(st.none(), st.integers(), st.floats(), st.text(), st.binary())


@given(
    kind=_ANY | st.just("x509"),
    slot=_ANY | st.sampled_from([*SlotName]).map(str),
    status=_ANY | st.sampled_from([*Status]).map(str),
    key_id=_ANY,
    certificate=_ANY | st.just(ROW.certificate),
    prepared_at=_ANY,
    activated_at=_ANY,
)
def test_garbage_is_a_damaged_journal_and_never_another_error(**row: Any) -> None:
    try:
        found = from_row(SlotRow(**row), X509, DOMAIN)
    except JournalError:
        return
    assert to_row(found, X509) == SlotRow(**row)


@given(
    key_id=_ANY | st.just("key-a"),
    certificate=_ANY | st.just(KEY_ROW.certificate),
    prepared_at=_ANY | st.just(KEY_ROW.prepared_at),
    activated_at=_ANY | st.just(KEY_ROW.activated_at),
    ends_at=_ANY | st.just(KEY_ROW.ends_at),
)
def test_the_same_with_keys_for_tokens(**row: Any) -> None:
    try:
        found = from_row(replace(KEY_ROW, **row), JWT, DOMAIN)
    except JournalError:
        return
    assert to_row(found, JWT) == replace(KEY_ROW, **row)
