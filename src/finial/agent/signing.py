"""Has SVIDs signed before workloads ask: makes the keys and the requests, and sends them in batches."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta

from finial.agent.book import AuthorizedEntry, Change
from finial.agent.cache import Cache
from finial.agent.fetch import CALL_DEADLINE, ProtocolError
from finial.agent.identity import Key, NodeIdentity, make_csr, new_key
from finial.agent.node import Node
from finial.agent.sync import Sync
from finial.agent.translate import read_svid
from finial.core.errors import FinialError, Kind, Reason
from finial.rpc import Channel
from finial.runtime.chance import Chance
from finial.runtime.clock import Clock
from finial.runtime.log import fields
from finial.runtime.retry import Backoff
from finial.wire.gen import spire_api_server_svid_v1 as svid_pb
from finial.wire.statuses import error_of

_log = logging.getLogger("finial.agent")

MAX_BATCH = 500  # what servers let through at once
_SLICE = 16  # keys, or certificates, between two turns of the event loop: a few milliseconds
_FIRST_RETRY = timedelta(milliseconds=500)
_LAST_RETRY = timedelta(seconds=30)
_SHORTEST_RETRY = timedelta(milliseconds=100)
_TURN = timedelta(0)

_COUNT = Reason("agent-signing-count", Kind.UNAVAILABLE)


class Signer:
    """Signs as long as the agent runs.

    Args:
        node: The agent's standing and its connection.
        cache: Knows what is due, and takes what was signed.
        sync: Is asked for a bundle when an SVID does not verify under the one that is here.
        clock: Time.
        chance: Spreads renewals and retries.
    """

    def __init__(self, node: Node, cache: Cache, sync: Sync, *, clock: Clock, chance: Chance) -> None:
        self._node = node
        self._cache = cache
        self._sync = sync
        self._clock = clock
        self._chance = chance

    async def run(self) -> None:
        """Sign what falls due.

        Raises:
            FinialError: The server does not count the agent as attested any more.
        """
        backoff = Backoff(_FIRST_RETRY, _LAST_RETRY, chance=self._chance, least=_SHORTEST_RETRY)
        coped = False
        while True:
            batch = (await self._cache.until_work())[:MAX_BATCH]
            shown: NodeIdentity | None = None
            try:
                async with self._node.link.use() as lease:
                    shown = lease.identity
                    await self._sign(lease.channel, batch)
            except FinialError as error:
                if await self._node.cope(error, shown) and not coped:
                    coped = True
                    continue
                pause = backoff.next()
                _log.warning("signing failed", extra=fields(error=error, retry_seconds=pause.total_seconds()))
                await self._clock.sleep(pause)
                continue
            coped = False
            backoff.reset()

    async def _sign(self, channel: Channel, entries: Sequence[AuthorizedEntry]) -> None:
        keys: list[Key] = []
        params: list[svid_pb.NewX509SVIDParams] = []
        for entry in entries:
            key = new_key()
            keys.append(key)
            csr = make_csr(key, entry.spiffe_id)
            params.append(svid_pb.NewX509SVIDParams(entry_id=entry.id, csr=csr))
            await self._breathe(len(keys))
        request = svid_pb.BatchNewX509SVIDRequest(params=params)
        reply = await channel.unary(svid_pb.SVID.BatchNewX509SVID, request, timeout=CALL_DEADLINE)
        if len(reply.results) != len(entries):
            message = f"the server answered {len(entries)} requests with {len(reply.results)} results"
            raise ProtocolError(_COUNT, message)
        changes: list[Change] = []
        failed: list[FinialError] = []
        for entry, key, result in zip(entries, keys, reply.results, strict=True):
            try:
                changes.append(self._take(entry, key, result))
            except FinialError as error:
                self._cache.book.failed(entry.id, self._clock.now(), self._chance.fraction())
                failed.append(error)
            await self._breathe(len(changes) + len(failed))
        self._cache.apply(*changes)
        if failed:
            first = failed[0]
            _log.warning("SVIDs were not signed", extra=fields(count=len(failed), first_error=first))
        if failed or self._cache.book.waiting:
            self._sync.soon()  # the entry may be gone, or the bundle another one
        _log.debug("SVIDs signed", extra=fields(count=len(changes)))

    def _take(
        self, entry: AuthorizedEntry, key: Key, result: svid_pb.BatchNewX509SVIDResponse.Result
    ) -> Change:
        error = error_of(result.status)
        if error is not None:
            raise error
        svid = read_svid(result.svid, key)
        now, spread = self._clock.now(), self._chance.fraction()
        return self._cache.book.accept(entry, svid, now=now, spread=spread)

    async def _breathe(self, done: int) -> None:
        if done % _SLICE == 0:
            await self._clock.sleep(_TURN)
