"""The tables. A change here needs a step in `migrations/versions`, which a test compares with it."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)

HEAD: Final = "0002"
"""The newest step of `migrations/versions`; a new database is made from this module and stamped with it."""

METADATA: Final = MetaData()

# SQLite counts rows by this type alone; PostgreSQL makes a sequence of it.
_ROW = BigInteger().with_variant(Integer, "sqlite")


def _row(name: str = "seq") -> Column[int]:
    return Column(name, _ROW, primary_key=True, autoincrement=True)


# Without AUTOINCREMENT SQLite gives the number of the last row again once that row is gone, and a page
# token or a cursor would silently mean another row.
_NEVER_AGAIN: Final = True

META: Final = Table(
    "meta",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

ENTRIES: Final = Table(
    "entries",
    METADATA,
    _row(),
    Column("id", Text, nullable=False, unique=True),
    # Over SPIFFE ID, parent and selectors: finds a similar entry without a table of selectors.
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("spiffe_id", Text, nullable=False),
    Column("parent_id", Text, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("masked", Integer, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("admin", Boolean, nullable=False),
    Column("downstream", Boolean, nullable=False),
    sqlite_autoincrement=_NEVER_AGAIN,
)

FEDERATIONS: Final = Table(
    "entry_federations",
    METADATA,
    Column("trust_domain", Text, primary_key=True),
    Column("entry", _ROW, ForeignKey("entries.seq", ondelete="CASCADE"), primary_key=True),
    Index("entry_federations_entry", "entry"),
)

NODES: Final = Table(
    "nodes",
    METADATA,
    _row(),
    Column("id", Text, nullable=False, unique=True),
    Column("attestation_type", Text, nullable=False),
    Column("serial", Text, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("pending_serial", Text, nullable=False),
    Column("pending_expires_at", BigInteger, nullable=False),
    Column("can_reattest", Boolean, nullable=False),
    Column("version", Text, nullable=False),
    Column("selectors", Text, nullable=False),
    sqlite_autoincrement=_NEVER_AGAIN,
)

# The token itself is not kept here. An entry for a further ID of its node names it, as the API demands, so
# the file is for its owner alone all the same.
TOKENS: Final = Table(
    "join_tokens",
    METADATA,
    Column("digest", LargeBinary, primary_key=True),
    Column("expires_at", BigInteger, nullable=False),
    Column("used_at", BigInteger, nullable=False),
    Column("used_key", LargeBinary, nullable=False),
)

BUNDLES: Final = Table(
    "bundles",
    METADATA,
    _row(),
    Column("trust_domain", Text, nullable=False, unique=True),
    Column("data", LargeBinary, nullable=False),
    sqlite_autoincrement=_NEVER_AGAIN,
)

AUTHORITIES: Final = Table(
    "authorities",
    METADATA,
    Column("server", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("slot", Text, primary_key=True),
    Column("status", Text, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("certificate", LargeBinary, nullable=False),
    Column("prepared_at", BigInteger, nullable=False),
    Column("activated_at", BigInteger, nullable=False),
    Column("ends_at", BigInteger, nullable=False),
)

CHANGES: Final = Table(
    "changes",
    METADATA,
    _row(),
    Column("server", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Index("changes_at", "at"),
    sqlite_autoincrement=_NEVER_AGAIN,
)
