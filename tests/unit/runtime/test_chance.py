"""Randomness, and the delays that are drawn with it."""

from __future__ import annotations

from datetime import timedelta

from finial.core.x509_profile import MAX_SERIAL
from finial.runtime.chance import SystemChance, serial_number
from finial.runtime.retry import Backoff
from support.clock import FixedChance

SECOND = timedelta(seconds=1)


def test_the_kernels_randomness_is_in_range_and_differs() -> None:
    chance = SystemChance()
    drawn = {chance.fraction() for _ in range(100)}
    assert len(drawn) > 90
    assert all(0 <= fraction < 1 for fraction in drawn)
    assert len(chance.token(16)) == 16
    assert chance.token(16) != chance.token(16)


class _Zeros(FixedChance):
    def token(self, size: int) -> bytes:
        return bytes(size)


class _Ones(FixedChance):
    def token(self, size: int) -> bytes:
        return b"\xff" * size


def test_a_serial_number_is_never_zero_nor_too_long() -> None:
    assert serial_number(_Zeros()) == 1
    assert serial_number(_Ones()) == MAX_SERIAL


def test_delays_grow_to_a_bound_and_begin_anew() -> None:
    backoff = Backoff(SECOND, 10 * SECOND, chance=FixedChance(0.5))
    assert [backoff.next().total_seconds() for _ in range(6)] == [0.5, 1, 2, 4, 5, 5]
    backoff.reset()
    assert backoff.next() == SECOND / 2


def test_delays_are_spread_over_the_whole_range_but_not_below_the_least() -> None:
    assert Backoff(SECOND, SECOND, chance=FixedChance(0)).next() == timedelta(0)
    assert Backoff(SECOND, SECOND, chance=FixedChance(0), least=SECOND / 4).next() == SECOND / 4


def test_thousands_of_failures_do_not_overflow() -> None:
    backoff = Backoff(SECOND, timedelta(minutes=8), chance=FixedChance(1))
    assert max(backoff.next() for _ in range(5_000)) == timedelta(minutes=8)
