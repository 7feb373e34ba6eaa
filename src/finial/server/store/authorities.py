"""The journal of the authority in SQL: a slot and the bundle that publishes it change as one."""

from __future__ import annotations

from sqlalchemy import delete, insert, select

from finial.core.bundle import Bundle
from finial.core.ids import TrustDomain
from finial.core.x509cert import Certificate
from finial.server.ca.journal import SlotRow
from finial.server.store import bundles
from finial.server.store.schema import AUTHORITIES
from finial.server.store.writer import Store, Tx


class SQLJournal:
    """The rows of one server.

    Args:
        store: Where they are.
        trust_domain: In whose bundle authorities are published.
    """

    def __init__(self, store: Store, trust_domain: TrustDomain) -> None:
        self._store = store
        self._trust_domain = trust_domain

    async def load(self) -> tuple[SlotRow, ...]:
        """Every row, at most one for each slot."""
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

    def _load(self, tx: Tx) -> tuple[SlotRow, ...]:
        mine = select(AUTHORITIES).where(AUTHORITIES.c.server == self._store.server)
        return tuple(
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
