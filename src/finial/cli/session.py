"""Talking to a server or an agent over its socket, with failures in the operator's words."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from finial.core.errors import Finding, FinialError, Kind, Reason, RefusedError
from finial.core.reasons import CATALOGUE
from finial.rpc import Channel, Method, RpcError, StatusCode, Unix
from finial.runtime import collector
from finial.wire.status import reason_id

T = TypeVar("T")
Request = TypeVar("Request")
Reply = TypeVar("Reply")

PATIENCE = timedelta(seconds=30)
PAGE_SIZE = 500

_UNREACHABLE = {
    process: Reason(
        f"{process}-unreachable",
        Kind.UNAVAILABLE,
        hint=f"Start it with `finial {process} run`, or name its socket with --socket.",
    )
    for process in ("server", "agent")
}
_SHORT = Reason("batch-answer", Kind.INTERNAL, hint="Look at what is there before trying again.")
_UNOPENED = {
    os.strerror(errno.EACCES): Reason(
        "socket-forbidden", Kind.DENIED, hint="Run the command as a user who may open the socket."
    ),
    "AF_UNIX path too long": Reason(
        "socket-path-long", Kind.INVALID, hint="Name it by a shorter path, for instance a relative one."
    ),
}


class UnreachableError(FinialError):
    """Nobody answers at a socket."""


class CallError(FinialError):
    """A server or an agent has refused a call."""


class BatchError(RefusedError):
    """Some items of a batch were refused; each is a finding."""


@dataclass(frozen=True, slots=True)
class Session:
    """An open channel to a process on this machine.

    Args:
        process: `server` or `agent`.
        channel: To its socket.
    """

    process: str
    channel: Channel

    async def call(self, method: Method[Request, Reply], request: Request) -> Reply:
        """Send a request and return the reply.

        Raises:
            UnreachableError: Nobody answers.
            CallError: The call was refused.
        """
        try:
            return await self.channel.unary(method, request, timeout=PATIENCE)
        except RpcError as error:
            raise worded(error, self.process, self.channel.target) from error


def worded(error: RpcError, process: str, target: object) -> FinialError:
    """A failed call in the operator's words.

    Args:
        error: As it came.
        process: Who was called, `server` or `agent`.
        target: Where.
    """
    if error.code is StatusCode.UNAVAILABLE and error.unprocessed:
        why = error.message.rpartition(": ")[2]
        reason = _UNOPENED.get(why, _UNREACHABLE[process])
        return UnreachableError(reason, f"cannot reach the {process} at {target}: {why}")
    if error.code is StatusCode.DEADLINE_EXCEEDED:
        return UnreachableError(error.reason, f"the {process} at {target} did not answer in time")
    known = CATALOGUE.get(reason_id(error), error.reason)
    return CallError(known, error.message or error.code.name)


def refused(error: RpcError, where: str) -> Finding:
    """An item of a batch that was refused.

    Args:
        error: Why.
        where: Which one it is.
    """
    return Finding(error.reason, error.message, where)


def answered(count: int, asked: int) -> None:
    """Return when a server has answered as many items of a batch as it was asked for.

    Raises:
        CallError: It has not, and nobody knows what became of the rest.
    """
    if count != asked:
        raise CallError(_SHORT, f"the server answered {count} of {asked} items")


def talk(process: str, socket: Path, work: Callable[[Session], Awaitable[T]]) -> T:
    """Open a channel to a process, do some work over it, and close it.

    Args:
        process: `server` or `agent`.
        socket: Where it listens.
        work: Makes its calls over the session that it is given.

    Raises:
        FinialError: Whatever `work` raises.
    """

    async def run() -> T:
        async with Channel(Unix(str(socket))) as channel:
            return await work(Session(process, channel))

    collector.usually()
    return asyncio.run(run())


def ask(socket: Path, method: Method[Request, Reply], request: Request) -> Reply:
    """Make one call to a server.

    Raises:
        FinialError: Nobody answers, or the call was refused.
    """
    return talk("server", socket, lambda session: session.call(method, request))
