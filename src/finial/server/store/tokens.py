"""Join tokens in SQL: each works once, for one key."""

from __future__ import annotations

import hashlib
from datetime import timedelta

from sqlalchemy import bindparam, delete, insert, select, update

from finial.core.errors import Kind, Reason
from finial.server.store import errors
from finial.server.store.errors import StoreError
from finial.server.store.schema import TOKENS
from finial.server.store.transaction import Tx

RETRY_WINDOW = timedelta(minutes=5)
"""How long the same token with the same key is the same use: a kill in between locks nobody out."""

_NEXT_STEP = "Make a new one with `finial server token generate`, and start the agent with it soon."
USED = Reason("join-token-used", Kind.INVALID, hint=_NEXT_STEP)
EXPIRED = Reason("join-token-expired", Kind.INVALID, hint=_NEXT_STEP)

# Statements that are made once: SQLAlchemy takes as long to make one as SQLite to run it.
_CREATE = insert(TOKENS)
_FIND = select(TOKENS).where(TOKENS.c.digest == bindparam("key"))
_USE = (
    update(TOKENS)
    .where(TOKENS.c.digest == bindparam("key"), TOKENS.c.used_at == 0, TOKENS.c.expires_at > bindparam("now"))
    .values(used_at=bindparam("now"), used_key=bindparam("by"))
)


class TokenError(StoreError):
    """A join token lets nobody in."""


def digest(token: str) -> bytes:
    """What is kept of a token."""
    return hashlib.sha256(b"join token\0" + token.encode()).digest()


def create(tx: Tx, token: str, *, expires_at: int) -> None:
    """Accept a token from now on.

    Args:
        tx: The transaction.
        token: Its text.
        expires_at: Unix seconds.

    Raises:
        StoreError: There is one with this text.
    """
    key = digest(token)
    if tx.sql.execute(_FIND, {"key": key}).first() is not None:
        raise StoreError(errors.EXISTS, "a join token with this value already exists")
    values = {"digest": key, "expires_at": expires_at, "used_at": 0, "used_key": b""}
    tx.sql.execute(_CREATE, values)


def check(tx: Tx, token: str, key: bytes) -> None:
    """Return when the token lets this key in now; takes nothing.

    Args:
        tx: The transaction.
        token: Its text.
        key: Digest of the agent's public key.

    Raises:
        TokenError: It does not exist, has been used by another key or too long ago, or has expired.
    """
    row = tx.sql.execute(_FIND, {"key": digest(token)}).first()
    if row is None:
        raise TokenError(USED, "failed to attest: join token does not exist or has already been used")
    if row.used_at:
        same = row.used_key == key and tx.now < row.used_at + RETRY_WINDOW.total_seconds()
        if not same:
            raise TokenError(USED, "failed to attest: join token does not exist or has already been used")
    elif tx.now >= row.expires_at:
        raise TokenError(EXPIRED, "failed to attest: join token expired")


def use(tx: Tx, token: str, key: bytes) -> None:
    """Let this key in with the token, and no other after it.

    Raises:
        TokenError: As `check`.
    """
    used = tx.sql.execute(_USE, {"key": digest(token), "now": tx.now, "by": key})
    if not used.rowcount:
        # The first use counts: a token that is used again and again would never end.
        check(tx, token, key)


def forget(tx: Tx, token: str) -> None:
    """Let nobody in with the token any more."""
    tx.sql.execute(delete(TOKENS).where(TOKENS.c.digest == digest(token)))


def prune(tx: Tx) -> int:
    """Delete tokens that let nobody in any more; how many they were."""
    past = tx.now - int(RETRY_WINDOW.total_seconds())
    unused = (TOKENS.c.used_at == 0) & (TOKENS.c.expires_at <= tx.now)
    used = (TOKENS.c.used_at > 0) & (TOKENS.c.used_at <= past)
    return tx.sql.execute(delete(TOKENS).where(unused | used)).rowcount
