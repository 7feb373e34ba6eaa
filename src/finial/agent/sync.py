"""SPIRE's polling sync: entries and bundles, again and again.

Entries are applied together with the bundles of the same round, so that no workload is sent an identity
before the bundles that its entry names.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

from finial import __version__
from finial.agent.book import AuthorizedEntry
from finial.agent.cache import Cache
from finial.agent.fetch import CALL_DEADLINE, EntryFetcher, fetch_bundle, fetch_foreign, pages
from finial.agent.identity import NodeIdentity
from finial.agent.node import Node
from finial.core.bundle import Bundle, BundleSet
from finial.core.errors import FinialError
from finial.core.ids import TrustDomain
from finial.rpc import Channel, RpcError, StatusCode
from finial.runtime.chance import Chance
from finial.runtime.clock import Clock, wait_at_most
from finial.runtime.log import fields
from finial.runtime.retry import Backoff
from finial.wire.gen import spire_api_server_agent_v1 as agent_pb

_log = logging.getLogger("finial.agent")

_LONGEST_PAUSE = timedelta(minutes=8)
_MOST_INTERVALS = 48
_SHORTEST_RETRY = timedelta(milliseconds=200)
_SPREAD = 0.2  # of the interval, in all
_BUNDLES_AT_ONCE = 10
# Codes that say nothing about the one thing that was asked for: the server is away, or refuses the agent.
_EVERY_CALL = frozenset(
    {
        StatusCode.UNAVAILABLE,
        StatusCode.DEADLINE_EXCEEDED,
        StatusCode.CANCELLED,
        StatusCode.PERMISSION_DENIED,
        StatusCode.UNAUTHENTICATED,
    }
)


class Sync:
    """Fetches as long as the agent runs.

    Args:
        node: The agent's standing and its connection.
        cache: Is told what came.
        clock: Time.
        chance: Spreads the rounds of a fleet.
        interval: Between two rounds.
    """

    def __init__(
        self, node: Node, cache: Cache, *, clock: Clock, chance: Chance, interval: timedelta
    ) -> None:
        self._node = node
        self._cache = cache
        self._clock = clock
        self._chance = chance
        self._interval = interval
        self._entries = EntryFetcher()
        self._wanted = asyncio.Event()
        self._reported = False

    def soon(self) -> None:
        """Let the next round begin now: an SVID needs a bundle that is not here yet."""
        self._wanted.set()

    async def run(self) -> None:
        """Fetch again and again.

        Raises:
            FinialError: The server does not count the agent as attested any more.
        """
        most = min(_LONGEST_PAUSE, self._interval * _MOST_INTERVALS)
        backoff = Backoff(self._interval, most, chance=self._chance, least=_SHORTEST_RETRY)
        coped = False
        while True:
            self._wanted.clear()
            shown: NodeIdentity | None = None
            try:
                async with self._node.link.use() as lease:
                    shown = lease.identity
                    await self.round(lease.channel)
            except FinialError as error:
                if await self._node.cope(error, shown) and not coped:
                    coped = True
                    continue
                pause = backoff.next()
                _log.warning("sync failed", extra=fields(error=error, retry_seconds=pause.total_seconds()))
                await self._clock.sleep(pause)
                continue
            coped = False
            backoff.reset()
            pause = self._interval * (1 + _SPREAD * (self._chance.fraction() - 0.5))
            await wait_at_most(self._clock, self._wanted, pause)

    async def round(self, channel: Channel) -> None:
        """Fetch once, and apply what came.

        Args:
            channel: To the server, as the agent.

        Raises:
            RpcError: The server cannot be reached or refuses.
            ProtocolError: Its answers do not fit together.
            RefusedError: The own bundle is none.
        """
        entries = await self._entries.fetch(channel)
        try:
            own = await fetch_bundle(channel, self._cache.book.bundle.trust_domain)
            foreign = await self._foreign_bundles(channel, entries)
        except FinialError:
            # What is taken from workloads is taken now, whatever becomes of the bundles.
            self._cache.apply(self._cache.book.replace_entries(entries))
            raise
        self._apply(entries, own, foreign)
        if not self._reported:
            self._reported = True
            await _report(channel)

    def _apply(self, entries: tuple[AuthorizedEntry, ...], own: Bundle, foreign: BundleSet) -> None:
        book = self._cache.book
        came = book.replace_entries(entries)
        trusted = book.set_bundle(own, self._clock.now())
        changes = (came, trusted, book.set_foreign(foreign))
        if came:
            _log.info("entries changed", extra=fields(entries=len(entries), changed=len(came.entries)))
        if trusted.own_bundle:
            _log.info("bundle changed", extra=fields(authorities=len(own.x509_authorities)))
        self._cache.apply(*changes)
        self._cache.synced.set()
        self._node.trust(book.bundle)

    async def _foreign_bundles(self, channel: Channel, entries: tuple[AuthorizedEntry, ...]) -> BundleSet:
        names = sorted({domain for entry in entries for domain in entry.federates_with})
        found: list[Bundle | BaseException | None] = []
        for page in pages(names, _BUNDLES_AT_ONCE):
            asked = (self._foreign_bundle(channel, domain) for domain in page)
            found += await asyncio.gather(*asked, return_exceptions=True)
        failed = [each for each in found if isinstance(each, BaseException)]
        if failed:
            raise failed[0]
        return BundleSet(each for each in found if isinstance(each, Bundle))

    async def _foreign_bundle(self, channel: Channel, domain: TrustDomain) -> Bundle | None:
        """A foreign bundle; the one so far when it is only this one that cannot be had."""
        try:
            return await fetch_foreign(channel, domain)
        except FinialError as error:
            if isinstance(error, RpcError) and error.code in _EVERY_CALL:
                raise
            _log.warning("a foreign bundle is of no use", extra=fields(trust_domain=domain, error=error))
            return self._cache.book.foreign.bundle_for(domain)


async def _report(channel: Channel) -> None:
    request = agent_pb.PostStatusRequest(agent_version=f"finial {__version__}")
    try:
        await channel.unary(agent_pb.Agent.PostStatus, request, timeout=CALL_DEADLINE)
    except RpcError as error:
        _log.debug("the server took no status", extra=fields(error=error))
