"""Servers that answer in unusual or broken ways, frame by frame: what our client makes of it."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import hpack
import pytest
from hyperframe import frame as f

from finial.rpc import Channel, Limits, RpcError, StatusCode, Unix
from finial.rpc.errorcode import ErrorCode
from finial.rpc.framing import frame
from support.rpc import CHAT, ECHO, ENGINES, eventually, run, socket_path

pytestmark = pytest.mark.parametrize("engine", ENGINES)

OK = {":status": "200", "content-type": "application/grpc"}
Script = Callable[["Peer", int], Iterable[f.Frame]]


class Peer:
    """A server that answers each request's headers with the frames of a script."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.encoder = hpack.Encoder()
        self.connections = 0
        self.received: list[f.Frame] = []
        self.writer: asyncio.StreamWriter | None = None

    def headers(self, stream_id: int, fields: dict[str, str], *, end: bool = False) -> f.Frame:
        flags = ["END_HEADERS", *(["END_STREAM"] if end else [])]
        return f.HeadersFrame(stream_id, self.encoder.encode(list(fields.items())), flags=flags)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writer = writer
        self.encoder = hpack.Encoder()
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readexactly(24)
            writer.write(f.SettingsFrame(0).serialize())
            while True:
                got, length = f.Frame.parse_frame_header(memoryview(await reader.readexactly(9)))
                got.parse_body(memoryview(await reader.readexactly(length)))
                self.received.append(got)
                if isinstance(got, f.HeadersFrame):
                    for each in self.script(self, got.stream_id):
                        writer.write(each.serialize())
        writer.close()


