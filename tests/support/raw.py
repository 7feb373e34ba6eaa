"""A client made of single HTTP/2 frames, to do what a library will not."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
from collections.abc import AsyncIterator

import hpack
from hyperframe import frame as f

from support.rpc import HANG, Pair

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
GREETING = PREFACE + f.SettingsFrame(0).serialize()


def compressed(message: bytes) -> bytes:
    """One gRPC message, compressed by gzip."""
    data = gzip.compress(message, mtime=0)
    return b"\x01" + len(data).to_bytes(4, "big") + data


class Raw:
    """A client made of single frames."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()

    def send(self, *frames: f.Frame) -> None:
        for each in frames:
            self.writer.write(each.serialize())

    def headers(
        self,
        stream_id: int,
        path: str = HANG.path,
        changes: dict[str, str] | None = None,
        *,
        end: bool = False,
    ) -> f.Frame:
        fields = {
            ":method": "POST", ":scheme": "http", ":path": path, ":authority": "x", "te": "trailers",
            "content-type": "application/grpc",
        } | (changes or {})  # fmt: skip
        block = self.encoder.encode([(name, str(value)) for name, value in fields.items() if value])
        return f.HeadersFrame(stream_id, block, flags=["END_HEADERS", *(["END_STREAM"] if end else [])])

    async def frame(self, wanted: type[f.Frame]) -> f.Frame:
        """The next frame of a type, or what ends the connection."""
        while True:
            head = await self.reader.readexactly(9)
            got, length = f.Frame.parse_frame_header(memoryview(head))
            got.parse_body(memoryview(await self.reader.readexactly(length)))
            if isinstance(got, wanted):
                return got

    async def status(self) -> dict[str, str]:
        """The fields of the next header block."""
        got = await self.frame(f.HeadersFrame)
        assert isinstance(got, f.HeadersFrame)
        return {str(name): str(value) for name, value in self.decoder.decode(got.data)}

    async def ended(self) -> f.GoAwayFrame | None:
        """Read to the end; the last GOAWAY on the way."""
        goaway = None
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                got = await self.frame(f.GoAwayFrame)
                assert isinstance(got, f.GoAwayFrame)
                goaway = got
        return goaway


@contextlib.asynccontextmanager
async def raw(
    it: Pair, *, preface: bool = True, settings: dict[int, int] | None = None
) -> AsyncIterator[Raw]:
    reader, writer = await asyncio.open_unix_connection(it.address.path)
    client = Raw(reader, writer)
    if preface:
        writer.write(PREFACE)
        client.send(f.SettingsFrame(0, settings or {}))
    try:
        yield client
    finally:
        writer.close()
