"""A rotation on a journal and keys in memory, whose server processes come and go."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from finial.core.ids import SpiffeID, TrustDomain
from finial.core.keys import KeyType
from finial.core.x509_profile import SVIDRequest
from finial.core.x509cert import Certificate
from finial.server.ca.issue import Authority
from finial.server.ca.rotate import AuthorityPlan, Rotation
from support import forge
from support.authorities import DOMAIN
from support.clock import FixedChance, ManualClock, settle
from support.fake_journal import FakeJournal
from support.fake_keys import MemoryKeyManager
from support.strikes import Strikes, failed

TTL = timedelta(minutes=6)
SECOND = timedelta(seconds=1)


class World:
    """What outlives a server: its journal, its keys and the time; and the server that runs now."""

    def __init__(self, ttl: timedelta = TTL) -> None:
        self.journal = FakeJournal()
        self.keys = MemoryKeyManager()
        self.clock = ManualClock()
        self.chance = FixedChance()
        self.plan = AuthorityPlan(ttl=ttl, key_type=KeyType.EC_P256)
        self.activated: list[Certificate] = []
        self.authority: Authority
        self.rotation: Rotation
        self.boot()

    def boot(self, domain: TrustDomain = DOMAIN) -> None:
        """A new server process, not started."""
        self.authority = Authority(domain, clock=self.clock, chance=self.chance)
        self.rotation = Rotation(
            self.plan,
            authority=self.authority,
            journal=self.journal,
            keys=self.keys,
            clock=self.clock,
            chance=self.chance,
            on_activated=self.activated.append,
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """A server that has started and runs."""
        self.boot()
        await self.rotation.start()
        task = asyncio.create_task(self.rotation.run())
        await settle()
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def strike(self, at: int | None = None) -> Strikes:
        """Failures to come, at the journal and the key manager."""
        strikes = Strikes(at, what=failed)
        self.journal.strikes = self.keys.strikes = strikes
        return strikes

    def signer(self) -> Certificate:
        """Sign something, and see that it was by a root that is published."""
        request = SVIDRequest(spiffe_id=SpiffeID("spiffe://a.test/web"), public_key=forge.key().public_key())
        leaf = self.authority.sign_svid(request, timedelta(hours=1))[0]
        found = [one for one in self.journal.bundle if one.key is not None and leaf.signed_by(one.key)]
        assert len(found) == 1
        assert leaf.not_after <= found[0].not_after
        return found[0]

    def statuses(self) -> dict[str, str]:
        return {name: row.status for name, row in sorted(self.journal.rows.items())}


def logged(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == level]
