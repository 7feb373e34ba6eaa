"""The calls of the JWT-SVID profile, as a workload makes them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from finial.core.bundle import BundleSet
from finial.core.jwtsvid import JWTSVID, validate_jwt
from finial.rpc import Channel, RpcError
from finial.wire.gen import workload as pb
from support.agent_world import HEADER, Agent, World

API = pb.SpiffeWorkloadAPI


@dataclass
class Workload:
    """One connection of this process to an agent."""

    world: World
    channel: Channel

    def fetch_now(
        self, *audience: str, spiffe_id: str = "", metadata: Any = HEADER
    ) -> Coroutine[Any, Any, pb.JWTSVIDResponse]:
        request = pb.JWTSVIDRequest(audience=audience, spiffe_id=spiffe_id)
        return self.channel.unary(API.FetchJWTSVID, request, metadata=metadata)

    async def fetch(self, *audience: str, spiffe_id: str = "") -> list[JWTSVID]:
        """The tokens that come, each proven, while time passes."""
        reply = await self.world.within(self.fetch_now(*audience, spiffe_id=spiffe_id))
        return [self.proven(each, audience) for each in reply.svids]

    async def one(self, *audience: str) -> str:
        """The only token that comes."""
        (svid,) = await self.fetch(*audience)
        return svid.token

    def proven(self, svid: pb.JWTSVID, audience: tuple[str, ...]) -> JWTSVID:
        bundles = BundleSet([self.world.server.bundle])
        proof = validate_jwt(svid.svid, bundles, audience, now=self.world.clock.now())
        assert proof.id.text == svid.spiffe_id
        assert set(proof.svid.audience) == set(audience)
        return JWTSVID.parse(svid.svid, hint=svid.hint)

    async def refusal(self, call: Coroutine[Any, Any, Any]) -> RpcError:
        """The status that a call ends with, while time passes."""
        try:
            reply = await self.world.within(call)
        except RpcError as error:
            return error
        raise AssertionError(reply)

    def validate(
        self, token: str, audience: str = "a", metadata: Any = HEADER
    ) -> Coroutine[Any, Any, pb.ValidateJWTSVIDResponse]:
        request = pb.ValidateJWTSVIDRequest(audience=audience, svid=token)
        return self.channel.unary(API.ValidateJWTSVID, request, metadata=metadata)


@asynccontextmanager
async def workload(world: World, running: Agent) -> AsyncIterator[Workload]:
    """A workload that is connected."""
    async with Channel(running.socket) as channel:
        yield Workload(world, channel)
