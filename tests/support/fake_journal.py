"""A journal in memory; what it holds outlives the service that a test kills."""

from __future__ import annotations

from finial.core.x509cert import Certificate
from finial.server.ca.journal import SlotRow
from support.strikes import Strikes


class FakeJournal:
    def __init__(self) -> None:
        self.rows: dict[str, SlotRow] = {}
        self.bundle: list[Certificate] = []  # every root ever published, in order
        self.strikes = Strikes()

    async def load(self) -> tuple[SlotRow, ...]:
        self.strikes("before load")
        return tuple(self.rows.values())

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