def against(engine: str, script: Script, use: Callable[[Channel, Peer], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        peer = Peer(script)
        address = socket_path()
        server = await asyncio.start_unix_server(peer.serve, address.path)
        async with Channel(address, engine=engine) as channel:
            await use(channel, peer)
        server.close()
        Path(address.path).unlink()

    run(main())


async def _silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


def body(stream_id: int, message: bytes = b"reply") -> f.Frame:
    return f.DataFrame(stream_id, frame(message))


def expect_failure(engine: str, script: Script, code: StatusCode, text: str) -> None:
    """A unary call against this script ends with this error."""

    async def use(channel: Channel, peer: Peer) -> None:
        with pytest.raises(RpcError, match=text) as failed:
            await channel.unary(ECHO, b"x")
        assert failed.value.code is code

    against(engine, script, use)


def test_a_reset_without_error_after_the_trailers_is_a_proper_end(engine: str) -> None:
    """grpc-go ends a bidi call so, when its handler returns before the client has half-closed."""

    def script(peer: Peer, stream: int) -> Iterable[f.Frame]:
        yield peer.headers(stream, OK)
        yield body(stream)
        yield peer.headers(stream, {"grpc-status": "0"}, end=True)
        yield f.RstStreamFrame(stream, ErrorCode.NO_ERROR)

    async def use(channel: Channel, peer: Peer) -> None:
        for _ in range(3):
            async with channel.call(CHAT) as call:
                await call.send(b"x")
                await eventually(lambda: call.trailing_metadata is not None)
                assert await call.receive() == b"reply"
                assert await call.receive() is None

    against(engine, script, use)


def test_trailers_alone_carry_the_error(engine: str) -> None:
    def script(peer: Peer, stream: int) -> Iterable[f.Frame]:
        yield peer.headers(stream, OK | {"grpc-status": "5", "grpc-message": "no%20such"}, end=True)

    expect_failure(engine, script, StatusCode.NOT_FOUND, "no such")


@pytest.mark.parametrize(
    ("told", "heard"),
    [
        ("1500", timedelta(seconds=1.5)),
        ("0", timedelta(0)),
        ("-1", None),
        ("soon", None),
        ("9" * 10, None),
        ("", None),
    ],
)
def test_a_server_may_ask_for_a_pause(engine: str, told: str, heard: timedelta | None) -> None:
    def script(peer: Peer, stream: int) -> Iterable[f.Frame]:
        fields = {"grpc-status": "8", "grpc-retry-pushback-ms": told}
        yield peer.headers(stream, OK | fields, end=True)

    async def use(channel: Channel, peer: Peer) -> None:
        with pytest.raises(RpcError) as failed:
            await channel.unary(ECHO, b"x")
        assert failed.value.retry_after == heard

    against(engine, script, use)


def test_unreadable_details_do_not_hide_the_status(engine: str) -> None:
    def script(peer: Peer, stream: int) -> Iterable[f.Frame]:
        fields = {"grpc-status": "7", "grpc-message": "no", "grpc-status-details-bin": "!", "x-bin": "!"}
        yield peer.headers(stream, OK | fields, end=True)

    expect_failure(engine, script, StatusCode.PERMISSION_DENIED, "no")


@pytest.mark.parametrize("status", ["", "ok", "1234", "-1"])
def test_an_unreadable_status(engine: str, status: str) -> None:
    def script(peer: Peer, stream: int) -> Iterable[f.Frame]:
        yield peer.headers(stream, OK)
        yield peer.headers(stream, {"grpc-status": status}, end=True)

    expect_failure(engine, script, StatusCode.UNKNOWN, "no readable grpc-status")


def test_no_status_at_all(engine: str) -> None:
    def ends_with_data(peer: Peer, stream: int) -> Iterable[f.Frame]:
        yield peer.headers(stream, OK)
        yield f.DataFrame(stream, frame(b"x"), flags=["END_STREAM"])

    def ends_with_headers(peer: Peer, stream: int) -> Iterable[f.Frame]:
        yield peer.headers(stream, OK, end=True)

    for script in (ends_with_data, ends_with_headers):
        expect_failure(engine, script, StatusCode.INTERNAL, "without a status")


@pytest.mark.parametrize(
    ("fields", "code", "text"),
    [
        ({":status": "503"}, StatusCode.UNAVAILABLE, "HTTP status 503"),
        ({":status": "404", "content-type": "text/html"}, StatusCode.UNIMPLEMENTED, "HTTP status 404"),
        ({":status": "200", "content-type": "text/html"}, StatusCode.UNKNOWN, "content-type 'text/html'"),
        (OK | {"grpc-encoding": "br"}, StatusCode.INTERNAL, "compressed with 'br'"),
    ],
)
def test_what_is_not_grpc(engine: str, fields: dict[str, str], code: StatusCode, text: str) -> None:
    def script(peer: Peer, stream: int) -> Iterable[f.Frame]:
        yield peer.headers(stream, fields)
        yield body(stream)
        yield peer.headers(stream, {"grpc-status": "0"}, end=True)

    expect_failure(engine, script, code, text)


@pytest.mark.parametrize(
    ("error", "code"),
    [(ErrorCode.CANCEL, StatusCode.CANCELLED), (ErrorCode.ENHANCE_YOUR_CALM, StatusCode.RESOURCE_EXHAUSTED)],
)
def test_resets_become_codes(engine: str, error: ErrorCode, code: StatusCode) -> None:
    def script(peer: Peer, stream: int) -> Iterable[f.Frame]:
        yield f.RstStreamFrame(stream, error)

    expect_failure(engine, script, code, "the server reset the call")


@pytest.mark.parametrize("count", [0, 2])
def test_a_unary_call_wants_one_reply(engine: str, count: int) -> None:
    def script(peer: Peer, stream: int) -> Iterable[f.Frame]:
        yield peer.headers(stream, OK)
        for _ in range(count):
            yield body(stream)
        yield peer.headers(stream, {"grpc-status": "0"}, end=True)

    expect_failure(engine, script, StatusCode.INTERNAL, "no reply" if count == 0 else "more than one reply")


def test_replies_that_cannot_be_read(engine: str) -> None:
    def script(peer: Peer, stream: int) -> Iterable[f.Frame]:
        yield peer.headers(stream, OK)
        yield f.DataFrame(stream, b"\x07\x00\x00\x00\x00")
        yield peer.headers(stream, {"grpc-status": "0"}, end=True)

    expect_failure(engine, script, StatusCode.INTERNAL, "unknown message flag 7")


def test_a_compressed_reply(engine: str) -> None:
    def script(peer: Peer, stream: int) -> Iterable[f.Frame]:
        data = gzip.compress(b"long " * 1000)
        yield peer.headers(stream, OK | {"grpc-encoding": "gzip"})
        yield f.DataFrame(stream, b"\x01" + len(data).to_bytes(4, "big") + data)
        yield peer.headers(stream, {"grpc-status": "0"}, end=True)

    async def use(channel: Channel, peer: Peer) -> None:
        assert await channel.unary(ECHO, b"x") == b"long " * 1000

    against(engine, script, use)


def test_a_refused_call_is_sent_once_more(engine: str) -> None:
    def script(peer: Peer, stream: int) -> Iterable[f.Frame]:
        if stream == 1:
            yield f.RstStreamFrame(stream, ErrorCode.REFUSED_STREAM)
            return
        yield peer.headers(stream, OK)
        yield body(stream)
        yield peer.headers(stream, {"grpc-status": "0"}, end=True)

    async def use(channel: Channel, peer: Peer) -> None:
        assert await channel.unary(ECHO, b"x") == b"reply"
        assert peer.connections == 1

    against(engine, script, use)


def test_a_call_behind_the_last_one_served_moves_to_a_new_connection(engine: str) -> None:
    def script(peer: Peer, stream: int) -> Iterable[f.Frame]:
        if peer.connections == 1:
            yield f.GoAwayFrame(0, last_stream_id=0, error_code=ErrorCode.NO_ERROR)
            return
        yield peer.headers(stream, OK)
        yield body(stream)
        yield peer.headers(stream, {"grpc-status": "0"}, end=True)

    async def use(channel: Channel, peer: Peer) -> None:
        assert await channel.unary(ECHO, b"x") == b"reply"
        assert peer.connections == 2

    against(engine, script, use)


def test_a_goaway_in_the_middle_lets_the_call_finish(engine: str) -> None:
    def script(peer: Peer, stream: int) -> Iterable[f.Frame]:
        yield peer.headers(stream, OK)
        yield f.GoAwayFrame(0, last_stream_id=2**31 - 1, error_code=ErrorCode.NO_ERROR)
        yield f.GoAwayFrame(0, last_stream_id=stream, error_code=ErrorCode.NO_ERROR)
        yield body(stream)
        yield peer.headers(stream, {"grpc-status": "0"}, end=True)

    async def use(channel: Channel, peer: Peer) -> None:
        for number in range(1, 5):
            assert await channel.unary(ECHO, b"x") == b"reply"
            assert peer.connections == number

    against(engine, script, use)


def test_a_server_that_sends_everyone_away_is_not_there(engine: str) -> None:
    async def main() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(f.SettingsFrame(0).serialize())
            writer.write(f.GoAwayFrame(0, last_stream_id=0, error_code=0).serialize())
            await reader.read()
            writer.close()

        address = socket_path()
        server = await asyncio.start_unix_server(serve, address.path)
        async with Channel(address, engine=engine) as channel:
            with pytest.raises(RpcError, match="the server is going away"):
                await channel.unary(ECHO, b"x")
        server.close()

    run(main())


def test_a_server_that_says_nothing_costs_only_the_deadline(engine: str) -> None:
    async def main() -> None:
        server = await asyncio.start_unix_server(_silent, (address := socket_path()).path)
        async with Channel(address, engine=engine) as channel:
            with pytest.raises(RpcError, match="the deadline passed while connecting") as failed:
                await channel.unary(ECHO, b"x", timeout=timedelta(milliseconds=30))
            assert failed.value.code is StatusCode.DEADLINE_EXCEEDED
        server.close()

    run(main())


def test_a_server_that_never_finishes_its_handshake(engine: str) -> None:
    async def main() -> None:
        server = await asyncio.start_unix_server(_silent, (address := socket_path()).path)
        limits = Limits(handshake_timeout=timedelta(milliseconds=30))
        async with Channel(address, engine=engine, limits=limits) as channel:
            with pytest.raises(RpcError, match="the handshake took too long"):
                await channel.unary(ECHO, b"x")
        server.close()

    run(main())


def test_a_server_that_is_no_http2_server(engine: str) -> None:
    async def main() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(100))
            await reader.read()
            writer.close()

        address = socket_path()
        server = await asyncio.start_unix_server(serve, address.path)
        async with Channel(address, engine=engine) as channel:
            with pytest.raises(RpcError, match="cannot connect") as failed:
                await channel.unary(ECHO, b"x")
            assert failed.value.code is StatusCode.UNAVAILABLE
        server.close()

    run(main())


def test_the_handshake_may_outlive_the_one_who_asked_for_it(engine: str) -> None:
    async def main() -> None:
        server = await asyncio.start_unix_server(_silent, (address := socket_path()).path)
        channel = Channel(Unix(address.path), engine=engine)
        with pytest.raises(RpcError):
            await channel.unary(ECHO, b"x", timeout=timedelta(milliseconds=10))
        await channel.close()
        server.close()

    run(main())


def test_a_server_that_watches_the_deadline_more_closely_than_we(engine: str) -> None:
    """grpc-go resets with CANCEL then; the caller asked for a deadline and did not cancel."""

    def script(peer: Peer, stream: int) -> Iterable[f.Frame]:
        yield f.RstStreamFrame(stream, ErrorCode.CANCEL)

    async def use(channel: Channel, peer: Peer) -> None:
        await channel.connect()
        for seconds, code in ((0.01, StatusCode.DEADLINE_EXCEEDED), (10, StatusCode.CANCELLED)):
            with pytest.raises(RpcError) as failed:
                await channel.unary(ECHO, b"x", timeout=timedelta(seconds=seconds))
            assert failed.value.code is code

    against(engine, script, use)


def test_a_ping_for_each_call_is_no_flood(engine: str) -> None:
    # SPIRE's servers measure the link whenever something comes.
    def script(peer: Peer, stream: int) -> Iterable[f.Frame]:
        yield f.PingFrame(0, b"measured")
        yield peer.headers(stream, OK)
        yield f.DataFrame(stream, frame(b"x"))
        yield peer.headers(stream, {"grpc-status": "0"}, end=True)

    async def use(channel: Channel, peer: Peer) -> None:
        for _ in range(Limits().control_frames.burst + 600):
            assert await channel.unary(ECHO, b"x") == b"x"
        assert peer.connections == 1

    against(engine, script, use)
