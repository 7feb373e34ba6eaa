"""The state machine of a Workload API stream."""

from __future__ import annotations

from datetime import timedelta

import pytest

from finial.rpc import StatusCode
from finial.sdk.stream import (
    LONGEST_BACKOFF,
    SHORTEST_BACKOFF,
    Accepted,
    Deliver,
    Dial,
    Discard,
    Ended,
    Fail,
    Rejected,
    Started,
    StreamMachine,
    Wait,
    Woken,
)
from support.clock import FixedChance

DOWN = Ended(StatusCode.UNAVAILABLE)
DENIED = Ended(StatusCode.PERMISSION_DENIED)


def started(fraction: float = 1.0) -> StreamMachine:
    machine = StreamMachine(FixedChance(fraction))
    assert machine.on(Started(), 0.0) == Dial()
    return machine


def seconds(action: object) -> float:
    assert isinstance(action, Wait)
    return action.duration.total_seconds()


@pytest.mark.spec("EP-26", "EP-37", "EP-38", "WAPI-73")
@pytest.mark.parametrize("code", [StatusCode.INVALID_ARGUMENT, StatusCode.UNIMPLEMENTED])
@pytest.mark.parametrize("before", [(), (Accepted(),), (DOWN, Woken())])
def test_what_no_repetition_helps_is_fatal(code: StatusCode, before: tuple[Accepted, ...]) -> None:
    machine = started()
    for event in before:
        machine.on(event, 100.0)
    assert machine.on(Ended(code), 200.0) == Fail()


@pytest.mark.spec("EP-28", "EP-30", "EP-38", "WAPI-34", "WAPI-73")
@pytest.mark.parametrize(
    "code",
    [code for code in StatusCode if code not in {StatusCode.INVALID_ARGUMENT, StatusCode.UNIMPLEMENTED}],
)
def test_everything_else_is_tried_again_after_a_growing_wait(code: StatusCode) -> None:
    machine, now, waits = started(), 0.0, []
    for _ in range(9):
        waits.append(seconds(machine.on(Ended(code), now)))
        now += waits[-1]
        assert machine.on(Woken(), now) == Dial()
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30, 30]
    assert waits[-1] == LONGEST_BACKOFF.total_seconds()


@pytest.mark.spec("EP-28")
def test_waits_are_spread_and_never_none() -> None:
    assert seconds(started(0.25).on(DOWN, 0.0)) == 0.25
    assert seconds(started(0.0).on(DOWN, 0.0)) == SHORTEST_BACKOFF.total_seconds()


@pytest.mark.spec("WAPI-09")
def test_the_first_loss_is_answered_at_once_and_the_next_with_backoff() -> None:
    machine = started()
    assert machine.on(Accepted(), 1.0) == Deliver()
    assert machine.on(DOWN, 50.0) == Dial()
    assert seconds(machine.on(DOWN, 50.0)) == 1.0
    assert machine.on(Woken(), 51.0) == Dial()
    assert seconds(machine.on(DOWN, 51.0)) == 2.0


@pytest.mark.spec("EP-28")
def test_only_a_good_message_resets_the_backoff() -> None:
    machine = started()
    for _ in range(3):
        machine.on(DOWN, 0.0)
    assert machine.on(Rejected(), 10.0) == Discard()
    assert seconds(machine.on(DOWN, 10.0)) == 8.0
    assert machine.on(Accepted(), 20.0) == Deliver()
    assert machine.on(DOWN, 21.0) == Dial()
    assert seconds(machine.on(DOWN, 21.0)) == 1.0


def test_a_server_that_answers_and_hangs_up_makes_no_busy_loop() -> None:
    machine = started()
    dials = 0
    for step in range(100):
        machine.on(Accepted(), step / 100)
        dials += machine.on(DOWN, step / 100) == Dial()
    assert dials == 1


@pytest.mark.spec("WAPI-35", "WAPI-39", "EP-30")
def test_a_denial_revokes_once_and_waits() -> None:
    machine = started()
    machine.on(Accepted(), 0.0)
    assert machine.on(DENIED, 1.0) == Wait(timedelta(seconds=1), revoke=True)
    assert machine.on(Woken(), 2.0) == Dial()
    assert machine.on(DENIED, 2.0) == Wait(timedelta(seconds=2), revoke=False)
    assert machine.on(DOWN, 9.0) == Wait(timedelta(seconds=4), revoke=False)
    machine.on(Accepted(), 10.0)
    assert machine.on(DENIED, 20.0) == Wait(timedelta(seconds=1), revoke=True)


def test_a_loss_revokes_nothing() -> None:
    machine = started()
    machine.on(Accepted(), 0.0)
    machine.on(DOWN, 1.0)
    assert machine.on(DOWN, 1.0) == Wait(timedelta(seconds=1), revoke=False)


def test_waking_too_early_waits_for_the_rest() -> None:
    machine = started()
    machine.on(DOWN, 10.0)
    assert machine.on(Woken(), 10.75) == Wait(timedelta(seconds=0.25))
    assert machine.on(Woken(), 11.0) == Dial()
