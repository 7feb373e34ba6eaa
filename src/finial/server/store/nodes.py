"""Nodes in SQL: attested, renewed, banned, forgotten."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from finial.core.selectors import Selector, canonical
from finial.server.store.errors import MissingError
from finial.server.store.records import ChangeKind, NodeRecord
from finial.server.store.schema import NODES
from finial.server.store.transaction import Tx

_BATCH = 1_000

# Statements that are made once: SQLAlchemy takes as long to make one as SQLite to run it.
_FIND = select(NODES).where(NODES.c.id == bindparam("agent"))
_INSERT = insert(NODES).returning(NODES.c.seq)
_UPDATE = update(NODES).where(NODES.c.seq == bindparam("row"))


def all_nodes(connection: Connection) -> Iterator[NodeRecord]:
    """Every node, in the order of first attestation."""
    rows = connection.execution_options(yield_per=_BATCH).execute(select(NODES).order_by(NODES.c.seq))
    yield from map(_record, rows)


def present(connection: Connection, ids: Sequence[str]) -> Iterator[NodeRecord]:
    """The nodes with these IDs, as far as there are any; no more than one IN takes."""
    asked = select(NODES).where(NODES.c.id.in_(ids))
    yield from map(_record, connection.execute(asked))


def find(tx: Tx, agent_id: str) -> NodeRecord | None:
    """The node with this ID, if it has attested."""
    row = tx.sql.execute(_FIND, {"agent": agent_id}).first()
    return None if row is None else _record(row)


def get(tx: Tx, agent_id: str) -> NodeRecord:
    """The node with this ID.

    Raises:
        MissingError: It has not attested.
    """
    found = find(tx, agent_id)
    if found is None:
        raise MissingError("agent not found", subject=agent_id)
    return found


def put(tx: Tx, node: NodeRecord) -> NodeRecord:
    """Write a node as it is now; one that attests for the first time (`seq` 0) gets its number."""
    values = {
        "id": node.id,
        "attestation_type": node.attestation_type,
        "serial": node.serial,
        "expires_at": node.expires_at,
        "pending_serial": node.pending_serial,
        "pending_expires_at": node.pending_expires_at,
        "can_reattest": node.can_reattest,
        "version": node.version,
        "selectors": _dump(node.selectors),
    }
    if node.seq:
        tx.sql.execute(_UPDATE, {"row": node.seq, **values})
    else:
        node = replace(node, seq=tx.sql.execute(_INSERT, values).scalar_one())
    tx.changed(ChangeKind.NODE, node.id, node)
    return node


def remove(tx: Tx, agent_id: str) -> NodeRecord:
    """Forget a node.

    Raises:
        MissingError: It has not attested.
    """
    node = get(tx, agent_id)
    tx.sql.execute(delete(NODES).where(NODES.c.seq == node.seq))
    tx.changed(ChangeKind.NODE, agent_id, None)
    return node


def _record(row: Row[tuple[object, ...]]) -> NodeRecord:
    return NodeRecord(
        seq=row.seq,
        id=row.id,
        attestation_type=row.attestation_type,
        serial=row.serial,
        expires_at=row.expires_at,
        pending_serial=row.pending_serial,
        pending_expires_at=row.pending_expires_at,
        can_reattest=row.can_reattest,
        version=row.version,
        selectors=_load(row.selectors),
    )


def _dump(selectors: tuple[Selector, ...]) -> str:
    return json.dumps([[selector.type, selector.value] for selector in selectors])


def _load(text: str) -> tuple[Selector, ...]:
    return canonical(Selector(kind, value) for kind, value in json.loads(text))
