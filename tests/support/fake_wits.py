"""The half of the fake server that signs WIT-SVIDs: its fields are its state, which tests bend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from finial.core.algorithms import Algorithm
from finial.core.ids import SpiffeID
from finial.core.keys import PrivateKey, read_public_key
from finial.core.token_authority import TokenAuthority
from finial.core.token_issuer import TokenIssuer
from finial.core.witsvid import WITRequest, issue_wit
from finial.rpc import RpcError, ServerCall, StatusCode
from finial.wire.gen import spire_api_server_svid_v1 as svid_pb
from finial.wire.gen import spire_api_types as types
from finial.wire.statuses import ok, status
from support import tokens

if TYPE_CHECKING:
    from support.fake_server import FakeServer

Bend = Callable[[WITRequest], WITRequest]


@dataclass
class FakeWITs:
    """What signs, what is published, and what was asked for."""

    server: FakeServer
    on: bool = False
    ttl: timedelta = timedelta(hours=1)
    bend: Bend | None = None  # what is signed in place of what was asked for
    fewer: bool = False  # results than were asked for
    asked: list[str] = field(default_factory=list)
    published: list[TokenAuthority] = field(default_factory=list)
    _keys: dict[str, PrivateKey] = field(default_factory=dict)

    def opt_in(self) -> None:
        """Serve them from now on."""
        self.on = True
        self.active = self.prepare()

    def prepare(self, *, published: bool = True) -> TokenAuthority:
        """Another key, published unless told otherwise."""
        authority, key = tokens.authority(f"w{len(self._keys) + 1}")
        self._keys[authority.key_id] = key
        if published:
            self.publish(authority)
        return authority

    def publish(self, authority: TokenAuthority) -> None:
        self.published.append(authority)
        self.server.sequence += 1

    def taint(self, authority: TokenAuthority) -> None:
        self.published = [replace(each, tainted=each.tainted or each == authority) for each in self.published]
        self.server.sequence += 1

    def revoke(self, authority: TokenAuthority) -> None:
        self.published = [each for each in self.published if each.key_id != authority.key_id]
        self.server.sequence += 1

    async def batch_new(
        self, request: svid_pb.BatchNewWITSVIDRequest, call: ServerCall[Any, Any]
    ) -> svid_pb.BatchNewWITSVIDResponse:
        await self.server._admit(call)
        if not self.on:
            raise RpcError(StatusCode.UNIMPLEMENTED, "WIT-SVID functionality is not yet implemented")
        results = [self._result(params) for params in request.params]
        return svid_pb.BatchNewWITSVIDResponse(results=results[1:] if self.fewer else results)

    def _result(self, params: svid_pb.NewWITSVIDParams) -> svid_pb.BatchNewWITSVIDResponse.Result:
        self.asked.append(params.entry_id)
        entry = self.server.entries.get(params.entry_id)
        if entry is None or entry.id in self.server.unsigned:
            refusal = status(StatusCode.NOT_FOUND, "entry not found or not authorized")
            return svid_pb.BatchNewWITSVIDResponse.Result(status=refusal)
        asked = WITRequest(
            spiffe_id=SpiffeID(f"spiffe://{entry.spiffe_id.trust_domain}{entry.spiffe_id.path}"),
            public_key=read_public_key(params.public_key),
            algorithm=Algorithm(params.signing_algorithm),
        )
        svid = issue_wit(
            self.bend(asked) if self.bend else asked,
            TokenIssuer(self.server.domain, self.active),
            key=self._keys[self.active.key_id],
            now=self.server.clock.now(),
            ttl=self.ttl,
        )
        return svid_pb.BatchNewWITSVIDResponse.Result(status=ok(), svid=types.WITSVID(token=svid.token))
