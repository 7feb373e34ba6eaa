"""What the agent asks its server for: the entries that it is authorised for, and bundles.

A small set of entries comes whole. Of a large one the server sends ids with revisions, and the agent asks
for those that it lacks or holds in an old revision, as many at a time as the server listed at a time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TypeVar

from finial.agent.entry import AuthorizedEntry
from finial.agent.translate import read_authorized
from finial.core.bundle import Bundle
from finial.core.errors import FinialError, Kind, Reason, RefusedError
from finial.core.ids import TrustDomain
from finial.rpc import Channel, ClientCall, RpcError, StatusCode
from finial.runtime.log import fields
from finial.wire.bundles import read_bundle
from finial.wire.gen import spire_api_server_bundle_v1 as bundle_pb
from finial.wire.gen import spire_api_server_entry_v1 as entry_pb
from finial.wire.gen import spire_api_types as types
from finial.wire.masks import agent_mask

_log = logging.getLogger("finial.agent")

CALL_DEADLINE = timedelta(seconds=30)
_MAX_ENTRIES = 1_000_000

_PROTOCOL = Reason("agent-server-protocol", Kind.UNAVAILABLE)

_Call = ClientCall[entry_pb.SyncAuthorizedEntriesRequest, entry_pb.SyncAuthorizedEntriesResponse]
_Item = TypeVar("_Item")


class ProtocolError(FinialError):
    """A server's answers do not fit together, or to what was asked."""


class EntryFetcher:
    """Fetches entries, remembering what it got, so that only what has changed is sent."""

    def __init__(self) -> None:
        self._messages: dict[str, types.Entry] = {}
        self._read: dict[str, tuple[types.Entry, AuthorizedEntry | None]] = {}

    async def fetch(self, channel: Channel) -> tuple[AuthorizedEntry, ...]:
        """All entries that the agent is authorised for; those that are of no use are left out.

        Args:
            channel: To the server, as the agent.

        Raises:
            RpcError: The server cannot be reached or refuses.
            ProtocolError: Its answers do not fit together.
        """
        try:
            messages = await self._converse(channel)
        except RpcError as error:
            if not error.unprocessed:
                raise
            messages = await self._converse(channel)  # the server closed an old connection just then
        self._messages = messages
        read = [self._entry(message) for message in messages.values()]
        self._read = {entry_id: self._read[entry_id] for entry_id in messages if entry_id in self._read}
        return tuple(entry for entry in read if entry is not None)

    def _entry(self, message: types.Entry) -> AuthorizedEntry | None:
        """What a message says, read once; None, and a warning, for one that is of no use."""
        known = self._read.get(message.id)
        if known is not None and (known[0] is message or known[0] == message):
            return known[1]
        entry: AuthorizedEntry | None = None
        try:
            entry = read_authorized(message)
        except RefusedError as error:
            _log.warning("an entry is skipped", extra=fields(id=message.id, error=error))
        self._read[message.id] = (message, entry)
        return entry

    async def _converse(self, channel: Channel) -> dict[str, types.Entry]:
        method = entry_pb.Entry.SyncAuthorizedEntries
        async with channel.call(method, timeout=CALL_DEADLINE) as call:
            await call.send(entry_pb.SyncAuthorizedEntriesRequest(output_mask=agent_mask()))
            first = await _next(call)
            if not first.entry_revisions:
                found = {entry.id: entry for entry in await _entries(call, first)}
            else:
                found = await self._by_revision(call, first)
            await call.half_close()
            if await call.receive() is not None:
                raise ProtocolError(_PROTOCOL, "the server goes on after all entries have been sent")
            return found

    async def _by_revision(
        self, call: _Call, first: entry_pb.SyncAuthorizedEntriesResponse
    ) -> dict[str, types.Entry]:
        page = len(first.entry_revisions)
        revisions = list(first.entry_revisions)
        reply = first
        while reply.more:
            reply = await _next(call)
            revisions += reply.entry_revisions
            _check_count(len(revisions))
        found = {
            each.id: held
            for each in revisions
            if (held := self._messages.get(each.id)) is not None and not _stale(held, each)
        }
        wanted = [each.id for each in revisions if each.id not in found]
        for ids in pages(wanted, page):
            await call.send(entry_pb.SyncAuthorizedEntriesRequest(ids=ids))
            found.update((entry.id, entry) for entry in await _entries(call, await _next(call)))
        return found


async def fetch_bundle(channel: Channel, trust_domain: TrustDomain) -> Bundle:
    """The own bundle, as the server has it.

    Args:
        channel: To the server; it needs to show no identity.
        trust_domain: The own one.

    Raises:
        RpcError: The server cannot be reached or refuses.
        RefusedError: What it sent is no bundle.
        ProtocolError: It is of another trust domain, or empty.
    """
    request = bundle_pb.GetBundleRequest()
    message = await channel.unary(bundle_pb.Bundle.GetBundle, request, timeout=CALL_DEADLINE)
    bundle = read_bundle(message)
    if bundle.trust_domain != trust_domain or not bundle.x509_authorities:
        count = len(bundle.x509_authorities)
        text = f"the server sent a bundle of {bundle.trust_domain} with {count} authorities"
        raise ProtocolError(_PROTOCOL, f"{text} for {trust_domain}")
    return bundle


async def fetch_foreign(channel: Channel, trust_domain: TrustDomain) -> Bundle | None:
    """A foreign bundle; None when the server has none.

    Args:
        channel: To the server, as the agent.
        trust_domain: A foreign one.

    Raises:
        RpcError: The server cannot be reached or refuses.
        RefusedError: What it sent is no bundle.
        ProtocolError: It is of another trust domain.
    """
    request = bundle_pb.GetFederatedBundleRequest(trust_domain=trust_domain.name)
    try:
        message = await channel.unary(bundle_pb.Bundle.GetFederatedBundle, request, timeout=CALL_DEADLINE)
    except RpcError as error:
        if error.code is StatusCode.NOT_FOUND:
            return None
        raise
    bundle = read_bundle(message)
    if bundle.trust_domain != trust_domain:
        text = f"the server sent the bundle of {bundle.trust_domain} for {trust_domain}"
        raise ProtocolError(_PROTOCOL, text)
    return bundle


async def _next(call: _Call) -> entry_pb.SyncAuthorizedEntriesResponse:
    reply = await call.receive()
    if reply is None:
        raise ProtocolError(_PROTOCOL, "the server ended the sync before all entries had been sent")
    return reply


async def _entries(call: _Call, first: entry_pb.SyncAuthorizedEntriesResponse) -> list[types.Entry]:
    found = list(first.entries)
    reply = first
    while reply.more:
        reply = await _next(call)
        found += reply.entries
        _check_count(len(found))
    return found


def _check_count(count: int) -> None:
    if count > _MAX_ENTRIES:
        raise ProtocolError(_PROTOCOL, f"the server sends more than {_MAX_ENTRIES} entries")


def _stale(held: types.Entry, fresh: entry_pb.EntryRevision) -> bool:
    """Whether the server has another state of an entry; one that tells no time of creation is excused."""
    remade = fresh.created_at not in {0, held.created_at}
    return remade or held.revision_number != fresh.revision_number


def pages(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    """Some items, at most so many at a time."""
    for at in range(0, len(items), size):
        yield items[at : at + size]
