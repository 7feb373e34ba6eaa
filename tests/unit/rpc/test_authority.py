"""Clients that call our socket by its path, as grpc-java does, are served like others."""

from __future__ import annotations

import random  # noqa: TID251 - seeded

import hpack
import pytest
from hyperframe import frame as f

from finial.rpc.authority import AuthorityFilter, changed_block
from finial.rpc.framing import frame
from support.raw import GREETING, Raw, raw
from support.rpc import ECHO, ENGINES, pair, run

PATH = "/tmp/agent/agent.sock"
_PADDED, _PRIORITY = 0x8, 0x20


def block(authority: str = PATH, *, huffman: bool = False, encoder: hpack.Encoder | None = None) -> bytes:
    fields = [(":method", "POST"), (":authority", authority), (":path", "/a/b"), ("x-own", "/x/y")]
    return (encoder or hpack.Encoder()).encode(fields, huffman=huffman)


def read(data: bytes, decoder: hpack.Decoder | None = None) -> dict[str, str]:
    return {str(name): str(value) for name, value in (decoder or hpack.Decoder()).decode(data)}


def headers(stream_id: int, data: bytes, *flags: str, **more: int) -> bytes:
    made: bytes = f.HeadersFrame(stream_id, data, flags=["END_HEADERS", *flags], **more).serialize()
    return made


@pytest.mark.parametrize("huffman", [False, True])
def test_slashes_of_the_authority_become_dots_and_nothing_else_changes(huffman: bool) -> None:
    before = block(huffman=huffman)
    after = changed_block(before, 0)
    assert len(after) == len(before)
    assert read(after) == {**read(before), ":authority": ".tmp.agent.agent.sock"}


def test_an_authority_without_a_slash_stays() -> None:
    assert changed_block(block("localhost"), 0) == block("localhost")


def test_priority_and_padding_are_passed() -> None:
    body = block()
    framed = bytes([7]) + bytes(5) + body + bytes(7)
    assert changed_block(framed, _PADDED | _PRIORITY) == bytes([7]) + bytes(5) + changed_block(
        body, 0
    ) + bytes(7)


def test_fields_of_every_form_are_passed() -> None:
    # A size of the table, an indexed field, one that is named in full, one that is never indexed.
    parts = [
        b"\x3f\xe1\x1f",
        b"\x83",
        b"\x40\x05x-own\x02/a",
        b"\x1f\x01\x02/b",
        b"\x41\x02/c",
        b"\x01\x02/d",
    ]
    assert changed_block(b"".join(parts), 0) == b"".join(parts).replace(b"/c", b".c").replace(b"/d", b".d")


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        block()[:-1],
        b"\x41",
        b"\x41\x7f",
        b"\x7f" + b"\xff" * 100,
        b"\x41\xff" + b"\xff" * 100,
        b"\x41\x84\xff\xff\xff\xff",
        b"\x40\x7f/",
    ],
)
@pytest.mark.parametrize("flags", [0, _PADDED, _PADDED | _PRIORITY])
def test_what_cannot_be_read_is_left_to_the_engine(broken: bytes, flags: int) -> None:
    assert changed_block(broken, flags) == broken


def test_nothing_is_looked_at_after_a_first_request_that_needs_no_change() -> None:
    filtered = AuthorityFilter()
    first = GREETING + headers(1, block("localhost"))
    assert filtered.feed(first) == first
    assert filtered.done


@pytest.mark.parametrize("size", [1, 2, 7, 10_000])
def test_bytes_may_be_cut_anywhere(size: int) -> None:
    encoder, decoder = hpack.Encoder(), hpack.Decoder()
    data = f.DataFrame(1, b"/" * 300).serialize()
    stream = GREETING + f.PingFrame(0, b"////////").serialize()
    expected = stream
    for number in (1, 3):
        made = block(f"/a/{number}", encoder=encoder)
        stream += headers(number, made) + data
        expected += headers(number, changed_block(made, 0)) + data
    filtered = AuthorityFilter()
    out = b"".join(filtered.feed(stream[at : at + size]) for at in range(0, len(stream), size))
    assert out == expected
    assert not filtered.done
    start = out.index(headers(1, changed_block(block("/a/1"), 0))[9:20])
    assert read(changed_block(block("/a/1"), 0), decoder)[":authority"] == ".a.1"
    assert start > 0


def test_frames_that_are_too_large_are_left_to_the_engine() -> None:
    filtered = AuthorityFilter()
    large = (1 << 20).to_bytes(3, "big") + b"\x01\x04" + (1).to_bytes(4, "big") + bytes(20_000)
    assert filtered.feed(GREETING + large) == GREETING + large


def test_garbage_passes_whole_and_bounded() -> None:
    for seed in range(200):
        source = random.Random(seed)
        stream = GREETING + b"".join(
            headers(1, source.randbytes(source.randint(0, 60))) for _ in range(source.randint(1, 5))
        )
        filtered = AuthorityFilter()
        out = b"".join(filtered.feed(stream[at : at + 11]) for at in range(0, len(stream), 11))
        assert len(out) == len(stream)


@pytest.mark.parametrize("huffman", [False, True])
@pytest.mark.parametrize("engine", ENGINES)
def test_a_client_that_says_the_path_is_served(engine: str, huffman: bool) -> None:
    async def call(client: Raw, stream_id: int) -> None:
        fields = [
            (":authority", PATH), (":path", ECHO.path), (":method", "POST"), (":scheme", "http"),
            ("content-type", "application/grpc"), ("te", "trailers"),
        ]  # fmt: skip
        made = client.encoder.encode(fields, huffman=huffman)
        client.send(
            f.HeadersFrame(stream_id, made, flags=["END_HEADERS"]),
            f.DataFrame(stream_id, frame(b"hello"), flags=["END_STREAM"]),
        )
        assert (await client.status())[":status"] == "200"
        assert (await client.status())["grpc-status"] == "0"

    async def main() -> None:
        async with pair(engine) as it, raw(it) as client:
            for stream_id in (1, 3, 5):
                await call(client, stream_id)

    run(main())
