from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import product

import pytest

from finial.core.errors import FinialError, RotationError
from finial.core.x509cert import Certificate
from finial.server.ca.slots import (
    TAINT_NOTICE,
    TRANSITIONS,
    Activate,
    Event,
    Prepare,
    Slot,
    SlotName,
    Slots,
    SlotsError,
    Status,
    Wait,
    Why,
    next_step,
)
from support import forge
from support.authorities import DAY, root, slot, token_slot
from support.clock import START

HOUR = timedelta(hours=1)
A, B = SlotName
PREPARED, ACTIVE, OLD = Status
END = START + DAY
LENGTH = DAY + timedelta(seconds=10)  # it begins ten seconds earlier


def test_a_slot_knows_its_authority() -> None:
    active = slot("A", ACTIVE)
    assert active.authority_id == root("A").subject_key_id.hex()  # type: ignore[union-attr]
    assert active.lifetime.length == LENGTH
    assert active.valid_at(START)
    assert not active.valid_at(END)
    assert not active.valid_at(START - timedelta(seconds=11))


def test_a_slot_that_cannot_be() -> None:
    good = slot("A", ACTIVE)
    with pytest.raises(SlotsError, match="slot A is prepared, which its instants contradict"):
        replace(good, status=PREPARED)
    with pytest.raises(SlotsError, match="slot A is active, which its instants contradict"):
        replace(good, activated_at=None)
    leaf = forge.leaf(forge.root()).certificate
    with pytest.raises(SlotsError, match="the certificate of slot A is no signing certificate"):
        replace(good, authority=leaf)
    with pytest.raises(FinialError):
        replace(good, authority=replace(good.authority, subject_key_id=None))
    with pytest.raises(FinialError):
        replace(good, authority=replace(good.authority, key=None))
    with pytest.raises(FinialError):
        replace(good, authority=replace(good.authority, basic_constraints=None))
    with pytest.raises(RotationError):
        replace(good, authority=replace(good.authority, not_after=good.authority.not_before))


def test_a_key_for_tokens_lives_as_long_as_a_certificate_would() -> None:
    active, certified = token_slot("A", ACTIVE), slot("A", ACTIVE)
    assert active.authority_id == "a"
    assert active.lifetime == certified.lifetime
    with pytest.raises(SlotsError, match="the key of slot A has no end"):
        replace(active, authority=replace(active.authority, expires_at=None))
    with pytest.raises(RotationError):
        replace(active, authority=replace(active.authority, expires_at=START - HOUR))


@pytest.mark.parametrize("now", [START - HOUR, START, START + 13 * HOUR, START + 21 * HOUR, END])
def test_keys_for_tokens_take_turns_as_certificates_do(now: datetime) -> None:
    for tainted in (False, True):
        steps = {
            next_step(Slots(held), now, {held[0].authority} if tainted else ())
            for held in (
                [slot("A", ACTIVE), slot("B", PREPARED, START + 12 * HOUR)],
                [token_slot("A", ACTIVE), token_slot("B", PREPARED, START + 12 * HOUR)],
            )
        }
        assert len(steps) == 1


def test_two_slots_that_cannot_be_together() -> None:
    for one, two, message in (
        (slot("A", ACTIVE), slot("A", OLD), "one name: A"),
        (slot("A", ACTIVE), slot("B", ACTIVE), "one status: active"),
        (slot("A", PREPARED), slot("B", PREPARED), "one status: prepared"),
        (slot("A", ACTIVE), replace(slot("B", OLD), key_id="key-a"), "one key: key-a"),
    ):
        with pytest.raises(SlotsError, match=f"two slots of the authority have {message}"):
            Slots([one, two])


