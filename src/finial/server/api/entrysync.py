"""SyncAuthorizedEntries: an agent learns what it may serve, and asks only for what it does not have yet.

A set that fits into one message is sent whole. Of a larger one the agent is sent ids with revisions, then it
asks for those entries that it lacks. Agents end the call by cancelling it when they have what they want.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from itertools import islice
from typing import Final, TypeVar

from finial.rpc.servercall import ServerCall
from finial.runtime.clock import Clock
from finial.server.api.authorized import Authorized
from finial.server.api.patience import within
from finial.server.api.replies import invalid
from finial.wire import entryframes, masks
from finial.wire.gen import spire_api_server_entry_v1 as entry_pb
from finial.wire.gen import spire_api_types as types

PAGE: Final = 500
"""Entries, or revisions, in one message."""
PAGE_BYTES: Final = 3 << 20
"""Bytes of the entries in one message: peers take no message of more than 4 MiB."""

MOST_ASKED: Final = 10 * PAGE
"""Ids in one request; SPIRE's agents ask for no more than a page of revisions had."""
MOST_BYTES: Final = 256 << 10
"""Of one request: a page of ids as long as they may be, or as many as may be asked for of the usual kind."""
PATIENCE: Final = timedelta(minutes=1)
"""How long an agent may say nothing, or not read; those of SPIRE give themselves half of it for it all."""

SyncCall = ServerCall[entry_pb.SyncAuthorizedEntriesRequest, entry_pb.SyncAuthorizedEntriesResponse]

_T = TypeVar("_T")


async def serve(call: SyncCall, authorized: Authorized, clock: Clock) -> None:
    """Have the conversation.

    Args:
        call: With the agent.
        authorized: What it may serve. Asked again for each request: what is gone meanwhile is not sent.
        clock: Measures how long the agent says nothing, or does not read.

    Raises:
        RpcError: INVALID_ARGUMENT, the agent does not keep to the protocol; DEADLINE_EXCEEDED, it keeps the
            server waiting; whatever `authorized` raises.
    """

    async def receive() -> entry_pb.SyncAuthorizedEntriesRequest | None:
        return await within(clock, PATIENCE, call.receive())

    async def send(reply: bytes) -> None:
        await within(clock, PATIENCE, call.send_encoded(reply))

    form = entryframes.former(_mask(await receive()))
    records = list(islice(authorized.records(), PAGE + 1))
    if len(records) <= PAGE:
        forms = [form(record) for record in records]
        if sum(map(len, forms)) <= PAGE_BYTES:
            await send(entryframes.sync_reply(forms))
            return
    with authorized.walk() as walk:
        more = True
        while more:
            revisions, more = walk.page(PAGE)
            await send(entryframes.revisions_reply(revisions, more=more))
        while (request := await receive()) is not None:
            if len(request.ids) > MOST_ASKED:
                raise invalid(f"{len(request.ids)} ids in one request, at most {MOST_ASKED}")
            wanted = map(walk.get, dict.fromkeys(request.ids))
            pages = _filled(form(record) for record in wanted if record is not None)
            for page, following in _with_more(pages):
                await send(entryframes.sync_reply(page, more=following))


def _mask(first: entry_pb.SyncAuthorizedEntriesRequest | None) -> types.EntryMask | None:
    if first is None:
        raise invalid("missing request")
    if first.ids:
        raise invalid("specifying IDs on initial request is not supported")
    mask = masks.output_mask(first)
    if mask is not None and not mask.revision_number:
        raise invalid("revision number cannot be masked")
    return mask


def _filled(forms: Iterable[bytes]) -> Iterator[Sequence[bytes]]:
    """Pages of encoded entries, as full as a message may be; one empty page of none."""
    page: list[bytes] = []
    size = 0
    for form in forms:
        if len(page) == PAGE or (page and size + len(form) > PAGE_BYTES):
            yield page
            page, size = [], 0
        page.append(form)
        size += len(form)
    yield page


def _with_more(pages: Iterator[_T]) -> Iterator[tuple[_T, bool]]:
    """Each page with whether another follows."""
    page = next(pages)
    for following in pages:
        yield page, True
        page = following
    yield page, False
