"""Push on the wire: what agents say as plain values within bounds, and pages of answers out of kept bytes.

A message is the concatenation of its parts. So a page is joined of entries and bundles as they are kept, with
a tag and a length before each, and of whatever else it says, encoded by protobuf.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final, cast

from finial.core.entry import MAX_ENTRY_ID_CHARACTERS
from finial.core.setdigest import MARK_BYTES
from finial.rpc.method import Method
from finial.rpc.status import RpcError, StatusCode
from finial.wire.entryframes import head
from finial.wire.gen import finial_api_server_push_v1 as push_pb
from finial.wire.methods import decoder

MAX_REQUEST_BYTES: Final = 1 << 20
"""Bytes of one message of an agent: a page of marks with the longest ids has half of it."""
MAX_MARKS: Final = 5_000
"""Marks in one message."""
MAX_STEPS: Final = 5_000
"""Steps of progress in one report."""
MAX_AUTHORITIES: Final = 100
"""Authorities in one report."""

_MAX_EPOCH = 64  # characters, as are the others
_MAX_AUTHORITY_ID = 128
_MAX_VERSION = 100
_MAX_TROUBLE = 200

# Tags of length-delimited fields, which tests compare with the .proto file: of the answer, then of an item.
_ENTRIES = 0x1A
_BUNDLES = 0x2A
_MARK = b"\x0a\x10"
_ENTRY = 0x12

_decode = decoder(push_pb.SubscribeRequest)


@dataclass(frozen=True, slots=True)
class State:
    """What an agent holds, or is to hold, in a few bytes.

    Args:
        epoch: Of the database.
        seq: How far in the log of that database it reaches.
        count: How many entries.
        digest: The sum of their marks, 16 bytes.
        bundles: The sum of the marks of the bundles, 16 bytes.
    """

    epoch: str
    seq: int
    count: int
    digest: bytes
    bundles: bytes

    def same_entries(self, other: State) -> bool:
        """Whether both mean the same set of entries."""
        return (self.count, self.digest) == (other.count, other.digest)

    def says_alike(self, other: State) -> bool:
        """Whether both tell of the same content of one database, wherever its log stands."""
        return self.epoch == other.epoch and self.same_entries(other) and self.bundles == other.bundles


@dataclass(frozen=True, slots=True)
class Hello:
    """An agent begins.

    Args:
        state: What it holds; None for nothing.
        version: Of its program, for people.
    """

    state: State | None
    version: str


@dataclass(frozen=True, slots=True)
class Held:
    """Some of what an agent holds.

    Args:
        marks: Ids of entries, each with its mark.
        more: Whether others follow.
    """

    marks: tuple[tuple[str, bytes], ...]
    more: bool


@dataclass(frozen=True, slots=True)
class Applied:
    """A change is in force at the agent.

    Args:
        number: Of the change.
    """

    number: int


class Stage(Enum):
    """What has happened to an entry at an agent."""

    SIGNED = push_pb.Progress.SIGNED
    DELIVERED = push_pb.Progress.DELIVERED
    FAILED = push_pb.Progress.FAILED


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that has happened at an agent, as it says.

    Args:
        entry_id: To which entry.
        revision: Of the entry.
        stage: What.
        trouble: Why it failed; cut, and not yet fit for a terminal.
    """

    entry_id: str
    revision: int
    stage: Stage
    trouble: str


class Report:
    """What has happened at an agent.

    Args:
        message: Within the bounds; read as it is asked for, since it may hold thousands of steps.
    """

    def __init__(self, message: push_pb.Report) -> None:
        self._message = message

    def __len__(self) -> int:
        return len(self._message.progress)

    @property
    def resting(self) -> Mapping[str, int]:
        """How many SVIDs each authority has signed; empty when the agent does not say."""
        return {each.authority_id: each.svids for each in self._message.resting}

    def steps(self) -> Iterator[Step]:
        """The steps of progress; without those whose stage we do not know, or whose entry cannot exist."""
        for each in self._message.progress:
            if each.stage in _STAGES and 0 < len(each.entry_id) <= MAX_ENTRY_ID_CHARACTERS:
                trouble = each.trouble[:_MAX_TROUBLE]
                yield Step(each.entry_id, each.revision, Stage(each.stage), trouble)


_STAGES = frozenset(stage.value for stage in Stage)

Said = Hello | Held | Applied | Report


def read_request(data: bytes) -> Said:
    """What an agent says.

    Raises:
        RpcError: INVALID_ARGUMENT, it says nothing, too much, or what cannot be.
        ValueError: The bytes are no such message.
    """
    if len(data) > MAX_REQUEST_BYTES:
        raise _refused(f"{len(data)} bytes in one message, at most {MAX_REQUEST_BYTES}")
    message = _decode(data)
    match message.WhichOneof("step"):
        case "applied":
            return Applied(message.applied.number)
        case "report":
            return _report(message.report)
        case "held":
            return _held(message.held)
        case "hello":
            return _hello(message.hello)
        case _:
            raise _refused("the message says nothing")


