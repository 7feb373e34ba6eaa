"""What the store says when it cannot do something."""

from __future__ import annotations

from finial.core.errors import FinialError, Kind, Reason

UNAVAILABLE = Reason(
    "store-unavailable",
    Kind.UNAVAILABLE,
    hint="Look at the disk of the data folder: room, permissions, errors.",
)
CLOSED = Reason("store-closed", Kind.UNAVAILABLE, hint="Ask again when the server has started anew.")
DIVERGED = Reason(
    "store-diverged",
    Kind.UNAVAILABLE,
    hint="Start the server again: it then reads everything from the database. Report it with the log.",
    meaning="A committed change could not be applied in memory, so that nothing there can be relied on.",
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
