"""The calls that commands about authorities make, with refusals in the operator's words."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, TypeVar

from finial.cli.server.authority_view import View
from finial.cli.session import CallError, Session, worded
from finial.core.errors import FinialError
from finial.core.reasons import collect
from finial.rpc import Method, RpcError, StatusCode
from finial.server.ca import orders
from finial.server.ca.orders import authority_id_of
from finial.wire.bundles import read_bundle
from finial.wire.force import FORCE
from finial.wire.gen import finial_api_server_fleet_v1 as fleet_pb
from finial.wire.gen import spire_api_server_bundle_v1 as bundle_pb
from finial.wire.gen import spire_api_server_localauthority_v1 as authority_pb
from finial.wire.status import reason_id

Request = TypeVar("Request")
Reply = TypeVar("Reply")

PATIENCE: Final = timedelta(seconds=40)
"""An activation waits for half a minute; the rest is for the refusal to come back."""

_REASONS: Final = collect((orders,))
_LOCAL_AUTHORITY: Final = authority_pb.LocalAuthority


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
    return worded(error, session.process, session.channel.target)


async def prepare(session: Session) -> authority_pb.PrepareX509AuthorityResponse:
    """Have a successor made and published."""
    request = authority_pb.PrepareX509AuthorityRequest()
    return await order(session, _LOCAL_AUTHORITY.PrepareX509Authority, request)


async def activate(
    session: Session, authority_id: str, *, force: bool
) -> authority_pb.ActivateX509AuthorityResponse:
    """Have the successor signed by."""
    request = authority_pb.ActivateX509AuthorityRequest(authority_id=authority_id)
    return await order(session, _LOCAL_AUTHORITY.ActivateX509Authority, request, force=force)


async def taint(session: Session, authority_id: str) -> authority_pb.TaintX509AuthorityResponse:
    """Have everything renewed that rests on an old authority."""
    request = authority_pb.TaintX509AuthorityRequest(authority_id=authority_id)
    return await order(session, _LOCAL_AUTHORITY.TaintX509Authority, request)


async def revoke(
    session: Session, authority_id: str, *, force: bool
) -> authority_pb.RevokeX509AuthorityResponse:
    """Have a tainted authority trusted no more."""
    request = authority_pb.RevokeX509AuthorityRequest(authority_id=authority_id)
    return await order(session, _LOCAL_AUTHORITY.RevokeX509Authority, request, force=force)


async def look(session: Session) -> View:
    """The authorities as they are.

    Raises:
        FinialError: Nobody answers, or a call was refused.
    """
    state = await order(
        session, _LOCAL_AUTHORITY.GetX509AuthorityState, authority_pb.GetX509AuthorityStateRequest()
    )
    message = await session.call(bundle_pb.Bundle.GetBundle, bundle_pb.GetBundleRequest())
    bundle = read_bundle(message)
    found = {each: await rollout(session, each) for each in map(authority_id_of, bundle.x509_authorities)}
    return View(
        state=state,
        authorities=bundle.x509_authorities,
        tainted=frozenset(map(authority_id_of, bundle.tainted)),
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
