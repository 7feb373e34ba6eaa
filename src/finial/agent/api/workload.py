"""The Workload API, as far as X.509 goes: FetchX509SVID and FetchX509Bundles.

Both are streams. The first message goes out at once, each further one when its content differs from the one
before; each is complete (WAPI-10). Before each the caller is attested again (WAPI-72). What ends a stream:

    INVALID_ARGUMENT    the security header is not there, exactly once, with the value `true` (EP-09, EP-25)
    PERMISSION_DENIED   no entry is for the caller, at first or any more (EP-29, WAPI-33)
    UNAVAILABLE         the agent has not yet synchronised; or the caller could not be attested; or entries
                        are for the caller, but no SVID of them is valid, since the server is away: the
                        identity has not been taken from it, and may come back (EP-27)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from finial.agent.attest import WorkloadAttestation
from finial.agent.audiences import Content, Watcher
from finial.agent.cache import Cache
from finial.core.errors import FinialError
from finial.core.selectors import Selector
from finial.rpc import Route, RpcError, ServerCall, StatusCode, server_stream
from finial.runtime.clock import Clock
from finial.runtime.log import fields
from finial.wire.gen import workload

_log = logging.getLogger("finial.agent")

HEADER = "workload.spiffe.io"
NO_IDENTITY = "no identity issued"
"""SPIRE's words, on which clients rely."""

# How long the first message waits for an SVID that is being signed.
_PATIENCE = timedelta(seconds=5)
# Changes go out at once. Further ones wait for so long, and as long again for each so many bytes that were
# sent; what comes meanwhile is sent together.
_BETWEEN_PUSHES = timedelta(milliseconds=10)
_LARGE = 64 * 1024

_Call = ServerCall[Any, Any]
_Look = Callable[[Watcher, frozenset[Selector]], Content]


class WorkloadAPI:
    """Serves callers what the cache has for them.

    Args:
        cache: What there is.
        attestation: Who calls.
        clock: Time.
    """

    def __init__(self, cache: Cache, attestation: WorkloadAttestation, *, clock: Clock) -> None:
        self._cache = cache
        self._attestation = attestation
        self._clock = clock

    def routes(self) -> tuple[Route, ...]:
        """The methods that are served; the others answer UNIMPLEMENTED (EP-36)."""
        api = workload.SpiffeWorkloadAPI
        return (
            server_stream(api.FetchX509SVID, self.fetch_x509_svid),
            server_stream(api.FetchX509Bundles, self.fetch_x509_bundles),
        )

    async def fetch_x509_svid(
        self,
        _: workload.X509SVIDRequest,
        call: ServerCall[workload.X509SVIDRequest, workload.X509SVIDResponse],
    ) -> None:
        """Send the caller its SVIDs with the bundles that it needs, now and at each change."""
        await self._stream(call, self._cache.x509_svids)

    async def fetch_x509_bundles(
        self,
        _: workload.X509BundlesRequest,
        call: ServerCall[workload.X509BundlesRequest, workload.X509BundlesResponse],
    ) -> None:
        """Send the caller the bundles that it may trust, now and at each change."""
        await self._stream(call, self._cache.x509_bundles)

    async def _stream(self, call: _Call, look: _Look) -> None:
        _check_header(call)
        if not self._cache.synced.is_set():
            raise RpcError(
                StatusCode.UNAVAILABLE, "the agent is starting: it has not yet heard from its server"
            )
        try:
            with self._attestation.caller(call.peer.process) as caller, self._cache.watch() as watcher:
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


def _message(content: Content) -> bytes:
    if not content.entitled:
        raise RpcError(StatusCode.PERMISSION_DENIED, NO_IDENTITY)
    if content.message is None:
        text = "no valid SVID: the agent cannot have one signed, its server is away or refuses"
        raise RpcError(StatusCode.UNAVAILABLE, text)
    return content.message


def _check_header(call: _Call) -> None:
    values = [value for key, value in call.metadata if key == HEADER]
    if values != ["true"]:
        raise RpcError(StatusCode.INVALID_ARGUMENT, "security header missing from request")
