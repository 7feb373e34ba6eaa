"""What the claims of a token say, read once for the rules and for whoever holds the token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from finial.core.errors import SpiffeIDError
from finial.core.ids import SpiffeID

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LAST_SECOND = 253_402_300_799
"""The end of the year 9999, where dates end."""

_SECOND = timedelta(seconds=1)
_NUMBER, _ARRAY = int | float, list | tuple

REGISTERED = frozenset({"iss", "sub", "aud", "exp", "nbf", "iat", "jti"})
"""The claims that RFC 7519 defines; an authority sets them itself."""


def seconds(instant: datetime) -> int:
    """The whole seconds since 1970 of an instant, rounded down."""
    return (instant - EPOCH) // _SECOND


def read_instant(value: object) -> datetime | None:
    """The instant that a JSON number of seconds since 1970 names; None when it is no such number.

    A fraction is part of it (RFC 7519, section 2). In Python `True` is a number; in JSON it is none.
    """
    if isinstance(value, bool) or not isinstance(value, _NUMBER) or not 0 <= value <= LAST_SECOND:
        return None
    return EPOCH + timedelta(0, value)


def read_audience(value: object) -> tuple[str, ...]:
    """The audiences, of one text or of an array of texts; empty when it is neither, or a text is empty."""
    if isinstance(value, str):
        return (value,) if value else ()
    if not isinstance(value, _ARRAY):
        return ()
    for each in value:
        if not isinstance(each, str) or not each:
            return ()
    return tuple(value)


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of a token; whether they keep the rules is for a table to say.

    Args:
        members: The payload, as it was read.
    """

    members: Mapping[str, object] = field(repr=False)
    subject: SpiffeID | None = field(init=False)
    subject_fault: str = field(init=False)
    audience: tuple[str, ...] = field(init=False)
    expires_at: datetime | None = field(init=False)
    not_before: datetime | None = field(init=False)
    issued_at: datetime | None = field(init=False)

    def __post_init__(self) -> None:
        said, put = self.members.get, object.__setattr__
        subject, fault = _read_subject(said("sub"))
        put(self, "subject", subject)
        put(self, "subject_fault", fault)
        put(self, "audience", read_audience(said("aud")))
        put(self, "expires_at", read_instant(said("exp")))
        put(self, "not_before", read_instant(said("nbf")))
        put(self, "issued_at", read_instant(said("iat")))


def _read_subject(value: object) -> tuple[SpiffeID | None, str]:
    if not isinstance(value, str):
        return None, "the claim sub is missing or is not a text"
    try:
        return SpiffeID(value), ""
    except SpiffeIDError as refused:
        return None, f"the claim sub is no SPIFFE ID: {refused}"
