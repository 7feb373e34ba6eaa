"""What `finial server jwt mint` and `finial server wit mint` have in common."""

from __future__ import annotations

from datetime import timedelta
from typing import TypeVar

from finial.cli.session import PATIENCE, CallError, Session, worded
from finial.cli.show import instant, note
from finial.core.errors import Reason
from finial.rpc import Method, RpcError, StatusCode
from finial.runtime.config import write_duration
from finial.wire.gen import spire_api_types as types

Request = TypeVar("Request")
Reply = TypeVar("Reply")


async def mint_by(
    session: Session, method: Method[Request, Reply], request: Request, *, disabled: Reason
) -> Reply:
    """The reply to a request for a token.

    Args:
        session: With the server.
        method: Which kind of token.
        request: Which token.
        disabled: What is said of a server that does not sign this kind.

    Raises:
        FinialError: Nobody answers, or the call was refused.
    """
    try:
        return await session.channel.unary(method, request, timeout=PATIENCE)
    except RpcError as error:
        if error.code is StatusCode.UNIMPLEMENTED:
            raise CallError(disabled, error.message) from error
        raise worded(error, session.process, session.channel.target) from error


def note_if_shorter(svid: types.JWTSVID | types.WITSVID, asked: int) -> None:
    """Tell of a token that ends earlier than was asked for.

    Args:
        svid: As the server answered.
        asked: Seconds; 0 when it was left to the server.
    """
    life = svid.expires_at - svid.issued_at
    if life < asked:
        lives, wish = (write_duration(timedelta(seconds=each)) for each in (max(life, 0), asked))
        note(f"the server lets it live for {lives} only, not for {wish}: {ends(svid)}")


def ends(svid: types.JWTSVID | types.WITSVID) -> str:
    """When a token ends, for people."""
    return f"it ends at {instant(svid.expires_at)}"
