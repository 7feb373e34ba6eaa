"""Runs Alembic's steps; imported only when a database is behind."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy import Engine

from finial.server.store import errors
from finial.server.store.errors import StoreError

_FOLDER = Path(__file__).parent


def to_head(engine: Engine, path: Path, version: str) -> None:
    """Bring a database to the newest schema, each step in a transaction.

    Args:
        engine: Of the database.
        path: For messages.
        version: What it says it is; empty for a database without any schema.

    Raises:
        StoreError: No step leads from that version, so a newer release has written it.
    """
    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except CommandError as error:
        message = f"the database {path} has schema {version!r}, which this release does not know"
        raise StoreError(errors.NEWER, message, subject=str(path)) from error
