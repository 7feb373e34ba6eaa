"""Opening the database: made when new, brought to the newest schema when older, refused when wrong."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, create_engine, event, insert, inspect, select, text, update
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool, PoolProxiedConnection

from finial.core.ids import TrustDomain
from finial.runtime.chance import Chance
from finial.server.store import errors
from finial.server.store.errors import StoreError
from finial.server.store.schema import HEAD, META, METADATA
from finial.server.store.transaction import Tx

_EPOCH_BYTES = 16
_PRIVATE = 0o600
_EPOCH = "epoch"  # of META
_VERSION_TABLE = "alembic_version"
_PRAGMAS: Final = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",  # an answered write survives a power cut
    "PRAGMA foreign_keys=ON",
    "PRAGMA busy_timeout=5000",  # milliseconds; a backup tool may hold the file for a moment
    "PRAGMA wal_autocheckpoint=4000",  # pages
    "PRAGMA cache_size=-8192",  # KiB; all that is read often is in the index, so more would lie idle
)


def open_engine(path: Path) -> Engine:
    """An engine for an SQLite file.

    Args:
        path: Of the file; it need not be there yet.
    """
    # Transactions are begun by hand: the driver would begin them too late to cover a read, and would not
    # let savepoints be.
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool, connect_args={"check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _connected(connection: DBAPIConnection, _record: object) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in _PRAGMAS:
            cursor.execute(pragma)
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def hold(engine: Engine) -> PoolProxiedConnection:
    """Keep the file open beside the connections that come and go; to be closed last.

    Whoever opens an SQLite file that nobody has open takes over all that its log holds, and so also a
    transaction whose commit failed because the log could not be made durable. As long as somebody has the
    file open, such a one stays undone, and the next one is written over it.
    """
    held = engine.raw_connection()
    held.cursor().execute("SELECT count(*) FROM sqlite_schema")  # only now is the log open too
    return held


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        cause = error.orig
        reason = errors.DAMAGED if _is_damage(str(cause)) else errors.UNAVAILABLE
        raise StoreError(reason, f"the database {path} cannot be used: {cause}", subject=str(path)) from error


def _is_damage(cause: str) -> bool:
    return any(word in cause for word in ("malformed", "not a database", "no such table", "no such column"))


def prepare(engine: Engine, path: Path, trust_domain: TrustDomain, *, chance: Chance) -> str:
    """Bring the database to the newest schema, and see that it belongs to the trust domain.

    Args:
        engine: Of the database.
        path: For messages.
        trust_domain: Whose it has to be; a new one becomes it.
        chance: Draws the epoch of a new one.

    Returns:
        The epoch: random, new at creation and at restore, so that old cursors mean nothing here.

    Raises:
        StoreError: The file is damaged, from a newer release, or of another trust domain.
    """
    # For its owner alone: IDs of agents that join by token hold the token, in entries even before its use.
    with contextlib.suppress(OSError):  # it is there already; or none can be made, as SQLite will say
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, _PRIVATE))
    with _explained(path):
        with engine.begin() as connection:
            version = _version(connection)
            if version is None:
                _create(connection, path, trust_domain, chance)
        if version not in {None, HEAD}:
            _migrate(engine, path, version)
        with engine.begin() as connection:
            meta = {row.name: row.value for row in connection.execute(select(META))}
    found = meta.get("trust_domain")
    if found is None or _EPOCH not in meta:
        raise StoreError(errors.DAMAGED, f"the database {path} does not say whose it is", subject=str(path))
    if found != trust_domain.name:
        message = f"the database {path} belongs to trust domain {found}, not {trust_domain}"
        raise StoreError(errors.FOREIGN, message, subject=str(path))
    known: str = meta[_EPOCH]
    return known


def epoch(connection: Connection) -> str:
    """The epoch that the database is in."""
    found: str = connection.execute(select(META.c.value).where(META.c.name == _EPOCH)).scalar_one()
    return found


def renew_epoch(tx: Tx, *, chance: Chance) -> str:
    """Begin a new epoch: from now on no cursor from before means anything here.

    It is written down, and no index is told of it: the caller hands it to its own.

    Args:
        tx: The transaction.
        chance: Draws it.
    """
    drawn = chance.token(_EPOCH_BYTES).hex()
    tx.sql.execute(update(META).where(META.c.name == _EPOCH).values(value=drawn))
    tx.epoch = drawn
    return drawn


def _version(connection: Connection) -> str | None:
    """The schema's version, read with plain SQL: Alembic costs half a second to import."""
    tables = inspect(connection).get_table_names()
    if _VERSION_TABLE not in tables:
        return None
    row = connection.execute(text(f"SELECT version_num FROM {_VERSION_TABLE}")).first()  # noqa: S608 - a constant
    return "" if row is None else str(row[0])


def _create(connection: Connection, path: Path, trust_domain: TrustDomain, chance: Chance) -> None:
    if inspect(connection).get_table_names():
        raise StoreError(
            errors.DAMAGED, f"the database {path} is not one of a Finial server", subject=str(path)
        )
    METADATA.create_all(connection)
    stamp(connection)
    first = chance.token(_EPOCH_BYTES).hex()
    rows = [{"name": "trust_domain", "value": trust_domain.name}, {"name": _EPOCH, "value": first}]
    connection.execute(insert(META), rows)


def stamp(connection: Connection) -> None:
    """Say in the database, in Alembic's way, that it has the newest schema."""
    connection.execute(text(f"CREATE TABLE {_VERSION_TABLE} (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
    connection.execute(text(f"INSERT INTO {_VERSION_TABLE} VALUES (:version)"), {"version": HEAD})  # noqa: S608 - a constant


def _migrate(engine: Engine, path: Path, version: str | None) -> None:
    from finial.server.store.migrations import run  # noqa: PLC0415 - Alembic is imported only when it is needed

    run.to_head(engine, path, version or "")
