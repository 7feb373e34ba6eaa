"""The reader of gRPC messages: however the bytes are cut, the same messages or the same refusal come out."""

from __future__ import annotations

import gzip
import random  # noqa: TID251 - seeded

from finial.rpc.framing import Message, MessageReader, Packed, frame
from finial.rpc.status import RpcError
from fuzz.target import Target

_MOST = 4096


def _read(data: bytes, cuts: list[int], *, compressed: bool) -> tuple[list[Message], str]:
    reader = MessageReader(_MOST, gzip=compressed)
    messages: list[Message] = []
    try:
        for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            messages += reader.feed(data[start:end])
            assert reader.pending <= _MOST + 5
    except RpcError as refused:
        return messages, refused.message
    return messages, ""


def _bounded(message: Message) -> bool:
    """Whether no more than the limit comes out of a message that was kept as it came."""
    try:
        return not isinstance(message, Packed) or len(message.unpack()) <= _MOST
    except RpcError:
        return True


def check(data: bytes) -> None:
    half = len(data) // 2
    for compressed in (False, True):
        whole, why = _read(data, [], compressed=compressed)
        parts, again = _read(data, [1, half, half] if half else [], compressed=compressed)
        assert why == again
        assert all(len(message) <= _MOST and _bounded(message) for message in whole)
        # A refusal ends the call, so messages read before it in the same piece are of no use.
        assert parts[: len(whole)] == whole
        if not why:
            assert parts == whole


def _compressed(message: bytes) -> bytes:
    data = gzip.compress(message, mtime=0)
    return b"\x01" + len(data).to_bytes(4, "big") + data


def corpus() -> list[bytes]:
    return [
        frame(b"hello"),
        frame(b"") * 20,
        frame(bytes(_MOST)) + frame(b"x"),
        _compressed(b"hello " * 100),
        _compressed(bytes(100_000)),
        frame(b"a") + _compressed(b"b"),
    ]


def generate(source: random.Random) -> bytes:
    pieces = []
    for _ in range(source.randint(1, 6)):
        body = source.randbytes(source.choice((0, 1, 5, 100, _MOST, _MOST + 1)))
        piece = _compressed(body) if source.random() < 0.3 else frame(body)
        if source.random() < 0.2:
            piece = bytes([source.randrange(256)]) + piece[1:]
        pieces.append(piece)
    return b"".join(pieces)


_PARSER = ("finial.rpc.framing",)
TARGET = Target("messages", corpus, check, generate, modules=_PARSER, omits=("frame",))
