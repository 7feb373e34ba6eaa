"""The journal of the authority in SQL: a slot and the bundle that publishes it change as one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sqlalchemy import delete, insert, select

from finial.core.bundle import Bundle
from finial.core.ids import TrustDomain
from finial.core.x509cert import Certificate
from finial.server.ca.journal import SlotRow, Written
from finial.server.ca.orders import authority_id_of, not_ours, published
from finial.server.store import bundles
from finial.server.store.schema import AUTHORITIES
from finial.server.store.transaction import Tx
from finial.server.store.writer import Store


class SQLJournal:
    """The rows of one server.

    Args:
        store: Where they are.
        trust_domain: In whose bundle authorities are published.
    """

    def __init__(self, store: Store, trust_domain: TrustDomain) -> None:
        self._store = store
        self._trust_domain = trust_domain

    async def load(self) -> Written:
        """Everything, as it is at one moment."""
        return await self._store.write(self._load)

    async def prepare(self, row: SlotRow, authority: bytes) -> None:
        """Put the row in its slot, and the authority into the own bundle."""
        certificate = Certificate.parse(authority, "authority")

        def work(tx: Tx) -> None:
            self._put(tx, row)
            bundles.publish(tx, Bundle(trust_domain=self._trust_domain), certificate)

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
        await self._revise(authority_id, _with_taint)

    async def revoke(self, authority_id: str) -> None:
        """Take the authority out of the own bundle; its row, if it has one, stays."""
        await self._revise(authority_id, _without)

    async def _revise(self, authority_id: str, change: Callable[[Bundle, str], Bundle]) -> None:
        def work(tx: Tx) -> None:
            if authority_id in self._neighbours(tx):
                raise not_ours(authority_id)
            bundles.revise(tx, self._trust_domain.name, lambda bundle: change(bundle, authority_id))

        await self._store.write(work)

    def _neighbours(self, tx: Tx) -> frozenset[str]:
        """The IDs of what is in the slots of other servers with this database."""
        theirs = select(AUTHORITIES.c.certificate).where(AUTHORITIES.c.server != self._store.server)
        found = tx.sql.execute(theirs).scalars()
        return frozenset(authority_id_of(Certificate.parse(der, "authority")) for der in found)

    def _load(self, tx: Tx) -> Written:
        mine = select(AUTHORITIES).where(AUTHORITIES.c.server == self._store.server)
        record = bundles.find(tx, self._trust_domain.name)
        rows = tuple(
            SlotRow(
                slot=row.slot,
                status=row.status,
                key_id=row.key_id,
                certificate=row.certificate,
                prepared_at=row.prepared_at,
                activated_at=row.activated_at,
            )
            for row in tx.sql.execute(mine.order_by(AUTHORITIES.c.slot))
        )
        return Written(rows, None if record is None else record.bundle)

    def _put(self, tx: Tx, row: SlotRow) -> None:
        same = (AUTHORITIES.c.server == self._store.server) & (AUTHORITIES.c.slot == row.slot)
        tx.sql.execute(delete(AUTHORITIES).where(same))
        values = {
            "server": self._store.server,
            "slot": row.slot,
            "status": row.status,
            "key_id": row.key_id,
            "certificate": row.certificate,
            "prepared_at": row.prepared_at,
            "activated_at": row.activated_at,
        }
        tx.sql.execute(insert(AUTHORITIES).values(values))


def _with_taint(bundle: Bundle, authority_id: str) -> Bundle:
    return replace(bundle, tainted=bundle.tainted.union(published(bundle, authority_id)))


def _without(bundle: Bundle, authority_id: str) -> Bundle:
    gone = published(bundle, authority_id)
    kept = tuple(each for each in bundle.x509_authorities if each not in gone)
    return replace(bundle, x509_authorities=kept)
