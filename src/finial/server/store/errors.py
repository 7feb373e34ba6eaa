"""What the store says when it cannot do something."""

from __future__ import annotations

from finial.core.errors import FinialError, Kind, Reason

UNAVAILABLE = Reason(
    "store-unavailable",
    Kind.UNAVAILABLE,
    hint="Look at the disk of the data folder: room, permissions, errors.",
)
DAMAGED = Reason(
    "store-damaged",
    Kind.UNAVAILABLE,
    hint="Restore the database from a backup, or begin with an empty data folder.",
)
FOREIGN = Reason(
    "store-foreign",
    Kind.CONFLICT,
    hint="Name the trust domain that the data folder belongs to, or choose another data folder.",
)
NEWER = Reason("store-newer", Kind.CONFLICT, hint="Run the release that wrote the database, or a newer one.")
MISSING = Reason("store-missing", Kind.MISSING)
EXISTS = Reason("store-exists", Kind.CONFLICT)


class StoreError(FinialError):
    """The database cannot be used, or not for this."""


class MissingError(StoreError):
    """What was named is not there."""

    def __init__(self, message: str, *, subject: str = "") -> None:
        super().__init__(MISSING, message, subject=subject)
