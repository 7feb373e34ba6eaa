"""The first schema: entries, nodes, join tokens, bundles, authorities, the change log."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.schema import SchemaItem

revision = "0001"
down_revision = None

_ROW = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _numbered(name: str, *columns: SchemaItem) -> None:
    row: sa.Column[int] = sa.Column("seq", _ROW, primary_key=True, autoincrement=True)
    op.create_table(name, row, *columns, sqlite_autoincrement=True)


def _text(name: str, *, unique: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, unique=unique)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)


def _bytes(name: str, *, unique: bool = False) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary, nullable=False, unique=unique)


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean, nullable=False)


def upgrade() -> None:
    """Make the tables."""
    op.create_table("meta", sa.Column("name", sa.Text, primary_key=True), _text("value"))
    _registry()
    _numbered(
        "bundles",
        _text("trust_domain", unique=True),
        _bytes("data"),
    )
    op.create_table(
        "authorities",
        sa.Column("server", sa.Text, primary_key=True),
        sa.Column("slot", sa.Text, primary_key=True),
        _text("status"),
        _text("key_id"),
        _bytes("certificate"),
        _number("prepared_at"),
        _number("activated_at"),
    )
    _numbered("changes", _text("server"), _text("kind"), _text("key"), _number("revision"), _number("at"))
    op.create_index("changes_at", "changes", ["at"])


def _registry() -> None:
    _numbered(
        "entries",
        _text("id", unique=True),
        _bytes("digest", unique=True),
        _text("spiffe_id"),
        _text("parent_id"),
        _bytes("data"),
        sa.Column("masked", sa.Integer, nullable=False),
        _number("revision"),
        _number("created_at"),
        _number("expires_at"),
        _flag("admin"),
        _flag("downstream"),
    )
    entry = sa.ForeignKey("entries.seq", ondelete="CASCADE")
    op.create_table(
        "entry_federations",
        sa.Column("trust_domain", sa.Text, primary_key=True),
        sa.Column("entry", _ROW, entry, primary_key=True),
    )
    op.create_index("entry_federations_entry", "entry_federations", ["entry"])
    _numbered(
        "nodes",
        _text("id", unique=True),
        _text("attestation_type"),
        _text("serial"),
        _number("expires_at"),
        _text("pending_serial"),
        _number("pending_expires_at"),
        _flag("can_reattest"),
        _text("version"),
        _text("selectors"),
    )
    op.create_table(
        "join_tokens",
        sa.Column("digest", sa.LargeBinary, primary_key=True),
        _number("expires_at"),
        _number("used_at"),
        _bytes("used_key"),
    )
