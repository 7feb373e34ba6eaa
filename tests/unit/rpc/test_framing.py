from __future__ import annotations

import gzip

import pytest

from finial.rpc.framing import Message, MessageReader, Packed, frame, inflate
from finial.rpc.status import RpcError, StatusCode


def compressed(message: bytes) -> bytes:
    data = gzip.compress(message)
    return b"\x01" + len(data).to_bytes(4, "big") + data


def test_a_frame_is_a_flag_a_length_and_the_message() -> None:
    assert frame(b"abc") == b"\x00\x00\x00\x00\x03abc"


def test_messages_come_back_however_they_were_cut() -> None:
    messages = [b"", b"a", b"b" * 300, b"c" * 70_000]
    data = b"".join(frame(message) for message in messages)
    for size in (1, 2, 5, 6, 1000, len(data)):
        reader = MessageReader(100_000, gzip=False)
        got: list[Message] = []
        for at in range(0, len(data), size):
            got += reader.feed(data[at : at + size])
        assert got == messages
        assert reader.pending == 0


def test_an_unfinished_message_is_counted() -> None:
    reader = MessageReader(100, gzip=False)
    assert reader.feed(frame(b"abcdef")[:-1]) == []
    assert reader.pending == 10


def test_too_long_a_message_is_refused_on_its_prefix() -> None:
    reader = MessageReader(10, gzip=False)
    with pytest.raises(RpcError, match="message of 11 bytes exceeds the limit of 10 bytes") as refused:
        reader.feed(b"\x00\x00\x00\x00\x0b")
    assert refused.value.code is StatusCode.RESOURCE_EXHAUSTED


def test_the_longest_message_is_accepted() -> None:
    assert MessageReader(10, gzip=False).feed(frame(b"x" * 10)) == [b"x" * 10]


def test_gzip_is_read_where_it_was_announced() -> None:
    (message,) = MessageReader(100_000, gzip=True).feed(compressed(b"x" * 90_000))
    assert isinstance(message, Packed)
    assert len(message) < 1_000  # and it stays so until it is wanted
    assert message.unpack() == b"x" * 90_000
    with pytest.raises(RpcError, match="without grpc-encoding"):
        MessageReader(100, gzip=False).feed(compressed(b"x"))


def test_an_unknown_flag_is_refused() -> None:
    with pytest.raises(RpcError, match="unknown message flag 2"):
        MessageReader(100, gzip=True).feed(b"\x02\x00\x00\x00\x00")


def test_a_gzip_bomb_is_stopped_at_the_limit() -> None:
    with pytest.raises(RpcError, match="exceeds the limit of 1000 bytes") as refused:
        inflate(gzip.compress(bytes(10_000_000)), 1000)
    assert refused.value.code is StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    "data", [b"", b"no gzip", gzip.compress(b"x")[:-1], gzip.compress(b"x") + b"y", gzip.compress(b"x") * 2]
)
def test_what_is_not_one_gzip_member_is_refused(data: bytes) -> None:
    with pytest.raises(RpcError, match="gzip") as refused:
        inflate(data, 1000)
    assert refused.value.code is StatusCode.INTERNAL
