"""Asking a process whether it serves."""

from __future__ import annotations

from pathlib import Path

from finial.cli.session import Session, talk
from finial.cli.show import say
from finial.core.errors import FinialError, Kind, Reason
from finial.wire.gen import grpc_health_v1 as pb

_NOT_SERVING = Reason("not-serving", Kind.UNAVAILABLE, hint="Look into its log.")


class NotServingError(FinialError):
    """The process answers, and says that it does not serve."""


def check(process: str, socket: Path) -> None:
    """Say that a process serves.

    Args:
        process: `server` or `agent`.
        socket: Where it listens.

    Raises:
        NotServingError: It does not.
        FinialError: It cannot be asked.
    """

    async def work(session: Session) -> pb.HealthCheckResponse:
        return await session.call(pb.Health.Check, pb.HealthCheckRequest())

    reply = talk(process, socket, work)
    if reply.status != pb.HealthCheckResponse.SERVING:
        raise NotServingError(_NOT_SERVING, f"the {process} at {socket} runs, and does not serve")
    say(f"The {process} serves")