def test_what_is_where() -> None:
    a, b = slot("A", OLD), slot("B", ACTIVE)
    slots = Slots([b, a])
    assert list(slots) == [a, b]
    assert slots == Slots([a, b])
    assert (slots.named(A), slots.named(B)) == (a, b)
    assert (slots.active, slots.old, slots.prepared) == (b, a, None)
    assert Slots().named(A) is None
    assert (Slots().active, Slots().old, Slots().prepared) == (None, None, None)
    prepared = slot("A", PREPARED)
    assert Slots([prepared]).prepared is prepared


@pytest.mark.parametrize(
    ("held", "spare"),
    [
        ([], A),
        ([slot("A", ACTIVE)], B),
        ([slot("B", ACTIVE)], A),
        ([slot("A", PREPARED)], A),
        ([slot("B", PREPARED)], B),
        ([slot("A", ACTIVE), slot("B", OLD)], B),
        ([slot("A", OLD), slot("B", ACTIVE)], A),
        ([slot("A", ACTIVE), slot("B", PREPARED)], B),
        ([slot("A", OLD), slot("B", PREPARED)], B),
        ([slot("A", OLD), slot("B", OLD, START + HOUR)], A),
        ([slot("A", OLD, START + HOUR), slot("B", OLD)], B),
    ],
)
def test_where_the_next_authority_goes(held: list[Slot[Certificate]], spare: SlotName) -> None:
    assert Slots(held).spare is spare


@pytest.mark.parametrize(("before", "event"), list(product([None, *Status], Event)))
def test_every_transition_is_in_the_table_or_refused(before: Status | None, event: Event) -> None:
    slots = Slots([] if before is None else [slot("A", before)])

    def happen() -> Slots[Certificate]:
        match event:
            case Event.PREPARE:
                return slots.prepare(slot("A", PREPARED, START + HOUR))
            case Event.ACTIVATE:
                return slots.activate(A, START + HOUR)
            case Event.LOSE:
                return slots.lose(A)
            case Event.SUPERSEDE:
                return Slots([*slots, slot("B", PREPARED)]).activate(B, START + HOUR)

    if event is Event.SUPERSEDE and before in {None, PREPARED}:
        return  # there is nothing to supersede, or two are prepared, which cannot be
    if (before, event) not in TRANSITIONS:
        with pytest.raises(
            SlotsError, match=f"slot A of the authority is {before or 'empty'}: cannot {event}"
        ):
            happen()
        return
    found = happen().named(A)
    assert (None if found is None else found.status) is TRANSITIONS[before, event]


def test_activating_makes_the_other_one_old_and_keeps_when_it_began() -> None:
    slots = Slots([slot("A", ACTIVE), slot("B", PREPARED, START + 12 * HOUR)])
    after = slots.activate(B, START + 20 * HOUR)
    assert after.active is not None
    assert after.active.activated_at == START + 20 * HOUR
    assert after.active.prepared_at == START + 12 * HOUR
    assert after.old is not None
    assert after.old.activated_at == START


def test_a_lost_key_of_one_slot_leaves_the_other_alone() -> None:
    slots = Slots([slot("A", ACTIVE), slot("B", PREPARED)])
    assert list(slots.lose(B)) == [slot("A", ACTIVE)]
    assert list(slots.lose(A)) == [slot("A", OLD), slot("B", PREPARED)]
    assert Slots([slot("A", OLD), slot("B", ACTIVE, START + HOUR)]).lose(B).old == slot(
        "B", OLD, START + HOUR
    )


def test_a_first_authority_is_prepared_and_activated_at_once() -> None:
    assert next_step(Slots(), START) == Prepare(A, Why.NONE)
    assert next_step(Slots([slot("A", PREPARED)]), START) == Activate(A, Why.NONE)


