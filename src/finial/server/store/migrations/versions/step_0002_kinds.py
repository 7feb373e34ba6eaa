"""Authorities of several kinds: what has been there so far are those of X.509-SVIDs."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_BEFORE = sa.table(
    "authorities",
    *map(sa.column, ("server", "slot", "status", "key_id", "certificate", "prepared_at", "activated_at")),
)


def upgrade() -> None:
    """Make the table anew: not every database can change a primary key. It has two rows for each server."""
    rows = [dict(row) for row in op.get_bind().execute(sa.select(_BEFORE)).mappings()]
    op.drop_table("authorities")
    table = op.create_table(
        "authorities",
        sa.Column("server", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("slot", sa.Text, primary_key=True),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("key_id", sa.Text, nullable=False),
        sa.Column("certificate", sa.LargeBinary, nullable=False),
        sa.Column("prepared_at", sa.BigInteger, nullable=False),
        sa.Column("activated_at", sa.BigInteger, nullable=False),
        sa.Column("ends_at", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(table, [{**row, "kind": "x509", "ends_at": 0} for row in rows])
