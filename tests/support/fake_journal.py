"""A journal in memory; what it holds outlives the service that a test kills."""

from __future__ import annotations

from typing import Generic

from finial.core.bundle import Bundle
from finial.core.ids import TrustDomain
from finial.server.ca.journal import SlotRow, Written, authority_in
from finial.server.ca.kinds import A, Kind, named
from finial.server.ca.orders import not_ours
from support.strikes import Strikes

DOMAIN = TrustDomain("a.test")


class FakeJournal(Generic[A]):
    def __init__(self, kind: Kind[A], trust_domain: TrustDomain = DOMAIN) -> None:
        self.kind = kind
        self.trust_domain = trust_domain
        self.rows: dict[str, SlotRow] = {}
        self.bundle: list[A] = []  # everything that was published and not revoked, in order
        self.tainted: set[A] = set()
        self.foreign: set[str] = set()  # ids of what is in the slots of other servers
        self.strikes = Strikes()

    async def load(self) -> Written:
        self.strikes("before load")
        bundle = self.kind.put(Bundle(trust_domain=self.trust_domain, sequence=1), self.bundle, self.tainted)
        return Written(tuple(self.rows.values()), bundle if self.bundle else None)

    async def prepare(self, row: SlotRow) -> None:
        assert (row.status, row.activated_at) == ("prepared", 0)
        self.strikes("before prepare")
        authority = authority_in(row, self.kind)
        self.kind.put(Bundle(trust_domain=self.trust_domain), [*self.bundle, authority], ())
        self.rows[row.slot] = row
        self.bundle.append(authority)
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

    async def withdraw(self) -> int:
        self.strikes("before withdraw")
        gone = len(self.bundle)
        self.rows.clear()
        self.bundle.clear()
        self.strikes("after withdraw")
        return gone

    def _named(self, authority_id: str) -> list[A]:
        if authority_id in self.foreign:
            raise not_ours(authority_id)
        bundle = self.kind.put(Bundle(trust_domain=self.trust_domain), self.bundle, ())
        return list(named(self.kind, bundle, authority_id))
