"""Messages of the push service: what the server sends, as values, and what it is sent."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from itertools import islice
from typing import Final

from finial import __version__
from finial.agent.entry import AuthorizedEntry
from finial.agent.progress import Stage, Step
from finial.agent.replica import HeldBundle, HeldEntry, Page, State, refused
from finial.agent.translate import read_authorized
from finial.core.entry import MAX_ENTRY_ID_CHARACTERS
from finial.core.errors import FinialError, RefusedError, SpiffeIDError
from finial.core.ids import TrustDomain
from finial.core.setdigest import MARK_BYTES, SetDigest, mark_of, to_bytes
from finial.runtime.log import fields
from finial.wire.bundles import examined
from finial.wire.gen import finial_api_server_push_v1 as push_pb
from finial.wire.gen import spire_api_types as types
from finial.wire.registry import read_domain

_log = logging.getLogger("finial.agent")

_SLICE: Final = 100  # entries between two turns of the event loop: about two milliseconds
_LONGEST_TROUBLE: Final = 200
_MOST_AUTHORITIES: Final = 100
_STAGES: Final = {
    Stage.SIGNED: push_pb.Progress.SIGNED,
    Stage.DELIVERED: push_pb.Progress.DELIVERED,
    Stage.FAILED: push_pb.Progress.FAILED,
}


async def read_page(
    message: push_pb.SubscribeResponse, own: TrustDomain, breathe: Callable[[], Awaitable[None]]
) -> Page:
    """What a message of the server says.

    Args:
        message: Not one that asks to compare.
        own: The own trust domain.
        breathe: Lets others have a turn; called again and again.

    Raises:
        PushError: A mark or an id is none, or the own bundle cannot be read.
    """
    entries: list[HeldEntry] = []
    for item in message.entries:
        entries.append(read_item(item))
        if len(entries) % _SLICE == 0:
            await breathe()
    for entry_id in message.gone:
        _check_id(entry_id)
    return Page(
        reset=message.reset,
        entries=tuple(entries),
        gone=tuple(message.gone),
        bundles=tuple(read_held_bundle(each, own) for each in message.bundles),
        bundles_gone=tuple(_domain_name(text) for text in message.bundles_gone),
        size=message.ByteSize(),
    )


def read_item(item: push_pb.Item) -> HeldEntry:
    """An entry with its mark; one that is of no use is counted, and a warning says so.

    Raises:
        PushError: It has no id, or a mark that is none.
    """
    message = item.entry
    _check_id(message.id)
    mark = _mark(item.mark)
    entry: AuthorizedEntry | None = None
    try:
        entry = read_authorized(message)
    except RefusedError as error:
        _log.warning("an entry is skipped", extra=fields(id=message.id, error=error))
        names = tuple({_domain_name(text) for text in message.federates_with})
    else:
        names = tuple(domain.name for domain in entry.federates_with)
    return HeldEntry(message.id, mark, entry, names)


def read_held_bundle(message: types.Bundle, own: TrustDomain) -> HeldBundle:
    """A bundle with its mark; a foreign one that cannot be read is counted, and a warning says so.

    Another one says so of a key that is passed over in it.

    Raises:
        PushError: It is the own one, and cannot be read.
    """
    name = _domain_name(message.trust_domain)
    mark = mark_of(message.SerializeToString())
    try:
        read = examined(message)
    except FinialError as error:
        if name == own.name:
            raise refused(f"the server sent a bundle of {own} that is none: {error.message}") from error
        _log.warning("a foreign bundle is of no use", extra=fields(trust_domain=name, error=error))
        return HeldBundle(name, mark, None)
    for finding in read.broken:
        _log.warning("a key in a bundle is passed over", extra=fields(trust_domain=name, why=finding))
    return HeldBundle(name, mark, read.bundle)


def read_state(message: push_pb.SubscribeResponse) -> State:
    """What the server says is held once a change is in force.

    Raises:
        PushError: It says nothing, or its sums are none.
    """
    if not message.HasField("state"):
        raise refused("the server does not say what is held after its change")
    state = message.state
    entries = SetDigest(state.count, _mark(state.digest))
    return State(state.epoch, state.seq, entries, _mark(state.bundles))


def hello(state: State | None) -> push_pb.SubscribeRequest:
    """The first message: what the agent holds.

    Args:
        state: None to be told everything.
    """
    told = None
    if state is not None:
        told = push_pb.State(
            epoch=state.epoch,
            seq=state.seq,
            count=state.entries.count,
            digest=state.entries.digest,
            bundles=to_bytes(state.bundles),
        )
    return push_pb.SubscribeRequest(hello=push_pb.Hello(state=told, version=f"finial {__version__}"))


def held(entries: Iterable[HeldEntry], *, more: bool) -> push_pb.SubscribeRequest:
    """A part of all that the agent holds.

    Args:
        entries: At most 2,000.
        more: Whether others follow.
    """
    marks = [push_pb.Mark(id=entry.id, mark=to_bytes(entry.mark)) for entry in entries]
    return push_pb.SubscribeRequest(held=push_pb.Held(entries=marks, more=more))


def applied(number: int) -> push_pb.SubscribeRequest:
    """A change is in force."""
    return push_pb.SubscribeRequest(applied=push_pb.Applied(number=number))


def report(steps: Iterable[Step], resting: Mapping[str, int]) -> push_pb.SubscribeRequest:
    """How far entries have come, and what rests on which authority.

    Args:
        steps: What has happened.
        resting: Authority id to SVIDs; empty when it is as it was told last.
    """
    progress = [
        push_pb.Progress(
            entry_id=step.entry_id,
            revision=step.revision,
            stage=_STAGES[step.stage],
            trouble=step.trouble[:_LONGEST_TROUBLE],
        )
        for step in steps
    ]
    named = islice(resting.items(), _MOST_AUTHORITIES)
    counts = [push_pb.Resting(authority_id=name, svids=count) for name, count in named]
    return push_pb.SubscribeRequest(report=push_pb.Report(progress=progress, resting=counts))


def _mark(data: bytes) -> int:
    if len(data) != MARK_BYTES:
        raise refused(f"the server sent a mark of {len(data)} bytes")
    return int.from_bytes(data, "big")


def _check_id(entry_id: str) -> None:
    if not 0 < len(entry_id) <= MAX_ENTRY_ID_CHARACTERS:
        raise refused(f"the server names an entry by an id of {len(entry_id)} characters")


def _domain_name(text: str) -> str:
    """The name of a trust domain, however it is written; the text itself when it is none."""
    try:
        return read_domain(text).name
    except SpiffeIDError:
        return text
