"""A transaction as a unit of work sees it."""

from __future__ import annotations

from sqlalchemy import Connection

from finial.server.store.records import Change, ChangeKind, Record


class Tx:
    """A transaction, as a unit of work sees it.

    Args:
        connection: Of SQLAlchemy, in a transaction.
        now: Unix seconds at the beginning of the transaction.
    """

    def __init__(self, connection: Connection, now: int) -> None:
        self.sql = connection
        self.now = now
        self.changes: list[Change] = []
        self.epoch: str | None = None  # that the transaction begins

    def changed(self, kind: ChangeKind, key: str, record: Record | None, *, revision: int = 0) -> None:
        """Say what is so from this transaction on, for the log and for the index."""
        self.changes.append(Change(kind, key, record, revision))
