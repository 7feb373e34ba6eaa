from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from finial.core.bundle import Bundle
from finial.core.errors import Kind, Reason
from finial.core.token_authority import TokenAuthority
from finial.core.x509cert import Certificate
from finial.server.ca import orders
from finial.server.ca.kinds import JWT, WIT, X509, TokenKind, authority_id_of, named
from finial.server.ca.orders import (
    OrderError,
    not_ours,
    order_activate,
    order_prepare,
    order_revoke,
    order_taint,
)
from finial.server.ca.slots import Activate, Prepare, Slot, SlotName, Slots, Status, Why
from support.authorities import DOMAIN, root, slot, token_key, token_slot

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
    assert order_taint(Slots([ACTIVE, OLD]), OLD.authority_id, kind=X509, bundle=BUNDLE) == root("B")
    for held in ([ACTIVE], [ACTIVE, OLD], [ACTIVE, PREPARED]):
        assert order_taint(Slots(held), REPLACED, kind=X509, bundle=BUNDLE) == root("C")


def test_what_is_tainted_is_revoked_in_its_slot_or_out_of_it() -> None:
    assert order_revoke(Slots([ACTIVE, OLD]), OLD.authority_id, kind=X509, bundle=TAINTED) == root("B")
    for held in ([ACTIVE], [ACTIVE, OLD], [ACTIVE, PREPARED]):
        assert order_revoke(Slots(held), REPLACED, kind=X509, bundle=TAINTED) == root("C")


def test_an_authority_is_found_in_the_bundle_by_its_id() -> None:
    assert named(X509, BUNDLE, OLD.authority_id) == [root("B")]
    assert not named(X509, BUNDLE, "00")
    assert not named(X509, None, OLD.authority_id)
    assert authority_id_of(replace(root("A"), subject_key_id=None)) == ""


def test_nothing_is_ordered_before_there_is_an_authority() -> None:
    for slots in (Slots(), Slots([PREPARED])):
        for order in (
            lambda slots=slots: order_prepare(slots),
            lambda slots=slots: order_activate(slots, "x"),
            lambda slots=slots: order_taint(slots, "x", kind=X509, bundle=BUNDLE),
            lambda slots=slots: order_revoke(slots, "x", kind=X509, bundle=BUNDLE),
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
def test_what_is_not_activated(
    slots: list[Slot[Certificate]], authority_id: str, message: str, reason: Reason
) -> None:
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
    slots: list[Slot[Certificate]], authority_id: str, bundle: Bundle | None, message: str, reason: Reason
) -> None:
    with pytest.raises(OrderError, match=f"^{message}$") as caught:
        order_taint(Slots(slots), authority_id, kind=X509, bundle=bundle)
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
    slots: list[Slot[Certificate]], authority_id: str, bundle: Bundle, message: str, reason: Reason
) -> None:
    with pytest.raises(OrderError, match=f"^{message}$") as caught:
        order_revoke(Slots(slots), authority_id, kind=X509, bundle=bundle)
    assert caught.value.subject.isprintable()
    assert caught.value.reason is reason
    assert caught.value.reason.hint


KEYS = {status: token_slot("A" if status is Status.ACTIVE else "B", status) for status in Status}
REPLACED_KEY = token_key("c")


def _with_keys(kind: TokenKind, *, tainted: bool) -> Bundle:
    keys = [KEYS[Status.ACTIVE].authority, KEYS[Status.OLD].authority, REPLACED_KEY]
    return kind.put(EMPTY, keys, keys[1:] if tainted else ())


@pytest.mark.parametrize("kind", [JWT, WIT])
def test_keys_for_tokens_are_ordered_about_like_roots(kind: TokenKind) -> None:
    slots = Slots([KEYS[Status.ACTIVE], KEYS[Status.OLD]])
    plain, tainted = (_with_keys(kind, tainted=each) for each in (False, True))
    assert order_taint(slots, "b", kind=kind, bundle=plain) == KEYS[Status.OLD].authority
    assert order_taint(slots, "c", kind=kind, bundle=plain) == REPLACED_KEY
    assert order_revoke(slots, "c", kind=kind, bundle=tainted) == REPLACED_KEY
    ready = Slots([KEYS[Status.ACTIVE], KEYS[Status.PREPARED]])
    assert order_activate(ready, "b") == Activate(B, Why.ORDERED)


@pytest.mark.parametrize("kind", [JWT, WIT])
@pytest.mark.parametrize(
    ("order", "other", "authority_id", "has", "message"),
    [
        (order_taint, Status.OLD, "b", "tainted", "failed to taint JWT authority: key is already tainted"),
        (order_taint, Status.OLD, "b", "none", "failed to taint JWT authority: no JWT Key found with prov"),
        (order_taint, Status.OLD, "a", "plain", "unable to taint current local authority"),
        (order_taint, Status.OLD, "B", "plain", "unexpected authority ID"),
        (order_taint, Status.PREPARED, "b", "plain", "only Old local authorities can be tainted: unsuppor"),
        (order_revoke, Status.OLD, "", "plain", "invalid authority ID: no authority ID provided"),
        (order_revoke, Status.OLD, "a", "plain", "invalid authority ID: unable to use current authority"),
        (order_revoke, Status.OLD, "x", "plain", "invalid authority ID: no JWT authority found with provi"),
        (order_revoke, Status.PREPARED, "b", "plain", "invalid authority ID: unable to use a prepared key"),
        (order_revoke, Status.OLD, "b", "plain", "failed to revoke JWT authority: it is not possible to r"),
        (order_revoke, Status.OLD, "b", "none", "failed to revoke JWT authority: no JWT Key found with pr"),
    ],
)
def test_what_is_refused_of_keys_for_tokens(
    kind: TokenKind, order: Callable[..., TokenAuthority], other: Status, authority_id: str, has: str,
    message: str,
) -> None:  # fmt: skip
    bundle = EMPTY if has == "none" else _with_keys(kind, tainted=has == "tainted")
    with pytest.raises(OrderError) as caught:
        order(Slots([KEYS[Status.ACTIVE], KEYS[other]]), authority_id, kind=kind, bundle=bundle)
    assert caught.value.message.startswith(message.replace("JWT", kind.title))
    assert caught.value.reason.hint


def test_what_another_server_signs_by_is_as_good_as_unknown() -> None:
    assert not_ours("00").message == "unexpected authority ID"