def _hello(message: push_pb.Hello) -> Hello:
    state = state_of(message.state) if message.HasField("state") else None
    return Hello(state, message.version[:_MAX_VERSION])


def _held(message: push_pb.Held) -> Held:
    if len(message.entries) > MAX_MARKS:
        raise _refused(f"{len(message.entries)} marks in one message, at most {MAX_MARKS}")
    marks = tuple((each.id, each.mark) for each in message.entries)
    for entry_id, mark in marks:
        if not 0 < len(entry_id) <= MAX_ENTRY_ID_CHARACTERS:
            raise _refused(f"an entry id of {len(entry_id)} characters")
        if len(mark) != MARK_BYTES:
            raise _refused(f"a mark of {len(mark)} bytes, not {MARK_BYTES}")
    return Held(marks, message.more)


def _report(message: push_pb.Report) -> Report:
    if len(message.progress) > MAX_STEPS:
        raise _refused(f"{len(message.progress)} steps in one report, at most {MAX_STEPS}")
    if len(message.resting) > MAX_AUTHORITIES:
        raise _refused(f"{len(message.resting)} authorities in one report, at most {MAX_AUTHORITIES}")
    for each in message.resting:
        if not 0 < len(each.authority_id) <= _MAX_AUTHORITY_ID:
            raise _refused(f"an authority id of {len(each.authority_id)} characters")
    return Report(message)


def state_of(message: push_pb.State) -> State:
    """The value that a message means.

    Raises:
        RpcError: INVALID_ARGUMENT, it cannot be one.
    """
    if not 0 < len(message.epoch) <= _MAX_EPOCH:
        raise _refused(f"an epoch of {len(message.epoch)} characters")
    for what, given in (("entries", message.digest), ("bundles", message.bundles)):
        if len(given) != MARK_BYTES:
            raise _refused(f"a digest of {what} of {len(given)} bytes, not {MARK_BYTES}")
    return State(message.epoch, message.seq, message.count, message.digest, message.bundles)


def state_message(state: State) -> push_pb.State:
    """The message that means a value."""
    return push_pb.State(
        epoch=state.epoch, seq=state.seq, count=state.count, digest=state.digest, bundles=state.bundles
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One message to an agent.

    Args:
        items: Entries, each made by `item`.
        gone: Ids of entries.
        bundles: Each encoded.
        bundles_gone: Names of trust domains.
        reset: Whether what does not come from here on is gone.
        more: Whether other pages follow.
        compare: Whether the agent is to say what it holds.
        number: Of the change, on its last page; 0 on others, and where nothing has changed.
        state: What the agent holds then; None on pages that are not the last, and with `compare`.
    """

    items: Iterable[bytes] = ()
    gone: Iterable[str] = ()
    bundles: Iterable[bytes] = ()
    bundles_gone: Iterable[str] = ()
    reset: bool = False
    more: bool = False
    compare: bool = False
    number: int = 0
    state: State | None = None


@dataclass(frozen=True, slots=True)
class Pace:
    """What every message says of time.

    Args:
        server_time_ms: Unix milliseconds.
        silence_ms: Within how much time the next message comes.
        spread_ms: Over how much time the agents of this server are to spread when they lose it.
    """

    server_time_ms: int
    silence_ms: int
    spread_ms: int


def item(mark: bytes, entry: bytes) -> bytes:
    """An entry for a page.

    Args:
        mark: Of the whole entry, 16 bytes.
        entry: As agents are told of it, encoded.
    """
    return b"".join((_MARK, mark, head(_ENTRY, len(entry)), entry))


def encoded(page: Page, pace: Pace) -> bytes:
    """A page as a SubscribeResponse."""
    parts: list[bytes] = []
    for tag, pieces in ((_ENTRIES, page.items), (_BUNDLES, page.bundles)):
        for piece in pieces:
            parts += (head(tag, len(piece)), piece)
    rest = push_pb.SubscribeResponse(
        number=page.number,
        reset=page.reset,
        gone=page.gone,
        bundles_gone=page.bundles_gone,
        more=page.more,
        compare=page.compare,
        state=None if page.state is None else state_message(page.state),
        server_time_ms=pace.server_time_ms,
        silence_ms=pace.silence_ms,
        spread_ms=pace.spread_ms,
    )
    parts.append(rest.SerializeToString())
    return b"".join(parts)


SUBSCRIBE: Final = cast(
    "Method[Said, bytes]",
    replace(push_pb.Push.Subscribe, decode_request=read_request, encode_reply=bytes),  # type: ignore[arg-type]
)
"""`Push.Subscribe` with what agents say as values, and with answers that are encoded already."""


def _refused(message: str) -> RpcError:
    return RpcError(StatusCode.INVALID_ARGUMENT, message)
