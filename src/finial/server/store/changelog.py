"""The log of changes: each has a number, and whoever knows the last one that it has seen can catch up.

A row says that something has changed and not what it is now; that is read where it stands. So a key that has
changed often is read once, and a reader that comes late leaves nothing out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Final

from sqlalchemy import Connection, delete, func, insert, select, update

from finial.core.errors import FinialError
from finial.server.store import bundles, entries, errors, nodes
from finial.server.store.errors import StoreError
from finial.server.store.records import BundleRecord, Change, ChangeKind, Record
from finial.server.store.schema import CHANGES, META
from finial.server.store.transaction import Tx

Key = tuple[ChangeKind, str]

_PRUNED: Final = "pruned"  # of META: the highest number whose row has been deleted
_KINDS: Final = frozenset(kind.value for kind in ChangeKind)
_APPEND = insert(CHANGES).returning(CHANGES.c.seq)
_MAX_ASKED = 400  # values of one IN; SQLite's limit on parameters was once 999
_PRESENT: Final[dict[ChangeKind, Callable[[Connection, Sequence[str]], Iterable[Record]]]] = {
    ChangeKind.ENTRY: entries.present,
    ChangeKind.NODE: nodes.present,
    ChangeKind.BUNDLE: bundles.present,
}


def position(connection: Connection) -> int:
    """The number of the last change that was ever logged, though its row may have been pruned since."""
    last = connection.execute(select(func.max(CHANGES.c.seq))).scalar_one()
    return max(last or 0, pruned(connection))


def pruned(connection: Connection) -> int:
    """The highest number whose row is gone; 0 while all are there."""
    value = connection.execute(select(META.c.value).where(META.c.name == _PRUNED)).scalar_one_or_none()
    return 0 if value is None else int(value)


def append(connection: Connection, changes: Sequence[Change], *, server: str, now: int) -> tuple[int, int]:
    """Log changes, at least one; the first and the last of their numbers.

    It is the last that a transaction writes. Where others can write at the same time, what keeps the order of
    numbers the order of commits has to be taken here, before the first number is drawn.

    Args:
        connection: In the transaction of the changes.
        changes: In their order.
        server: Who made them.
        now: Unix seconds.
    """
    rows = [
        {
            "server": server,
            "kind": change.kind.value,
            "key": change.key,
            "revision": change.revision,
            "at": now,
        }
        for change in changes
    ]
    numbers = connection.execute(_APPEND, rows).scalars().all()
    return min(numbers), max(numbers)


def between(connection: Connection, after: int, before: int, *, known: Collection[Key]) -> list[Change]:
    """What the log has between two numbers: each key once, in the order of the log, as it is at present.

    Args:
        connection: In a transaction.
        after: The number behind which it begins.
        before: The number in front of which it ends.
        known: Keys that are left out.

    Raises:
        StoreError: A row cannot be read.
    """
    columns = (CHANGES.c.kind, CHANGES.c.key, CHANGES.c.revision)
    rows = connection.execute(
        select(*columns).where(CHANGES.c.seq > after, CHANGES.c.seq < before).order_by(CHANGES.c.seq)
    )
    # A newer release may log more kinds than this one keeps in its index.
    revisions = {(ChangeKind(row.kind), row.key): row.revision for row in rows if row.kind in _KINDS}
    keys = [key for key in revisions if key not in known]
    try:
        found = dict(_present(connection, keys))
    except (FinialError, ValueError, TypeError) as error:
        raise StoreError(errors.DAMAGED, f"the database holds a row that cannot be read: {error}") from error
    return [Change(*key, found.get(key), revisions[key]) for key in keys]


def prune(tx: Tx, before: int) -> None:
    """Delete the rows that were logged before an instant, and note how far: a cursor there is worth nothing.

    Args:
        tx: The transaction.
        before: Unix seconds.
    """
    old = CHANGES.c.at < before
    last = tx.sql.execute(select(func.max(CHANGES.c.seq)).where(old)).scalar_one()
    if last is None:
        return
    tx.sql.execute(delete(CHANGES).where(old))
    highest = str(max(last, pruned(tx.sql)))
    noted = tx.sql.execute(update(META).where(META.c.name == _PRUNED).values(value=highest))
    if not noted.rowcount:
        tx.sql.execute(insert(META).values(name=_PRUNED, value=highest))


def _present(connection: Connection, keys: Sequence[Key]) -> Iterator[tuple[Key, Record]]:
    for kind, read in _PRESENT.items():
        names = [name for of, name in keys if of is kind]
        for at in range(0, len(names), _MAX_ASKED):
            for record in read(connection, names[at : at + _MAX_ASKED]):
                yield (kind, _name_of(record)), record


def _name_of(record: Record) -> str:
    """What the log calls a record."""
    return record.bundle.trust_domain.name if isinstance(record, BundleRecord) else record.id
