"""The token services of a server on a real store, with keys that a test knows, called as handlers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from finial.core.bundle import Bundle, BundleSet
from finial.core.ids import SpiffeID
from finial.runtime.metrics import Counter
from finial.server.api.audiences import AudienceWatch
from finial.server.api.chain import Caller
from finial.server.api.svid import Ground
from finial.server.api.svid_jwt import JWTService, Terms
from finial.server.api.svid_wit import WITService
from finial.server.ca.tokens import JWTSigner, WITSigner
from finial.server.limits import Limiter
from finial.server.policy import Role
from finial.server.signing import Turns
from finial.server.store import nodes
from finial.server.store.records import NodeRecord
from finial.wire.gen import spire_api_server_svid_v1 as svid_pb
from finial.wire.gen import spire_api_types as types
from support import tokens
from support.clock import START, FixedChance
from support.server_store import DOMAIN, Stored, opened

AGENT = SpiffeID("spiffe://example.org/spire/agent/test/one")
PARENT = AGENT.path.removeprefix("/")
KEY_END = START + timedelta(hours=24)
LOCAL = Caller(Role.LOCAL, "unix:1")


@dataclass
class Figures:
    """What the services count."""

    jwt: Counter = field(default_factory=Counter)
    wit: Counter = field(default_factory=Counter)
    several: Counter = field(default_factory=Counter)
    wide: Counter = field(default_factory=Counter)


@dataclass
class Desk:
    """What a test works with."""

    world: Stored
    jwt: JWTService
    wit: WITService
    figures: Figures
    jwt_signer: JWTSigner
    wit_signer: WITSigner
    caller: Caller

    @property
    def trust(self) -> BundleSet:
        """What verifies the tokens."""
        jwt, wit = self.jwt_signer.authority, self.wit_signer.authority
        assert jwt is not None
        assert wit is not None
        return BundleSet([Bundle(trust_domain=DOMAIN, jwt_authorities=(jwt,), wit_authorities=(wit,))])

    async def new(self, entry_id: str, *audience: str) -> types.JWTSVID:
        """A JWT-SVID for an entry of the agent."""
        request = svid_pb.NewJWTSVIDRequest(entry_id=entry_id, audience=audience)
        return (await self.jwt.new(request, self.caller)).svid

    async def batch(self, *params: svid_pb.NewWITSVIDParams) -> list[svid_pb.BatchNewWITSVIDResponse.Result]:
        """WIT-SVIDs for entries of the agent."""
        request = svid_pb.BatchNewWITSVIDRequest(params=params)
        return list((await self.wit.batch_new(request, self.caller)).results)

    async def mint(self, path: str, *audience: str, ttl: int = 0) -> types.JWTSVID:
        """A JWT-SVID that an operator asks for."""
        spiffe_id = types.SPIFFEID(trust_domain=DOMAIN.name, path=path)
        request = svid_pb.MintJWTSVIDRequest(id=spiffe_id, audience=audience, ttl=ttl)
        return (await self.jwt.mint(request, LOCAL)).svid


@asynccontextmanager
async def desk(
    folder: Path,
    *,
    terms: Terms | None = None,
    refuse_wide: bool = False,
    limited: bool = False,
    recheck: Callable[[], None] = lambda: None,
) -> AsyncIterator[Desk]:
    """Both services, an agent that calls, and keys that are in use."""
    async with opened(folder / "db") as world:
        node = NodeRecord(seq=0, id=AGENT.text, attestation_type="test", serial="1", expires_at=0)
        await world.store.write(lambda tx: nodes.put(tx, node))
        chance, figures = FixedChance(), Figures()
        jwt_signer, wit_signer = JWTSigner(DOMAIN, clock=world.clock), WITSigner(DOMAIN, clock=world.clock)
        jwt_signer.use(*tokens.authority("j1", expires_at=KEY_END), first=True)
        wit_signer.use(*tokens.authority("w1", expires_at=KEY_END), first=True)
        ground = Ground(world.index, Turns(clock=world.clock, chance=chance), world.clock)
        jwt = JWTService(
            ground,
            jwt_signer,
            terms=terms or Terms(ttl=timedelta(minutes=5)),
            watch=AudienceWatch(figures.several, figures.wide, refuse_wide=refuse_wide),
            limit=Limiter(500, clock=world.clock) if limited else None,
            chance=chance,
            signed=figures.jwt,
        )
        wit = WITService(
            ground,
            wit_signer,
            ttl=timedelta(hours=1),
            limit=Limiter(500, clock=world.clock) if limited else None,
            chance=chance,
            signed=figures.wit,
        )
        caller = Caller(Role.AGENT, "192.0.2.1", AGENT, recheck)
        yield Desk(world, jwt, wit, figures, jwt_signer, wit_signer, caller)
