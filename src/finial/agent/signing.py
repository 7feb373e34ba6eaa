"""Has SVIDs signed before workloads ask: makes the keys and the requests, and sends them in batches.

Two calls may be under way at a time. What workloads wait for, or have none of, goes in small batches as soon
as it is known; what is renewed, or does not fit in there, goes in large ones. So a single new identity never
waits for hundreds of keys to be made, nor for the answer of another call.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from finial.agent.cache import Cache
from finial.agent.calm import pushback
from finial.agent.change import Change
from finial.agent.entry import AuthorizedEntry
from finial.agent.fetch import CALL_DEADLINE, ProtocolError
from finial.agent.identity import Key, NodeIdentity, make_csr, new_key
from finial.agent.node import Node
from finial.agent.progress import Progress, Stage, Step
from finial.agent.translate import read_svid
from finial.core.errors import FinialError, Kind, Reason
from finial.rpc import Channel
from finial.runtime.chance import Chance
from finial.runtime.clock import Clock, wait_at_most
from finial.runtime.log import fields
from finial.runtime.retry import Backoff
from finial.runtime.service import run_until
from finial.wire.gen import spire_api_server_svid_v1 as svid_pb
from finial.wire.hints import write_remaining
from finial.wire.statuses import error_of

_log = logging.getLogger("finial.agent")

MAX_BATCH = 500  # what servers let through at once
URGENT_BATCH = 32
_SLICE = 16  # keys, or certificates, between two turns of the event loop: a few milliseconds
_FIRST_RETRY = timedelta(milliseconds=500)
_LAST_RETRY = timedelta(seconds=30)
_SHORTEST_RETRY = timedelta(milliseconds=100)
_TURN = timedelta(0)
_LONGEST_TROUBLE = 200

_COUNT = Reason("agent-signing-count", Kind.UNAVAILABLE)


class Asked(Protocol):
    """Whoever brings bundles."""

    def soon(self) -> None:
        """An SVID needs a bundle that is not here yet, or an entry may be gone."""


@dataclass(frozen=True, slots=True)
class _Lane:
    """One of the calls that may be under way.

    Args:
        most: How much goes in a batch.
        urgent: Whether renewals go in the other one.
    """

    most: int
    urgent: bool


_LANES = (_Lane(URGENT_BATCH, urgent=True), _Lane(MAX_BATCH, urgent=False))


class Signer:
    """Signs as long as the agent runs.

    Args:
        node: The agent's standing and its connection.
        cache: Knows what is due, and takes what was signed.
        sync: Is asked for a bundle when an SVID does not verify under the one that is here.
        clock: Time.
        chance: Spreads renewals and retries.
        progress: Is told what was signed and what was not.
    """

    def __init__(
        self, node: Node, cache: Cache, sync: Asked, *, clock: Clock, chance: Chance, progress: Progress
    ) -> None:
        self._node = node
        self._cache = cache
        self._sync = sync
        self._clock = clock
        self._chance = chance
        self._progress = progress
        self._backoff = Backoff(_FIRST_RETRY, _LAST_RETRY, chance=chance, least=_SHORTEST_RETRY)
        self._calm_until = clock.monotonic()  # after a failure nothing is asked before that
        self._told_to_wait = False  # by the server

    async def run(self) -> None:
        """Sign what falls due.

        Raises:
            FinialError: The server does not count the agent as attested any more.
        """
        await run_until(asyncio.Event(), [self._run(lane) for lane in _LANES])

    async def _run(self, lane: _Lane) -> None:
        coped = False
        while True:
            await self._calm()
            batch = await self._cache.until_work(lane.most, urgent=lane.urgent)
            shown: NodeIdentity | None = None
            try:
                async with self._node.link.use() as lease:
                    shown = lease.identity
                    await self._sign(lease.channel, batch)
            except FinialError as error:
                self._cache.book.give_back(batch)
                if await self._node.cope(error, shown) and not coped:
                    coped = True
                    continue
                self._failed(error)
                continue
            coped = False
            self._backoff.reset()

    def _failed(self, error: FinialError) -> None:
        now = self._clock.monotonic()
        if now < self._calm_until:
            return  # the other call has failed for the same reason, most likely
        asked = pushback(error)
        pause = asked or self._backoff.next()
        self._calm_until = now + pause.total_seconds()
        self._told_to_wait = bool(asked)
        self._node.link.reached.clear()
        _log.warning("signing failed", extra=fields(error=error, retry_seconds=pause.total_seconds()))

    async def _calm(self) -> None:
        """Wait until the server may be asked again: after a while, or when another call has gone well."""
        while (left := self._calm_until - self._clock.monotonic()) > 0:
            if self._told_to_wait:
                await self._clock.sleep(timedelta(seconds=left))
            elif await wait_at_most(self._clock, self._node.link.reached, timedelta(seconds=left)):
                self._calm_until = self._clock.monotonic()

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
        reply = await channel.unary(
            svid_pb.SVID.BatchNewX509SVID,
            request,
            timeout=CALL_DEADLINE,
            metadata=(write_remaining(self._remaining(entries)),),
        )
        if len(reply.results) != len(entries):
            message = f"the server answered {len(entries)} requests with {len(reply.results)} results"
            raise ProtocolError(_COUNT, message)
        changes: list[Change] = []
        failed: list[FinialError] = []
        for entry, key, result in zip(entries, keys, reply.results, strict=True):
            try:
                changes.append(self._take(entry, key, result))
            except FinialError as error:
                failed.append(error)
                changes.append(self._refused(entry, error))
            await self._breathe(len(changes))
        self._cache.apply(*changes)
        if failed:
            first = failed[0]
            _log.warning("SVIDs were not signed", extra=fields(count=len(failed), first_error=first))
        if failed or self._cache.book.waiting:
            self._sync.soon()  # the entry may be gone, or the bundle another one
        _log.debug("SVIDs signed", extra=fields(count=len(changes) - len(failed)))

    def _remaining(self, entries: Sequence[AuthorizedEntry]) -> timedelta:
        """How much life is left to the SVID that has the least of it."""
        now, held = self._clock.now(), [self._cache.book.held(entry.id) for entry in entries]
        return min(timedelta(0) if each is None else each.expires_at - now for each in held)

    def _take(
        self, entry: AuthorizedEntry, key: Key, result: svid_pb.BatchNewX509SVIDResponse.Result
    ) -> Change:
        error = error_of(result.status)
        if error is not None:
            raise error
        svid = read_svid(result.svid, key)
        now, spread = self._clock.now(), self._chance.fraction()
        change = self._cache.book.accept(entry, svid, now=now, spread=spread)
        if change:
            self._progress.note(Step(entry.id, entry.revision, Stage.SIGNED))
        return change

    def _refused(self, entry: AuthorizedEntry, error: FinialError) -> Change:
        trouble = error.message[:_LONGEST_TROUBLE]
        self._progress.note(Step(entry.id, entry.revision, Stage.FAILED, trouble))
        return self._cache.book.failed(entry, self._clock.now(), self._chance.fraction())

    async def _breathe(self, done: int) -> None:
        if done % _SLICE == 0:
            await self._clock.sleep(_TURN)
