"""Rotations on a journal and keys in memory, whose server processes come and go; one world for each kind."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Generic

import pytest

from finial.core.ids import SpiffeID, TrustDomain
from finial.core.jwtsvid import JWTRequest
from finial.core.keys import KeyType, PrivateKey
from finial.core.token_authority import TokenAuthority
from finial.core.witsvid import WITRequest
from finial.core.x509_profile import SVIDRequest
from finial.core.x509cert import Certificate
from finial.server.ca.issue import Authority
from finial.server.ca.kinds import JWT, WIT, X509, A, Kind, end_of
from finial.server.ca.offices import AuthorityPlan, KeyOffice, Office, RootOffice
from finial.server.ca.rotate import Rotation
from finial.server.ca.tokens import JWTSigner, WITSigner
from support import forge
from support.authorities import DOMAIN
from support.clock import FixedChance, ManualClock, settle
from support.fake_journal import FakeJournal
from support.fake_keys import MemoryKeyManager
from support.strikes import Strikes, failed

TTL = timedelta(minutes=6)
SECOND = timedelta(seconds=1)
WEB = SpiffeID("spiffe://a.test/web")


class World(ABC, Generic[A]):
    """What outlives a server: its journal, its keys and the time; and the server that runs now."""

    def __init__(self, kind: Kind[A], ttl: timedelta = TTL) -> None:
        self.journal = FakeJournal(kind)
        self.keys = MemoryKeyManager()
        self.clock = ManualClock()
        self.chance = FixedChance()
        self.plan = AuthorityPlan(ttl=ttl, key_type=KeyType.EC_P256)
        self.activated: list[A] = []
        self.watch: Callable[[A], None] | None = None  # sees each activation when it takes place
        self.office: Office[A]
        self.rotation: Rotation[A]
        self.boot()

    def boot(self, domain: TrustDomain = DOMAIN) -> None:
        """A new server process, not started."""
        self.office = self.open(domain)
        self.rotation = Rotation(
            self.office, journal=self.journal, keys=self.keys, clock=self.clock, chance=self.chance
        )

    def told(self, authority: A) -> None:
        """Another authority signs."""
        self.activated.append(authority)
        if self.watch is not None:
            self.watch(authority)

    @abstractmethod
    def open(self, domain: TrustDomain) -> Office[A]:
        """What authorities take turns in, with `told`."""

    @abstractmethod
    def sign(self) -> tuple[datetime, list[A]]:
        """Sign something for an hour; when it ends, and whose signature it bears of all that is published."""

    def signer(self) -> A:
        """Sign something, and see that it was by an authority that is published."""
        end, found = self.sign()
        assert len(found) == 1
        limit = end_of(found[0])
        assert limit is not None
        assert end <= limit
        return found[0]

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

    def statuses(self) -> dict[str, str]:
        return {name: row.status for name, row in sorted(self.journal.rows.items())}


class RootWorld(World[Certificate]):
    """Of roots."""

    def __init__(self, ttl: timedelta = TTL) -> None:
        super().__init__(X509, ttl)

    def open(self, domain: TrustDomain) -> Office[Certificate]:
        self.authority = Authority(domain, clock=self.clock, chance=self.chance)
        return RootOffice(self.plan, self.authority, chance=self.chance, on_activated=self.told)

    def sign(self) -> tuple[datetime, list[Certificate]]:
        request = SVIDRequest(spiffe_id=WEB, public_key=forge.key().public_key())
        leaf = self.authority.sign_svid(request, timedelta(hours=1))[0]
        found = [one for one in self.journal.bundle if one.key is not None and leaf.signed_by(one.key)]
        return leaf.not_after, found


class _TellingOffice(KeyOffice):
    told: Callable[[TokenAuthority], None]

    def use(self, authority: TokenAuthority, key: PrivateKey, *, first: bool) -> None:
        super().use(authority, key, first=first)
        self.told(authority)


class KeyWorld(World[TokenAuthority]):
    """Of keys for tokens."""

    def __init__(self, kind: Kind[TokenAuthority], ttl: timedelta = TTL) -> None:
        self._kind = kind
        super().__init__(kind, ttl)

    def open(self, domain: TrustDomain) -> Office[TokenAuthority]:
        maker = JWTSigner if self._kind is JWT else WITSigner
        self.tokens = maker(domain, clock=self.clock)
        office = _TellingOffice(self._kind, self.plan, self.tokens)
        office.told = self.told
        return office

    def sign(self) -> tuple[datetime, list[TokenAuthority]]:
        hour = timedelta(hours=1)
        if isinstance(self.tokens, JWTSigner):
            token = self.tokens.sign_jwt(JWTRequest(spiffe_id=WEB, audience=("db",)), hour)
            return token.expires_at, self._named(token.key_id)
        assert isinstance(self.tokens, WITSigner)
        request = WITRequest(spiffe_id=WEB, public_key=forge.key().public_key())
        proof = self.tokens.sign_wit(request, hour)
        return proof.expires_at, self._named(proof.key_id)

    def _named(self, key_id: str) -> list[TokenAuthority]:
        return [each for each in self.journal.bundle if each.key_id == key_id]


Make = Callable[..., World[Any]]

worlds = pytest.mark.parametrize(
    "make", [RootWorld, partial(KeyWorld, JWT), partial(KeyWorld, WIT)], ids=["x509", "jwt", "wit"]
)
"""Runs a test in a world of each kind."""


def logged(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == level]
