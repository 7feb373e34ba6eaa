from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from finial.core.errors import RotationError
from finial.core.rotation import Lifetime, check_availability_target, longest_svid_ttl, prune_at
from support.forge import NOW

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def lifetime(length: timedelta) -> Lifetime:
    return Lifetime(NOW, NOW + length)


@pytest.mark.parametrize("length", [timedelta(0), -HOUR])
def test_a_lifetime_has_a_length(length: timedelta) -> None:
    with pytest.raises(RotationError) as caught:
        lifetime(length)
    assert caught.value.reason.id == "rotation-lifetime"


def test_an_authority_of_a_day() -> None:
    day = lifetime(DAY)
    assert day.length == DAY
    assert day.prepare_at() == NOW + 12 * HOUR
    assert day.activate_at() == NOW + 20 * HOUR
    assert prune_at(day.end) == NOW + 2 * DAY


@pytest.mark.parametrize("before", [timedelta(0), timedelta(seconds=1), 12 * HOUR, DAY])
def test_an_authority_for_ever_is_never_taken_out(before: timedelta) -> None:
    last = datetime.max.replace(tzinfo=UTC)
    assert prune_at(last - before) == last


def test_an_authority_of_years_does_not_wait_for_months() -> None:
    years = lifetime(3650 * DAY)
    assert years.prepare_at() == years.end - 30 * DAY
    assert years.activate_at() == years.end - 7 * DAY


@pytest.mark.parametrize(("spread", "minutes"), [(0, 33), (0.5, 30), (1, 27)])
def test_renewal_at_half_of_the_life(spread: float, minutes: int) -> None:
    assert lifetime(HOUR).renew_at(spread) == NOW + timedelta(minutes=minutes)


def test_an_availability_target() -> None:
    target = 24 * HOUR
    long = lifetime(72 * HOUR)
    assert long.renew_at(0, availability_target=target) == long.end - target
    assert long.renew_at(1, availability_target=target) == long.end - target - timedelta(minutes=10)
    short = lifetime(36 * HOUR)
    assert short.renew_at(0.5, availability_target=target) == NOW + 18 * HOUR


def test_what_cannot_be_planned_with() -> None:
    for spread in (-0.1, 1.1):
        with pytest.raises(RotationError) as caught:
            lifetime(HOUR).renew_at(spread)
        assert caught.value.reason.id == "rotation-spread"
    with pytest.raises(RotationError) as caught:
        lifetime(HOUR).renew_at(0, availability_target=HOUR)
    assert caught.value.reason.id == "rotation-availability-target"
    check_availability_target(24 * HOUR)


def test_the_longest_svid() -> None:
    assert longest_svid_ttl(24 * HOUR) == 4 * HOUR
    assert longest_svid_ttl(3650 * DAY) == 7 * DAY
    authority = lifetime(24 * HOUR)
    assert authority.end - authority.activate_at() == longest_svid_ttl(authority.length)
