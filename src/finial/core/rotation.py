"""When to prepare, activate and renew. Pure: instants and a random fraction in, instants out.

Lifetimes are counted from notBefore, so they include the seconds by which certificates are backdated.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from finial.core.errors import RotationError
from finial.core.reasons import registry as reasons

# The next authority is prepared at half of the lifetime and used for the last sixth, but never so early
# that an authority of years would spend months waiting.
PREPARE_SHARE, PREPARE_AT_MOST = 2, timedelta(days=30)
ACTIVATE_SHARE, ACTIVATE_AT_MOST = 6, timedelta(days=7)

RENEWAL_SPREAD = 0.1  # of half a lifetime, to either side
MIN_AVAILABILITY_TARGET = timedelta(hours=24)
MIN_TARGET_SLACK = timedelta(hours=12)
TARGET_SPREAD = timedelta(minutes=10)
PRUNE_AFTER = timedelta(hours=24)
_LAST_INSTANT = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Lifetime:
    """From when to when something is valid.

    Args:
        begin: Aware.
        end: Aware, later.

    Raises:
        RotationError: The end is not later.
    """

    begin: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.end <= self.begin:
            message = f"the lifetime ends at {self.end.isoformat()}, begins at {self.begin.isoformat()}"
            raise RotationError.because(reasons.ROTATION_LIFETIME, message)

    @property
    def length(self) -> timedelta:
        """How long it is."""
        return self.end - self.begin

    def prepare_at(self) -> datetime:
        """When an authority's successor has to exist and be published, though nothing is signed by it yet."""
        return self.end - min(self.length / PREPARE_SHARE, PREPARE_AT_MOST)

    def activate_at(self) -> datetime:
        """When an authority's successor takes over signing."""
        return self.end - min(self.length / ACTIVATE_SHARE, ACTIVATE_AT_MOST)

    def renew_at(self, spread: float, *, availability_target: timedelta | None = None) -> datetime:
        """When an SVID is to be renewed.

        At half of the lifetime, ten per cent of that half earlier or later. With an availability target that
        leaves twelve hours of the lifetime: when the target is about to be missed, up to ten minutes earlier.

        Args:
            spread: A random fraction from 0 to 1, drawn once per SVID, so that a fleet spreads out.
            availability_target: How much life an SVID keeps when its server is away; 24 hours or more.

        Raises:
            RotationError: The fraction or the target is out of range.
        """
        if not 0 <= spread <= 1:
            raise RotationError.because(reasons.ROTATION_SPREAD, f"{spread} is not a fraction from 0 to 1")
        if availability_target is not None:
            check_availability_target(availability_target)
            if self.length - availability_target > MIN_TARGET_SLACK:
                return self.end - availability_target - TARGET_SPREAD * spread
        half = self.length / 2
        return self.end - half * (1 + RENEWAL_SPREAD * (2 * spread - 1))


def prune_at(end: datetime) -> datetime:
    """When an authority that has expired is taken out of the bundle.

    Args:
        end: When it expires; what is to last for ever says the end of the year 9999, where dates end.
    """
    return min(end, _LAST_INSTANT - PRUNE_AFTER) + PRUNE_AFTER


def check_availability_target(target: timedelta) -> None:
    """Return when an availability target may be configured.

    Raises:
        RotationError: It is below 24 hours.
    """
    if target < MIN_AVAILABILITY_TARGET:
        message = f"availability target {target} is below {MIN_AVAILABILITY_TARGET}"
        raise RotationError.because(reasons.ROTATION_TARGET, message)


def longest_svid_ttl(ca_ttl: timedelta) -> timedelta:
    """The longest lifetime of SVIDs that an authority never has to cut short.

    An authority signs until its successor is activated; what remains of it then is what its last SVID gets.

    Args:
        ca_ttl: Lifetime of the authority.
    """
    return min(ca_ttl / ACTIVATE_SHARE, ACTIVATE_AT_MOST)
