"""The LocalAuthority service: an operator rotates an authority out of turn, and nobody is left behind.

The methods of the three kinds differ in nothing but the names of their messages. Codes and texts are those of
SPIRE, whose programs show them to people.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from finial.core.token_authority import TokenAuthority
from finial.core.x509cert import Certificate
from finial.rpc.method import Method
from finial.rpc.status import RpcError, StatusCode
from finial.server.api.authority_desk import AnyDesk, Desks
from finial.server.api.chain import Caller, Endpoint, unary
from finial.server.api.replies import unix
from finial.server.ca.kinds import end_of
from finial.server.ca.slots import Slot
from finial.wire.gen import spire_api_server_localauthority_v1 as authority_pb

_SERVICE: Final = authority_pb.LocalAuthority
_NO_UPSTREAM: Final = (StatusCode.FAILED_PRECONDITION, "upstream authority is not configured")
_NO_JWT: Final = (StatusCode.UNIMPLEMENTED, "JWT functionality is disabled")
_NO_WIT: Final = (StatusCode.UNIMPLEMENTED, "WIT-SVID functionality is not yet implemented")


class _Naming(Protocol):
    """A request that names an authority."""

    @property
    def authority_id(self) -> str:
        """Which one."""


@dataclass(frozen=True, slots=True)
class _Calls:
    """The methods and the replies of one kind.

    Args:
        methods: Get, Prepare, Activate, Taint, Revoke.
        state: Makes the reply to the first.
        prepared: To the second; and so on.
        tells_end: Whether the reply to a taint says when the authority ends.
    """

    methods: tuple[Method[Any, Any], ...]
    state: Callable[..., object]
    prepared: Callable[..., object]
    activated: Callable[..., object]
    tainted: Callable[..., object]
    revoked: Callable[..., object]
    tells_end: bool = False


_X509: Final = _Calls(
    (
        _SERVICE.GetX509AuthorityState,
        _SERVICE.PrepareX509Authority,
        _SERVICE.ActivateX509Authority,
        _SERVICE.TaintX509Authority,
        _SERVICE.RevokeX509Authority,
    ),
    authority_pb.GetX509AuthorityStateResponse,
    authority_pb.PrepareX509AuthorityResponse,
    authority_pb.ActivateX509AuthorityResponse,
    authority_pb.TaintX509AuthorityResponse,
    authority_pb.RevokeX509AuthorityResponse,
    tells_end=True,
)
_JWT: Final = _Calls(
    (
        _SERVICE.GetJWTAuthorityState,
        _SERVICE.PrepareJWTAuthority,
        _SERVICE.ActivateJWTAuthority,
        _SERVICE.TaintJWTAuthority,
        _SERVICE.RevokeJWTAuthority,
    ),
    authority_pb.GetJWTAuthorityStateResponse,
    authority_pb.PrepareJWTAuthorityResponse,
    authority_pb.ActivateJWTAuthorityResponse,
    authority_pb.TaintJWTAuthorityResponse,
    authority_pb.RevokeJWTAuthorityResponse,
)
_WIT: Final = _Calls(
    (
        _SERVICE.GetWITAuthorityState,
        _SERVICE.PrepareWITAuthority,
        _SERVICE.ActivateWITAuthority,
        _SERVICE.TaintWITAuthority,
        _SERVICE.RevokeWITAuthority,
    ),
    authority_pb.GetWITAuthorityStateResponse,
    authority_pb.PrepareWITAuthorityResponse,
    authority_pb.ActivateWITAuthorityResponse,
    authority_pb.TaintWITAuthorityResponse,
    authority_pb.RevokeWITAuthorityResponse,
)


class LocalAuthorityService:
    """Serves `spire.api.server.localauthority.v1.LocalAuthority`.

    Args:
        desks: Take the orders.
    """

    def __init__(self, desks: Desks) -> None:
        self._desks = desks

    def endpoints(self) -> tuple[Endpoint, ...]:
        """What is served."""
        desks = self._desks
        return (
            *_serving(_X509, desks.x509),
            *(_without(_JWT, _NO_JWT) if desks.jwt is None else _serving(_JWT, desks.jwt)),
            *(_without(_WIT, _NO_WIT) if desks.wit is None else _serving(_WIT, desks.wit)),
            _refusing(_SERVICE.TaintX509UpstreamAuthority, _NO_UPSTREAM),
            _refusing(_SERVICE.RevokeX509UpstreamAuthority, _NO_UPSTREAM),
        )


def _without(calls: _Calls, answer: tuple[StatusCode, str]) -> Iterator[Endpoint]:
    """The methods of a kind of which no SVIDs are signed."""
    yield from (_refusing(method, answer) for method in calls.methods)


def _serving(calls: _Calls, desk: AnyDesk) -> Iterator[Endpoint]:
    """The methods of a kind whose orders a desk takes."""
    yield from (
        unary(method, handler) for method, handler in zip(calls.methods, _handlers(calls, desk), strict=True)
    )


def _handlers(calls: _Calls, desk: AnyDesk) -> Iterator[Callable[[Any, Caller], Awaitable[object]]]:
    async def state(_request: object, _caller: Caller) -> object:
        slots = desk.slots()
        return calls.state(
            active=_state(slots.active), prepared=_state(slots.prepared), old=_state(slots.old)
        )

    async def prepare(_request: object, caller: Caller) -> object:
        return calls.prepared(prepared_authority=_state(await desk.prepare(caller)))

    async def activate(request: _Naming, caller: Caller) -> object:
        slot = await desk.activate(request.authority_id, caller)
        return calls.activated(activated_authority=_state(slot))

    async def taint(request: _Naming, caller: Caller) -> object:
        found = await desk.taint(request.authority_id, caller)
        end = end_of(found) if calls.tells_end else None
        return calls.tainted(tainted_authority=_named(request.authority_id, end))

    async def revoke(request: _Naming, caller: Caller) -> object:
        await desk.revoke(request.authority_id, caller)
        return calls.revoked(revoked_authority=_named(request.authority_id))

    yield from (state, prepare, activate, taint, revoke)


def _state(slot: Slot[Certificate] | Slot[TokenAuthority] | None) -> authority_pb.AuthorityState | None:
    return None if slot is None else _named(slot.authority_id, slot.end)


def _named(authority_id: str, end: datetime | None = None) -> authority_pb.AuthorityState:
    return authority_pb.AuthorityState(authority_id=authority_id, expires_at=unix(end))


def _refusing(method: Method[Any, Any], answer: tuple[StatusCode, str]) -> Endpoint:
    """A method that answers everybody who may call it in the same way."""

    async def refuse(_request: object, _caller: Caller) -> object:
        raise RpcError(*answer)

    return unary(method, refuse)
