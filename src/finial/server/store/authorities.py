"""The journals of the authorities in SQL: a slot and the bundle that publishes it change as one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic

from sqlalchemy import ColumnElement, Row, delete, insert, select

from finial.core.bundle import Bundle
from finial.core.ids import TrustDomain
from finial.server.ca.journal import SlotRow, Written, authority_in
from finial.server.ca.kinds import A, Kind, authority_id_of, with_authority, with_taint, without
from finial.server.ca.orders import not_ours
from finial.server.store import bundles
from finial.server.store.schema import AUTHORITIES
from finial.server.store.transaction import Tx
from finial.server.store.writer import Store


class SQLJournal(Generic[A]):
    """The rows of one server about one kind of authority.

    Args:
        store: Where they are.
        trust_domain: In whose bundle authorities are published.
        kind: Of the authorities.
    """

    def __init__(self, store: Store, trust_domain: TrustDomain, kind: Kind[A]) -> None:
        self._store = store
        self._trust_domain = trust_domain
        self._kind = kind

    async def load(self) -> Written:
        """Everything, as it is at one moment."""
        return await self._store.write(self._load)

    async def prepare(self, row: SlotRow) -> None:
        """Put the row in its slot, and its authority into the own bundle."""
        authority = authority_in(row, self._kind)

        def work(tx: Tx) -> None:
            self._put(tx, row)
            bundles.publish(tx, self._trust_domain, lambda old: with_authority(self._kind, old, authority))

        await self._store.write(work)

    async def activate(self, new: SlotRow, old: SlotRow | None) -> None:
        """Put both rows in their slots."""

        def work(tx: Tx) -> None:
            if old is not None:
                self._put(tx, old)
            self._put(tx, new)

        await self._store.write(work)

    async def taint(self, authority_id: str) -> None:
        """Mark the authority in the own bundle as one to rotate away from."""
        await self._revise(authority_id, lambda bundle: with_taint(self._kind, bundle, authority_id))

    async def revoke(self, authority_id: str) -> None:
        """Take the authority out of the own bundle; its row, if it has one, stays."""
        await self._revise(authority_id, lambda bundle: without(self._kind, bundle, {authority_id}))

    async def withdraw(self) -> int:
        """Empty the own slots, and take out of the own bundle what is in no slot of another server."""

        def work(tx: Tx) -> int:
            tx.sql.execute(delete(AUTHORITIES).where(self._mine()))
            record = bundles.find(tx, self._trust_domain.name)
            published = () if record is None else self._kind.published(record.bundle)
            gone = set(map(authority_id_of, published)) - self._neighbours(tx)
            if gone:
                bundles.revise(tx, self._trust_domain.name, lambda old: without(self._kind, old, gone))
            return len(gone)

        return await self._store.write(work)

    async def _revise(self, authority_id: str, change: Callable[[Bundle], Bundle]) -> None:
        def work(tx: Tx) -> None:
            if authority_id in self._neighbours(tx):
                raise not_ours(authority_id)
            bundles.revise(tx, self._trust_domain.name, change)

        await self._store.write(work)

    def _neighbours(self, tx: Tx) -> frozenset[str]:
        """The IDs of what is in the slots of other servers with this database."""
        theirs = (AUTHORITIES.c.server != self._store.server) & (AUTHORITIES.c.kind == self._kind.name.value)
        found = tx.sql.execute(select(AUTHORITIES).where(theirs))
        return frozenset(authority_id_of(authority_in(_row(each), self._kind)) for each in found)

    def _mine(self) -> ColumnElement[bool]:
        same = AUTHORITIES.c.server == self._store.server
        return same & (AUTHORITIES.c.kind == self._kind.name.value)

    def _load(self, tx: Tx) -> Written:
        record = bundles.find(tx, self._trust_domain.name)
        found = tx.sql.execute(select(AUTHORITIES).where(self._mine()).order_by(AUTHORITIES.c.slot))
        return Written(tuple(map(_row, found)), None if record is None else record.bundle)

    def _put(self, tx: Tx, row: SlotRow) -> None:
        tx.sql.execute(delete(AUTHORITIES).where(self._mine() & (AUTHORITIES.c.slot == row.slot)))
        values = {
            "server": self._store.server,
            "kind": row.kind,
            "slot": row.slot,
            "status": row.status,
            "key_id": row.key_id,
            "certificate": row.certificate,
            "prepared_at": row.prepared_at,
            "activated_at": row.activated_at,
            "ends_at": row.ends_at,
        }
        tx.sql.execute(insert(AUTHORITIES).values(values))


def _row(row: Row[tuple[object, ...]]) -> SlotRow:
    return SlotRow(
        kind=row.kind,
        slot=row.slot,
        status=row.status,
        key_id=row.key_id,
        certificate=row.certificate,
        prepared_at=row.prepared_at,
        activated_at=row.activated_at,
        ends_at=row.ends_at,
    )
