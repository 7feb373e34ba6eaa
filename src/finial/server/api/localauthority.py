"""The LocalAuthority service: an operator rotates the authority out of turn, and nobody is left behind.

An authority is used only when every agent that is there has the bundle with it, and is taken out of the
bundle only when nothing rests on it any more; an operator may insist on either all the same. Codes and texts
are those of SPIRE, whose programs show them to people.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from finial.core.errors import FinialError
from finial.core.x509cert import Certificate
from finial.rpc.method import Method
from finial.rpc.status import RpcError, StatusCode
from finial.runtime.clock import Clock
from finial.runtime.log import fields
from finial.server.api.chain import Caller, Endpoint, unary
from finial.server.api.replies import named
from finial.server.ca import orders
from finial.server.ca.issue import Authority
from finial.server.ca.orders import OrderError, order_activate, order_revoke, published
from finial.server.ca.rotate import Rotation
from finial.server.ca.slots import Slot
from finial.server.fleet import Fleet, Laggard, Rollout
from finial.server.index.index import Index
from finial.wire.gen import google_rpc
from finial.wire.gen import spire_api_server_localauthority_v1 as authority_pb
from finial.wire.status import DOMAIN, rpc_error

_log = logging.getLogger("finial.server")

WAIT: Final = timedelta(seconds=30)
"""For how long an activation waits for the agents, and a revocation for their workloads."""
_MARGIN: Final = timedelta(seconds=1)  # of the caller's patience, so that it hears why
_BREATH: Final = timedelta(milliseconds=20)  # a thousand acknowledgements are looked at several at a time
_REST: Final = 9  # how many times as long as a look at a very large fleet takes it is then left alone
_NAMED: Final = 5
_LONGEST_NAME: Final = 120

# What SPIRE calls an internal error, though it is none.
_INTERNAL: Final = frozenset({orders.NOT_PREPARED, orders.TAINTED, orders.UNTAINTED, orders.GONE})


@dataclass(frozen=True, slots=True)
class Ground:
    """What the service works on.

    Args:
        rotation: Takes the orders.
        authority: Knows what it has signed.
        index: Has the own bundle.
        fleet: Knows who has which bundle.
    """

    rotation: Rotation
    authority: Authority
    index: Index
    fleet: Fleet


class LocalAuthorityService:
    """Serves `spire.api.server.localauthority.v1.LocalAuthority`, its X.509 half.

    Args:
        ground: What it works on.
        clock: Measures waits; judges ends.
    """

    def __init__(self, ground: Ground, *, clock: Clock) -> None:
        self._ground = ground
        self._clock = clock

    def endpoints(self) -> tuple[Endpoint, ...]:
        """What is served."""
        service = authority_pb.LocalAuthority
        return (
            unary(service.GetX509AuthorityState, self.state),
            unary(service.PrepareX509Authority, self.prepare),
            unary(service.ActivateX509Authority, self.activate),
            unary(service.TaintX509Authority, self.taint),
            unary(service.RevokeX509Authority, self.revoke),
            _refusing(service.TaintX509UpstreamAuthority, *_NO_UPSTREAM),
            _refusing(service.RevokeX509UpstreamAuthority, *_NO_UPSTREAM),
            _refusing(service.GetJWTAuthorityState, *_NO_JWT),
            _refusing(service.PrepareJWTAuthority, *_NO_JWT),
            _refusing(service.ActivateJWTAuthority, *_NO_JWT),
            _refusing(service.TaintJWTAuthority, *_NO_JWT),
            _refusing(service.RevokeJWTAuthority, *_NO_JWT),
            _refusing(service.GetWITAuthorityState, *_NO_WIT),
            _refusing(service.PrepareWITAuthority, *_NO_WIT),
            _refusing(service.ActivateWITAuthority, *_NO_WIT),
            _refusing(service.TaintWITAuthority, *_NO_WIT),
            _refusing(service.RevokeWITAuthority, *_NO_WIT),
        )

    async def state(
        self, _request: authority_pb.GetX509AuthorityStateRequest, _caller: Caller
    ) -> authority_pb.GetX509AuthorityStateResponse:
        """What is in the slots."""
        slots = self._ground.rotation.slots
        if slots.active is None:
            raise _told(OrderError(orders.INITIALIZING, "server is initializing"))
        reply = authority_pb.GetX509AuthorityStateResponse(active=_state(slots.active))
        if slots.prepared is not None:
            reply.prepared.CopyFrom(_state(slots.prepared))
        if slots.old is not None:
            reply.old.CopyFrom(_state(slots.old))
        return reply

    async def prepare(
        self, _request: authority_pb.PrepareX509AuthorityRequest, caller: Caller
    ) -> authority_pb.PrepareX509AuthorityResponse:
        """Make and publish a successor."""
        with _spires():
            slot = await self._ground.rotation.prepare()
        _note("authority prepared by order", slot.authority_id, caller)
        return authority_pb.PrepareX509AuthorityResponse(prepared_authority=_state(slot))

    async def activate(
        self, request: authority_pb.ActivateX509AuthorityRequest, caller: Caller
    ) -> authority_pb.ActivateX509AuthorityResponse:
        """Sign by the successor from now on, once every agent that is there has been told of it."""
        rotation = self._ground.rotation
        with _spires():
            order_activate(rotation.slots, request.authority_id)
            if not caller.force:
                await self._told_everywhere(request.authority_id, caller.patience)
            slot = await rotation.activate(request.authority_id)
        _note("authority activated by order", slot.authority_id, caller)
        return authority_pb.ActivateX509AuthorityResponse(activated_authority=_state(slot))

    async def taint(
        self, request: authority_pb.TaintX509AuthorityRequest, caller: Caller
    ) -> authority_pb.TaintX509AuthorityResponse:
        """Have everything renewed that rests on an authority that signs no more."""
        with _spires():
            found = await self._ground.rotation.taint(request.authority_id)
        _note("authority tainted by order", request.authority_id, caller)
        state = authority_pb.AuthorityState(
            authority_id=request.authority_id, expires_at=int(found.not_after.timestamp())
        )
        return authority_pb.TaintX509AuthorityResponse(tainted_authority=state)

    async def revoke(
        self, request: authority_pb.RevokeX509AuthorityRequest, caller: Caller
    ) -> authority_pb.RevokeX509AuthorityResponse:
        """Trust a tainted authority no more, once nothing rests on it."""
        ground = self._ground
        with _spires():
            order_revoke(ground.rotation.slots, request.authority_id, ground.index.bundle)
            if not caller.force:
                await self._left_by_everybody(request.authority_id, caller.patience)
            await ground.rotation.revoke(request.authority_id)
        _note("authority revoked by order", request.authority_id, caller)
        # Without the end, as SPIRE answers.
        state = authority_pb.AuthorityState(authority_id=request.authority_id)
        return authority_pb.RevokeX509AuthorityResponse(revoked_authority=state)

    async def _told_everywhere(self, authority_id: str, patience: timedelta | None) -> None:
        """Return when all agents that are there have had the bundle with the authority for a while.

        Raises:
            OrderError: They do not in time.
        """
        deadline = self._deadline(patience)
        fleet = self._ground.fleet
        while True:
            version, began = fleet.version, self._clock.monotonic()
            rollout = fleet.rollout(authority_id)
            if rollout.ready:
                return
            now = self._clock.monotonic()
            left = timedelta(seconds=deadline - now)
            if left <= timedelta(0):
                raise OrderError(orders.LAGGING, lagging(rollout), subject=authority_id)
            pause = left if rollout.behind else min(left, rollout.settle - rollout.settled)
            await fleet.changed(version, pause)
            await self._clock.sleep(max(_BREATH, timedelta(seconds=_REST * (now - began))))

    async def _left_by_everybody(self, authority_id: str, patience: timedelta | None) -> None:
        """Return when nothing has rested on a tainted authority for a while.

        Raises:
            OrderError: Something rests on it, or there is not so much time.
        """
        ground, deadline = self._ground, self._deadline(patience)
        while certificates := published(ground.index.bundle, authority_id):
            if last_end(ground.authority, certificates) <= int(self._clock.now().timestamp()):
                return  # whatever it signed has ended
            rollout = ground.fleet.rollout(authority_id)
            left = rollout.leave - rollout.left
            if not rollout.resting_on and left <= timedelta(0):
                return
            if rollout.resting_on or left > timedelta(seconds=deadline - self._clock.monotonic()):
                raise OrderError(orders.RESTING, resting(rollout), subject=authority_id)
            await self._clock.sleep(left)

    def _deadline(self, patience: timedelta | None) -> float:
        """Until when a caller may be kept waiting, on the monotonic scale."""
        most = WAIT if patience is None else min(WAIT, patience - _MARGIN)
        return self._clock.monotonic() + most.total_seconds()


def last_end(authority: Authority, certificates: Sequence[Certificate]) -> int:
    """When the last SVID ends that may have been signed by an authority, in Unix seconds.

    Args:
        authority: Knows what it has signed.
        certificates: Of the authority, all that bear its ID; at least one.
    """
    return max(int(authority.last_end(each).timestamp()) for each in certificates)


def lagging(rollout: Rollout) -> str:
    """Why an authority is not used yet, with the first agents that are waited for."""
    if not rollout.behind:
        had, wanted = rollout.settled.total_seconds(), rollout.settle.total_seconds()
        why = f"the agents have had this authority for {had:.1f} s, and it is used after {wanted:g} s"
    else:
        count = f"{len(rollout.behind)} of {rollout.live} agents"
        have = "does not have" if len(rollout.behind) == 1 else "do not have"
        why = f"{count} {have} this authority yet: {_first(rollout.behind)}"
    return f"{why}; `finial server authority activate --force` does not wait for them"


def resting(rollout: Rollout) -> str:
    """Why an authority stays in the bundle, with the first agents that are waited for."""
    insist = "`finial server authority revoke --force` does not wait for them"
    if not rollout.resting_on:
        had, wanted = rollout.left.total_seconds(), rollout.leave.total_seconds()
        return f"workloads have had other SVIDs for {had:.1f} s, and may take {wanted:g} s; {insist}"
    agents = "1 agent" if len(rollout.resting_on) == 1 else f"{len(rollout.resting_on)} agents"
    why = f"{agents} may have SVIDs that rest on this authority"
    if rollout.resting:
        why = f"{why}, {rollout.resting} as far as is known"
    return f"{why}: {_first(rollout.resting_on)}; {insist}"


def _first(laggards: Sequence[Laggard]) -> str:
    found = [f"{each.agent_id[:_LONGEST_NAME]} ({each.why})" for each in laggards[:_NAMED]]
    more = len(laggards) - len(found)
    return ", ".join([*found, f"and {more} more"] if more else found)


def _state(slot: Slot) -> authority_pb.AuthorityState:
    end = int(slot.certificate.not_after.timestamp())
    return authority_pb.AuthorityState(authority_id=slot.authority_id, expires_at=end)


@contextmanager
def _spires() -> Iterator[None]:
    """Refuse orders in SPIRE's codes."""
    try:
        yield
    except OrderError as error:
        raise _told(error) from error


def _told(error: OrderError) -> FinialError:
    if error.reason not in _INTERNAL:
        return error
    info = google_rpc.ErrorInfo(reason=error.reason.id, domain=DOMAIN)
    return rpc_error(StatusCode.INTERNAL, error.message, info)


_NO_UPSTREAM: Final = (StatusCode.FAILED_PRECONDITION, "upstream authority is not configured")
_NO_JWT: Final = (StatusCode.UNIMPLEMENTED, "JWT-SVID functionality is not yet implemented")
_NO_WIT: Final = (StatusCode.UNIMPLEMENTED, "WIT-SVID functionality is not yet implemented")


def _refusing(method: Method[Any, Any], code: StatusCode, why: str) -> Endpoint:
    """A method that answers everybody who may call it in the same way."""

    async def refuse(_request: object, _caller: Caller) -> object:
        raise RpcError(code, why)

    return unary(method, refuse)


def _note(event: str, authority_id: str, caller: Caller) -> None:
    _log.info(event, extra=fields(authority_id=authority_id, by=named(caller), forced=caller.force))
