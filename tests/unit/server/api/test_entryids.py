from __future__ import annotations

import uuid
from datetime import timedelta

from finial.server.api.entryids import new_id
from support.clock import ManualClock
from support.dice import Dice


def test_an_id_is_a_uuid_of_version_7_that_begins_with_the_millisecond() -> None:
    clock = ManualClock()
    made = uuid.UUID(new_id(clock, Dice("ids")))
    assert str(made) == new_id(clock, Dice("ids"))
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == int(clock.now().timestamp() * 1000)


def test_ids_of_one_millisecond_differ_and_later_ones_come_behind() -> None:
    clock, dice = ManualClock(), Dice("ids")
    early = {new_id(clock, dice) for _ in range(1_000)}
    clock.jump(timedelta(milliseconds=1))
    assert len(early) == 1_000
    assert max(early) < new_id(clock, dice)


def test_a_clock_before_all_milliseconds_makes_ids_that_are_as_good() -> None:
    clock = ManualClock()
    clock.jump(timedelta(days=-365 * 80))
    assert uuid.UUID(new_id(clock, Dice("ids"))).version == 7


def test_all_but_the_instant_and_the_kind_is_drawn() -> None:
    clock = ManualClock()
    one = int.from_bytes(uuid.UUID(new_id(clock, _Bits(0x00))).bytes, "big")
    other = int.from_bytes(uuid.UUID(new_id(clock, _Bits(0xFF))).bytes, "big")
    assert (one ^ other).bit_count() == 74


class _Bits:
    """A chance that draws the same byte again and again."""

    def __init__(self, byte: int) -> None:
        self._byte = byte

    def token(self, size: int) -> bytes:
        return bytes([self._byte]) * size

    def fraction(self) -> float:
        return 0.0
