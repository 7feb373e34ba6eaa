"""The half of the fake server that signs JWT-SVIDs: its fields are its state, which tests bend."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from finial.core.keys import PrivateKey
from finial.core.token_authority import TokenAuthority
from finial.rpc import RpcError, ServerCall, StatusCode
from finial.wire.gen import spire_api_server_svid_v1 as svid_pb
from finial.wire.gen import spire_api_types as types
from support import tokens

if TYPE_CHECKING:
    from support.fake_server import FakeServer


@dataclass
class FakeTokens:
    """What signs, what is published, and what was asked for."""

    server: FakeServer
    ttl: timedelta = timedelta(minutes=5)
    claims: Mapping[str, object] = field(default_factory=dict)  # in place of the right ones
    raw: str | None = None  # in place of a token
    refused: set[str] = field(default_factory=set)  # audiences
    asked: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    gate: asyncio.Event = field(
        default_factory=asyncio.Event
    )  # calls wait, once admitted, while it is not set
    published: list[TokenAuthority] = field(default_factory=list)
    _keys: dict[str, PrivateKey] = field(default_factory=dict)
    _made: int = 0

    def __post_init__(self) -> None:
        self.gate.set()
        self.active = self.prepare()

    def prepare(self, *, published: bool = True) -> TokenAuthority:
        """Another key, published unless told otherwise."""
        authority, key = tokens.authority(f"k{len(self._keys) + 1}")
        self._keys[authority.key_id] = key
        if published:
            self.publish(authority)
        return authority

    def publish(self, authority: TokenAuthority) -> None:
        self.published.append(authority)
        self.server.sequence += 1

    def taint(self, authority: TokenAuthority) -> None:
        self.published = [
            replace(each, tainted=True) if each.key_id == authority.key_id else each
            for each in self.published
        ]
        self.server.sequence += 1

    def revoke(self, authority: TokenAuthority) -> None:
        self.published = [each for each in self.published if each.key_id != authority.key_id]
        self.server.sequence += 1

    def sign(self, spiffe_id: str, audience: tuple[str, ...], **claims: object) -> str:
        """A token of the active key."""
        now = int(self.server.clock.now().timestamp())
        right = {"sub": spiffe_id, "aud": list(audience), "exp": now + int(self.ttl.total_seconds())}
        body = {**right, "iat": now, **claims}
        header = {"alg": "ES256", "kid": self.active.key_id, "typ": "JWT"}
        return tokens.signed(header, tokens.without(body), self._keys[self.active.key_id])

    async def new_jwt(
        self, request: svid_pb.NewJWTSVIDRequest, call: ServerCall[Any, Any]
    ) -> svid_pb.NewJWTSVIDResponse:
        self.asked.append((request.entry_id, tuple(request.audience)))
        await self.server._admit(call)
        entry = self.server.entries.get(request.entry_id)
        if entry is None or entry.id in self.server.unsigned:
            raise RpcError(StatusCode.NOT_FOUND, "entry not found or not authorized")
        await self.gate.wait()
        if self.refused.intersection(request.audience):
            raise RpcError(StatusCode.INVALID_ARGUMENT, "such an audience is refused")
        self._made += 1
        unique = {"jti": f"j{self._made}"} if entry.additional_attributes.jwt_svid_include_jti else {}
        spiffe_id = f"spiffe://{entry.spiffe_id.trust_domain}{entry.spiffe_id.path}"
        token = self.sign(spiffe_id, tuple(request.audience), **unique, **self.claims)
        # What is said beside the token is not what counts.
        return svid_pb.NewJWTSVIDResponse(svid=types.JWTSVID(token=token if self.raw is None else self.raw))
