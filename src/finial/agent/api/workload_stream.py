"""How callers of the Workload API are received: the header, who it is, and the answers, one or many.

What ends a call, whatever it asks for:

    INVALID_ARGUMENT    the security header is not there, exactly once, with the value `true` (EP-09, EP-25);
                        or what is asked for makes no sense (WAPI-18)
    PERMISSION_DENIED   no entry is for the caller, at first or any more (EP-29, WAPI-33)
    UNAVAILABLE         the agent has not yet synchronised; or the caller could not be attested; or entries
                        are for the caller, but nothing valid can be had for them, since the server is away:
                        the identity has not been taken from it, and may come back (EP-27)

On a stream the first message goes out at once, each further one when its content differs from the one before;
each is complete (WAPI-10). Before each the caller is attested again (WAPI-72).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final, NewType, TypeVar, cast

from finial.agent.attest import WorkloadAttestation
from finial.agent.audiences import Content, Watcher
from finial.agent.cache import Cache
from finial.agent.change import Profile
from finial.core.errors import FinialError
from finial.core.selectors import Selector
from finial.rpc import Method, RpcError, ServerCall, StatusCode
from finial.runtime.clock import Clock
from finial.runtime.log import fields

_log = logging.getLogger("finial.agent")

HEADER: Final = "workload.spiffe.io"
NO_IDENTITY: Final = "no identity issued"
"""SPIRE's words, on which clients rely."""
MOST_STREAM_BYTES: Final = 4 << 10
"""Of a request for a stream, which holds nothing, or one SPIFFE ID."""

# How long the first message waits for an SVID that is being signed.
_PATIENCE = timedelta(seconds=5)
# Changes go out at once. Further ones wait for so long, and as long again for each so many bytes that were
# sent; what comes meanwhile is sent together.
_BETWEEN_PUSHES = timedelta(milliseconds=10)
_LARGE = 64 * 1024

Call = ServerCall[Any, Any]
Admitted = NewType("Admitted", Call)
"""A call that has been let in."""
Look = Callable[[Watcher, frozenset[Selector]], Content]
"""What a caller with some selectors gets, and what its watcher is told of from now on."""

_Request = TypeVar("_Request")


class Reception:
    """Receives callers, of whatever kind of SVID.

    Args:
        cache: What there is.
        attestation: Who calls.
        clock: Time.
    """

    def __init__(self, cache: Cache, attestation: WorkloadAttestation, *, clock: Clock) -> None:
        self._cache = cache
        self._attestation = attestation
        self._clock = clock

    def admit(self, call: Call) -> Admitted:
        """Let a call in, before anything in it is looked at.

        Args:
            call: It.

        Raises:
            RpcError: It lacks the header, or the agent does not know its entries yet.
        """
        values = [value for key, value in call.metadata if key == HEADER]
        if values != ["true"]:
            raise RpcError(StatusCode.INVALID_ARGUMENT, "security header missing from request")
        if not self._cache.synced.is_set():
            raise RpcError(
                StatusCode.UNAVAILABLE, "the agent is starting: it has not yet heard from its server"
            )
        return Admitted(call)

    async def attested(self, call: Admitted) -> frozenset[Selector]:
        """What can be observed of the caller at this moment, for a call that has one answer.

        Args:
            call: Its.

        Raises:
            RpcError: The caller cannot be attested.
        """
        with self._refusing(call), self._attestation.caller(call.peer.process) as caller:
            return await self._attestation.selectors(caller)

    async def stream(self, call: Call, profile: Profile, look: Look) -> None:
        """Send the caller what it gets, now and at each change, as long as it listens.

        Args:
            call: Its.
            profile: What it is about.
            look: What it gets.

        Raises:
            RpcError: What the stream ends with.
        """
        self.admit(call)
        with (
            self._refusing(call),
            self._attestation.caller(call.peer.process) as caller,
            self._cache.watch(profile) as watcher,
        ):
            sent: bytes | None = None
            patience = rest = self._clock.monotonic() + _PATIENCE.total_seconds()
            while True:
                watcher.told = False
                content = look(watcher, await self._attestation.selectors(caller))
                left = patience - self._clock.monotonic()
                if sent is None and content.entitled and not content.complete and left > 0:
                    await self._news(watcher, timedelta(seconds=left))
                    continue
                message = _message(content)
                if message != sent:
                    sent = message
                    await call.send_encoded(message)
                    self._cache.sent(content)
                    pause = _BETWEEN_PUSHES * (1 + len(message) / _LARGE)
                    rest = self._clock.monotonic() + pause.total_seconds()
                await watcher.news()
                if not self._cache.wiped and (left := rest - self._clock.monotonic()) > 0:
                    await self._clock.sleep(timedelta(seconds=left))

    @contextmanager
    def _refusing(self, call: Call) -> Iterator[None]:
        """Tell a caller that cannot be attested nothing but that."""
        try:
            yield
        except RpcError:
            raise
        except FinialError as error:
            _log.warning("workload attestation failed", extra=fields(peer=call.peer.address, error=error))
            call.connection.drain()  # the next try has to come from the process as it is then
            raise RpcError(StatusCode.UNAVAILABLE, "workload attestation failed") from error

    async def _news(self, watcher: Watcher, most: timedelta) -> None:
        """Wait until a watcher is told of something, but not longer than `most`."""
        nap = asyncio.ensure_future(self._clock.sleep(most))
        try:
            await asyncio.wait({nap, watcher.news()}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            nap.cancel()
            await asyncio.gather(nap, return_exceptions=True)


def encoded(method: Method[_Request, Any]) -> Method[_Request, bytes]:
    """A method whose reply the handler gives encoded."""
    return cast("Method[_Request, bytes]", replace(method, encode_reply=bytes))


def no_identity() -> RpcError:
    """The error for a caller that no entry is for, or not the one that it wants."""
    return RpcError(StatusCode.PERMISSION_DENIED, NO_IDENTITY)


def _message(content: Content) -> bytes:
    if not content.entitled:
        raise no_identity()
    if content.message is None:
        text = "no valid SVID: the agent cannot have one signed, its server is away or refuses"
        raise RpcError(StatusCode.UNAVAILABLE, text)
    return content.message
