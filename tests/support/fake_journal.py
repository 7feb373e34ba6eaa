"""A journal in memory; what it holds outlives the service that a test kills."""

from __future__ import annotations

from finial.core.bundle import Bundle
from finial.core.ids import TrustDomain
from finial.core.x509cert import Certificate
from finial.server.ca.journal import SlotRow, Written
from finial.server.ca.orders import authority_id_of, not_ours
from support.strikes import Strikes

DOMAIN = TrustDomain("a.test")


class FakeJournal:
    def __init__(self, trust_domain: TrustDomain = DOMAIN) -> None:
        self.trust_domain = trust_domain
        self.rows: dict[str, SlotRow] = {}
        self.bundle: list[Certificate] = []  # every root that was published and not revoked, in order
        self.tainted: set[Certificate] = set()
        self.foreign: set[str] = set()  # ids of what is in the slots of other servers
        self.strikes = Strikes()

    async def load(self) -> Written:
        self.strikes("before load")
        bundle = Bundle(
            trust_domain=self.trust_domain,
            x509_authorities=tuple(self.bundle),
            tainted=frozenset(self.tainted),
            sequence=1,
        )
        return Written(tuple(self.rows.values()), bundle if self.bundle else None)

    async def prepare(self, row: SlotRow, authority: bytes) -> None:
        assert (row.status, row.activated_at) == ("prepared", 0)
        self.strikes("before prepare")
        self.rows[row.slot] = row
        self.bundle.append(Certificate.parse(authority))
        self.strikes("after prepare")

    async def activate(self, new: SlotRow, old: SlotRow | None) -> None:
        assert new.status == "active"
        assert old is None or (old.status, old.slot == new.slot) == ("old", False)
        self.strikes("before activate")
        self.rows[new.slot] = new
        if old is not None:
            self.rows[old.slot] = old
        self.strikes("after activate")

    async def taint(self, authority_id: str) -> None:
        self.strikes("before taint")
        self.tainted.update(self._named(authority_id))
        self.strikes("after taint")

    async def revoke(self, authority_id: str) -> None:
        self.strikes("before revoke")
        for each in self._named(authority_id):
            self.bundle.remove(each)
            self.tainted.discard(each)
        self.strikes("after revoke")

    def _named(self, authority_id: str) -> list[Certificate]:
        if authority_id in self.foreign:
            raise not_ours(authority_id)
        return [each for each in self.bundle if authority_id_of(each) == authority_id]
