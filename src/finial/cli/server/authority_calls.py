"""The calls that commands about authorities make, with refusals in the operator's words."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, TypeVar

from finial.cli.server.authority_methods import (
    METHODS,
    Activated,
    Methods,
    Prepared,
    Revoked,
    State,
    Tainted,
)
from finial.cli.server.authority_view import View
from finial.cli.session import CallError, Session, worded
from finial.core.errors import FinialError, Kind, Reason
from finial.core.reasons import collect
from finial.rpc import Method, RpcError, StatusCode
from finial.server.ca import orders
from finial.server.ca.kinds import AnyAuthority, KindName, authority_id_of
from finial.wire.bundles import read_bundle
from finial.wire.force import FORCE
from finial.wire.gen import finial_api_server_fleet_v1 as fleet_pb
from finial.wire.gen import spire_api_server_bundle_v1 as bundle_pb
from finial.wire.status import reason_id

Request = TypeVar("Request")
Reply = TypeVar("Reply")

PATIENCE: Final = timedelta(seconds=40)
"""An activation waits for half a minute; the rest is for the refusal to come back."""

_REASONS: Final = collect((orders,))
_ABSENT: Final = Reason(
    "authority-kind-absent",
    Kind.MISSING,
    hint="See disable_jwt_svids and incubating.wit_svid among the settings of the server.",
)


async def order(
    session: Session, method: Method[Request, Reply], request: Request, *, force: bool = False
) -> Reply:
    """Send an order and return the reply.

    Args:
        session: To the server.
        method: What to order.
        request: Of whom.
        force: Have it done although the server advises against it.

    Raises:
        FinialError: Nobody answers, or the order was refused; then with the next step.
    """
    metadata = [FORCE] if force else []
    try:
        return await session.channel.unary(method, request, timeout=PATIENCE, metadata=metadata)
    except RpcError as error:
        raise _worded(error, session) from error


def _worded(error: RpcError, session: Session) -> FinialError:
    known = _REASONS.get(reason_id(error))
    if known is not None:
        return CallError(known, error.message)
    if error.code is StatusCode.UNIMPLEMENTED:
        return CallError(_ABSENT, error.message)
    return worded(error, session.process, session.channel.target)


async def prepare(session: Session, kind: KindName) -> Prepared:
    """Have a successor made and published."""
    method, request = METHODS[kind].prepare
    reply: Prepared = await order(session, method, request())
    return reply


async def activate(session: Session, kind: KindName, authority_id: str, *, force: bool) -> Activated:
    """Have the successor signed by."""
    method, request = METHODS[kind].activate
    reply: Activated = await order(session, method, request(authority_id=authority_id), force=force)
    return reply


async def taint(session: Session, kind: KindName, authority_id: str) -> Tainted:
    """Have everything renewed that rests on an old authority."""
    method, request = METHODS[kind].taint
    reply: Tainted = await order(session, method, request(authority_id=authority_id))
    return reply


async def revoke(session: Session, kind: KindName, authority_id: str, *, force: bool) -> Revoked:
    """Have a tainted authority trusted no more."""
    method, request = METHODS[kind].revoke
    reply: Revoked = await order(session, method, request(authority_id=authority_id), force=force)
    return reply


async def look(session: Session, kind: KindName) -> View:
    """The authorities of a kind as they are.

    Raises:
        FinialError: Nobody answers, or a call was refused, for instance as there are none of the kind.
    """
    return await _view(session, METHODS[kind], await _state(session, METHODS[kind]))


async def look_at_all(session: Session) -> list[View]:
    """The authorities of each kind that the server has.

    Raises:
        FinialError: Nobody answers, or a call was refused.
    """
    found = []
    for methods in METHODS.values():
        try:
            state = await _state(session, methods)
        except CallError as error:
            if error.reason is not _ABSENT:
                raise
        else:
            found.append(await _view(session, methods, state))
    return found


async def _state(session: Session, methods: Methods) -> State:
    method, request = methods.state
    state: State = await order(session, method, request())
    return state


async def _view(session: Session, methods: Methods, state: State) -> View:
    bundle = read_bundle(await session.call(bundle_pb.Bundle.GetBundle, bundle_pb.GetBundleRequest()))
    authorities: tuple[AnyAuthority, ...] = tuple(methods.kind.published(bundle))
    found = {each: await rollout(session, each) for each in map(authority_id_of, authorities)}
    return View(
        kind=methods.kind.name,
        state=state,
        authorities=authorities,
        tainted=frozenset(map(authority_id_of, methods.kind.tainted(bundle))),
        life=max((each.not_after - each.not_before for each in bundle.x509_authorities), default=None),
        rollouts={key: value for key, value in found.items() if value is not None},
    )


async def rollout(session: Session, authority_id: str) -> fleet_pb.GetRolloutResponse | None:
    """How far an authority has come; None when the server, which may be SPIRE's, does not tell.

    Raises:
        FinialError: Nobody answers, or the call was refused.
    """
    request = fleet_pb.GetRolloutRequest(authority_id=authority_id)
    try:
        return await session.channel.unary(fleet_pb.Fleet.GetRollout, request, timeout=PATIENCE)
    except RpcError as error:
        if error.code in {StatusCode.UNIMPLEMENTED, StatusCode.NOT_FOUND}:
            return None
        raise _worded(error, session) from error