def test_a_life_of_two_authorities() -> None:
    active = slot("A", ACTIVE)
    due = END - LENGTH / 2
    assert next_step(Slots([active]), START) == Wait(due)
    assert next_step(Slots([active]), due - timedelta(microseconds=1)) == Wait(due)
    assert next_step(Slots([active]), due) == Prepare(B, Why.DUE)
    both = Slots([active, slot("B", PREPARED, due)])
    takeover = END - LENGTH / 6
    assert next_step(both, due) == Wait(takeover)
    assert next_step(both, takeover) == Activate(B, Why.DUE)
    after = both.activate(B, takeover)
    assert next_step(after, takeover) == Wait(due + DAY - LENGTH / 2)
    assert next_step(after, due + DAY - LENGTH / 2) == Prepare(A, Why.DUE)


def test_an_expired_authority_is_replaced_at_once() -> None:
    active = slot("A", ACTIVE)
    assert next_step(Slots([active]), END) == Prepare(B, Why.NOT_VALID)
    assert next_step(Slots([active, slot("B", OLD)]), END) == Prepare(B, Why.NOT_VALID)
    both = Slots([active, slot("B", PREPARED, END - HOUR)])
    assert next_step(both, END) == Activate(B, Why.NOT_VALID)


def test_an_expired_successor_is_prepared_anew() -> None:
    both = Slots([slot("A", ACTIVE, START + DAY), slot("B", PREPARED, START)])
    assert next_step(both, END) == Prepare(B, Why.STALE)
    assert next_step(Slots([slot("B", PREPARED, START)]), END) == Prepare(B, Why.STALE)


def test_after_the_clock_was_set_back_what_is_not_valid_yet_does_not_sign() -> None:
    before = START - HOUR
    assert next_step(Slots([slot("A", ACTIVE)]), before) == Prepare(B, Why.NOT_VALID)
    assert next_step(Slots([slot("A", ACTIVE, before), slot("B", PREPARED)]), before) == Prepare(B, Why.STALE)


def test_a_successor_of_shorter_life_does_not_expire_before_its_turn() -> None:
    due = END - LENGTH / 2
    short = slot("B", PREPARED, due, ttl=HOUR)
    both = Slots([slot("A", ACTIVE), short])
    takeover = short.lifetime.end - short.lifetime.length / 6
    assert next_step(both, due) == Wait(takeover)
    assert next_step(both, takeover) == Activate(B, Why.DUE)


def test_a_late_successor_is_published_for_a_while_before_it_signs() -> None:
    late = END - 2 * HOUR
    both = Slots([slot("A", ACTIVE), slot("B", PREPARED, late)])
    assert next_step(both, late) == Wait(END - HOUR)
    assert next_step(both, END - HOUR) == Activate(B, Why.DUE)
    ahead = Slots([slot("A", ACTIVE), replace(slot("B", PREPARED, END - HOUR), prepared_at=END + HOUR)])
    assert next_step(ahead, END) == Activate(B, Why.NOT_VALID)


def test_a_tainted_authority_is_rotated_away_from_at_once() -> None:
    active, prepared = slot("A", ACTIVE), slot("B", PREPARED, START + HOUR)
    now = START + HOUR
    assert next_step(Slots([active]), now, {active.authority}) == Prepare(B, Why.TAINTED)
    assert next_step(Slots([active]), now, {root("C")}) == next_step(Slots([active]), now)
    slots = Slots([active, prepared])
    assert next_step(slots, now, {active.authority}) == Wait(now + TAINT_NOTICE)
    assert next_step(slots, now + TAINT_NOTICE, {active.authority}) == Activate(B, Why.TAINTED)
    successor = prepared.authority
    assert next_step(slots, now, {successor}) == Prepare(B, Why.TAINTED)
    assert next_step(Slots([prepared]), now, {successor}) == Prepare(B, Why.TAINTED)


def test_a_tainted_authority_gives_way_no_later_than_any_other() -> None:
    active = slot("A", ACTIVE)
    slots = Slots([active, slot("B", PREPARED, START + 12 * HOUR)])
    assert next_step(slots, START + 20 * HOUR, {active.authority}) == Activate(B, Why.TAINTED)
