"""Entries as kept bytes: encoded once, joined into answers many times.

SPIRE's agents always ask with the same mask. An entry is therefore kept as two messages in sequence, which
protobuf reads as one: first what that mask selects, then the rest. The whole is the entry, and the answer for
an agent is the beginning of it. Answers are such pieces with a tag and a length before each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final, NamedTuple, Protocol

from google.protobuf.message import Message

from finial.core.entry import RegistrationEntry
from finial.wire import masks
from finial.wire.gen import spire_api_server_entry_v1 as entry_pb
from finial.wire.gen import spire_api_types as types
from finial.wire.registry import entry_message

# Tags of length-delimited fields of the three answers, which tests compare with the .proto file.
_FIELD_1: Final = 0x0A
_FIELD_2: Final = 0x12
_MORE: Final = b"\x18\x01"

# What is taken from either part. Both are made of every entry that is created, so they are spelled out once.
_OTHERS: Final = tuple(masks.selected(masks.inverse(masks.agent_mask())))
_AGENTS_AND_ID: Final = (*masks.AGENT_FIELDS, "id")


class Kept(Protocol):
    """Whatever keeps an entry's bytes."""

    @property
    def data(self) -> bytes:
        """The entry, encoded by `keep`."""

    @property
    def masked(self) -> int:
        """How many bytes of it are for agents."""


class Revised(Protocol):
    """Whatever says in which state an entry is."""

    @property
    def id(self) -> str:
        """Entry id."""

    @property
    def revision(self) -> int:
        """Rises with each update."""

    @property
    def created_at(self) -> int:
        """Unix seconds."""


class KeptEntry(NamedTuple):
    """An entry's kept bytes.

    Args:
        data: The whole entry.
        masked: How many bytes of it are for agents.
    """

    data: bytes
    masked: int


def keep(entry: RegistrationEntry) -> KeptEntry:
    """The kept bytes of an entry.

    Raises:
        EntryError: It holds what no message can.
    """
    message = entry_message(entry)
    first = types.Entry()
    first.CopyFrom(message)
    _clear(first, _OTHERS)
    _clear(message, _AGENTS_AND_ID)
    prefix = first.SerializeToString()
    return KeptEntry(prefix + message.SerializeToString(), len(prefix))


def _clear(message: Message, names: tuple[str, ...]) -> None:
    for name in names:
        message.ClearField(name)


def whole(kept: Kept) -> bytes:
    """The whole entry."""
    return kept.data


def agent_prefix(kept: Kept) -> bytes:
    """The entry as agents ask for it."""
    return kept.data[: kept.masked]


def former(mask: types.EntryMask | None) -> Callable[[Kept], bytes]:
    """A function from kept bytes to the encoded entry that a mask selects.

    Args:
        mask: None for everything. Everything and what agents ask for cost nothing; for any other mask each
            entry is decoded, cut and encoded.
    """
    if mask is None:
        return whole
    if masks.selected(mask) == masks.AGENT_FIELDS:
        return agent_prefix
    chosen = mask

    def form(kept: Kept) -> bytes:
        return masks.cut(message_of(kept), chosen).SerializeToString()

    return form


def message_of(kept: Kept) -> types.Entry:
    """The entry as a message, whole."""
    return types.Entry.FromString(kept.data)


def authorized_reply(entries: Iterable[bytes]) -> bytes:
    """An encoded GetAuthorizedEntriesResponse.

    Args:
        entries: Each encoded.
    """
    return _joined(_FIELD_1, entries)


def list_reply(entries: Iterable[bytes], next_page_token: str) -> bytes:
    """An encoded ListEntriesResponse.

    Args:
        entries: Each encoded.
        next_page_token: May be empty.
    """
    rest = entry_pb.ListEntriesResponse(next_page_token=next_page_token).SerializeToString()
    return _joined(_FIELD_1, entries) + rest


def sync_reply(entries: Iterable[bytes], *, more: bool = False) -> bytes:
    """An encoded SyncAuthorizedEntriesResponse with entries.

    Args:
        entries: Each encoded.
        more: Whether others follow.
    """
    return _joined(_FIELD_2, entries) + (_MORE if more else b"")


def revisions_reply(entries: Iterable[Revised], *, more: bool = False) -> bytes:
    """An encoded SyncAuthorizedEntriesResponse with ids and revisions.

    Args:
        entries: Whose.
        more: Whether others follow.
    """
    make = entry_pb.EntryRevision
    return entry_pb.SyncAuthorizedEntriesResponse(
        entry_revisions=[
            make(id=each.id, revision_number=each.revision, created_at=each.created_at) for each in entries
        ],
        more=more,
    ).SerializeToString()


def _joined(tag: int, pieces: Iterable[bytes]) -> bytes:
    parts: list[bytes] = []
    for piece in pieces:
        parts += (head(tag, len(piece)), piece)
    return b"".join(parts)


@lru_cache(maxsize=4096)
def head(tag: int, size: int) -> bytes:
    """The tag and the length before a field."""
    written = bytearray([tag])
    while size > 0x7F:
        written.append(size & 0x7F | 0x80)
        size >>= 7
    written.append(size)
    return bytes(written)
