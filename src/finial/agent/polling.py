"""SPIRE's polling sync, one round of it: entries and bundles, from a server that does not push."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from finial import __version__
from finial.agent.entry import AuthorizedEntry
from finial.agent.fetch import CALL_DEADLINE, EntryFetcher, fetch_bundle, fetch_foreign, pages
from finial.agent.intake import Intake
from finial.core.bundle import Bundle, BundleSet
from finial.core.errors import FinialError
from finial.core.ids import TrustDomain
from finial.rpc import Channel, RpcError, StatusCode
from finial.runtime.log import fields
from finial.wire.gen import spire_api_server_agent_v1 as agent_pb

_log = logging.getLogger("finial.agent")

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


class Polling:
    """Asks for everything, remembering what it got.

    Args:
        intake: Is told what came.
    """

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._entries = EntryFetcher()
        self._reported = False

    def forget(self) -> None:
        """Keep nothing for the next round: there may be none."""
        self._entries = EntryFetcher()

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
            own = await fetch_bundle(channel, self._intake.trust_domain)
            foreign = await self._foreign_bundles(channel, entries)
        except FinialError:
            self._intake.entries_alone(entries)
            raise
        self._intake.polled(entries, own, foreign)
        if not self._reported:
            self._reported = True
            await _report(channel)

    async def _foreign_bundles(self, channel: Channel, entries: Sequence[AuthorizedEntry]) -> BundleSet:
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
            return self._intake.foreign.bundle_for(domain)


async def _report(channel: Channel) -> None:
    request = agent_pb.PostStatusRequest(agent_version=f"finial {__version__}")
    try:
        await channel.unary(agent_pb.Agent.PostStatus, request, timeout=CALL_DEADLINE)
    except RpcError as error:
        _log.debug("the server took no status", extra=fields(error=error))
