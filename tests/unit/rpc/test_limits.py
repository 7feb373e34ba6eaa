from __future__ import annotations

from finial.rpc.limits import Meter, Rate


def test_a_meter_grants_its_burst_and_then_its_rate() -> None:
    now = [100.0]
    meter = Meter(Rate(3, 2.0), lambda: now[0])
    assert [meter.exceeded() for _ in range(4)] == [False, False, False, True]
    now[0] += 0.5
    assert [meter.exceeded() for _ in range(2)] == [False, True]
    meter.earn(2)
    assert [meter.exceeded() for _ in range(3)] == [False, False, True]
    now[0] += 1000
    assert [meter.exceeded() for _ in range(4)] == [False, False, False, True]
