"""Clients that break the rules: the connection or the call ends, everybody else goes on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import replace

import pytest
from hyperframe import frame as f

from finial.rpc import LOCAL, Limits, Rate
from finial.rpc.errorcode import ErrorCode
from finial.rpc.framing import frame
from support.raw import GREETING, PREFACE, raw
from support.rpc import CHAT, ECHO, ENGINES, HANG, Pair, eventually, pair, run

pytestmark = pytest.mark.parametrize("engine", ENGINES)

STRICT = replace(LOCAL, resets=Rate(20, 0.0), control_frames=Rate(20, 0.0))


async def still_serves(it: Pair) -> None:
    assert await it.channel.unary(ECHO, b"alive") == b"alive"


def test_rapid_reset_ends_the_connection(engine: str) -> None:
    async def main() -> None:
        async with pair(engine, limits=STRICT) as it, raw(it) as client:
            for stream_id in range(1, 201, 2):
                client.send(client.headers(stream_id), f.RstStreamFrame(stream_id, ErrorCode.CANCEL))
            goaway = await client.ended()
            assert goaway is not None
            assert goaway.error_code == ErrorCode.ENHANCE_YOUR_CALM
            await still_serves(it)
            await eventually(lambda: not it.server._tasks)

    run(main())


@pytest.mark.parametrize("kind", ["ping", "settings", "empty data"])
def test_control_floods_end_the_connection(engine: str, kind: str) -> None:
    async def main() -> None:
        async with pair(engine, limits=STRICT) as it, raw(it) as client:
            client.send(client.headers(1))
            flood = {
                "ping": f.PingFrame(0, b"12345678"),
                "settings": f.SettingsFrame(0),
                "empty data": f.DataFrame(1, b""),
            }
            for _ in range(100):
                client.send(flood[kind])
            goaway = await client.ended()
            assert goaway is not None
            assert goaway.error_code == ErrorCode.ENHANCE_YOUR_CALM
            await still_serves(it)

    run(main())


def test_a_continuation_flood_ends_the_connection(engine: str) -> None:
    async def main() -> None:
        async with pair(engine) as it, raw(it) as client:
            client.send(f.HeadersFrame(1, b""))
            for _ in range(1000):
                client.send(f.ContinuationFrame(1, b""))
            with contextlib.suppress(ConnectionError):
                await client.writer.drain()
            await client.ended()
            await still_serves(it)

    run(main())


def test_too_large_a_header_list_ends_the_connection(engine: str) -> None:
    async def main() -> None:
        async with pair(engine) as it, raw(it) as client:
            # One field in the dynamic table, named again and again: small on the wire, large in memory.
            block = client.encoder.encode([("x", "y" * 3000)]) + b"\xbe" * 5000
            client.send(f.HeadersFrame(1, block, flags=["END_HEADERS"]))
            assert await client.ended() is not None
            await still_serves(it)

    run(main())


@pytest.mark.parametrize(
    "junk",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        PREFACE + b"\x00\x00\x00\x00\x00\x00\x00\x00\x00",
        GREETING + b"\xff" * 100,
        GREETING + f.HeadersFrame(2, b"\x82", flags=["END_HEADERS"]).serialize(),
        GREETING + f.HeadersFrame(1, b"\xff" * 6, flags=["END_HEADERS"]).serialize(),
        PREFACE + f.SettingsFrame(0, {4: 2**32 - 1}).serialize(),
        GREETING + f.WindowUpdateFrame(0, 2**31 - 1).serialize(),
        GREETING + b"\x00\x00\x04\x07\x00\x00\x00\x00\x00abcd",
    ],
    ids=["http1", "settings", "junk", "even", "hpack", "window", "overflow", "goaway"],
)  # fmt: skip
def test_what_is_no_http2_ends_the_connection(engine: str, junk: bytes) -> None:
    async def main() -> None:
        async with pair(engine) as it, raw(it, preface=False) as client:
            client.writer.write(junk)
            await client.ended()
            await still_serves(it)

    run(main())


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({":method": "GET"}, {":status": "405"}),
        ({"content-type": "text/plain"}, {":status": "415"}),
        ({"content-type": ""}, {":status": "415"}),
        ({"grpc-encoding": "br"}, {"grpc-status": "12", "grpc-accept-encoding": "identity,gzip"}),
        ({"grpc-timeout": "soon"}, {"grpc-status": "13"}),
    ],
)
def test_requests_that_are_not_grpc_are_answered(
    engine: str, changes: dict[str, str], status: dict[str, str]
) -> None:
    async def main() -> None:
        async with pair(engine) as it, raw(it) as client:
            client.send(client.headers(1, changes=changes))
            answer = await client.status()
            assert status.items() <= answer.items()
            assert isinstance(await client.frame(f.RstStreamFrame), f.RstStreamFrame)
            client.send(client.headers(3, ECHO.path), f.DataFrame(3, frame(b"x"), flags=["END_STREAM"]))
            assert (await client.status())[":status"] == "200"

    run(main())


def test_the_end_of_a_stream_inside_a_message(engine: str) -> None:
    async def main() -> None:
        async with pair(engine) as it, raw(it) as client:
            client.send(
                client.headers(1, CHAT.path), f.DataFrame(1, frame(b"abc")[:-1], flags=["END_STREAM"])
            )
            assert (await client.status())["grpc-message"] == "the stream ended inside a message"
            client.send(client.headers(3, ECHO.path, end=True))
            assert (await client.status())["grpc-message"] == "this method takes exactly one message"
            await still_serves(it)

    run(main())


def test_a_malformed_binary_header_fails_only_its_call(engine: str) -> None:
    async def main() -> None:
        async with pair(engine) as it, raw(it) as client:
            message = f.DataFrame(1, frame(b"metadata"), flags=["END_STREAM"])
            client.send(client.headers(1, ECHO.path, {"some-bin": "!"}), message)
            answer = await client.status()
            assert answer["grpc-status"] == "3"

    run(main())


def test_unread_messages_are_bounded_by_flow_control(engine: str) -> None:
    """A handler that does not read gets no more than the windows let in."""

    async def main() -> None:
        async with pair(engine) as it, it.channel.call(HANG) as call:
            sending = asyncio.create_task(_send_for_ever(call))
            await it.service.started.wait()
            (connection,) = it.server._connections
            await eventually(lambda: connection.kept_bytes > 64 * 1024)
            for _ in range(50):
                await still_serves(it)
            assert connection.kept_bytes < 300 * 1024
            sending.cancel()

    async def _send_for_ever(call: object) -> None:
        while True:
            await call.send(bytes(10_000))  # type: ignore[attr-defined]

    run(main())


def test_unfinished_messages_are_bounded_over_all_streams(engine: str) -> None:
    async def main() -> None:
        limits = Limits(max_receive_bytes=50_000, max_buffered_bytes=100_000)
        async with pair(engine, limits=limits) as it, raw(it) as client:
            for stream_id in (1, 3, 5):
                client.send(client.headers(stream_id, ECHO.path))
                for piece in range(3):
                    body = frame(bytes(50_000))[piece * 15_000 : (piece + 1) * 15_000]
                    client.send(f.DataFrame(stream_id, body))
            answer = await client.status()
            assert answer["grpc-status"] == "8"
            assert "unread bytes" in answer["grpc-message"]
            await still_serves(it)

    run(main())


def test_a_client_that_reads_nothing_does_not_hold_up_the_others(engine: str) -> None:
    async def main() -> None:
        async with pair(engine) as it, raw(it) as client:
            for stream_id in range(1, 41, 2):
                body = frame(b"size:1000000")
                client.send(
                    client.headers(stream_id, ECHO.path), f.DataFrame(stream_id, body, flags=["END_STREAM"])
                )
            await client.writer.drain()
            for _ in range(20):
                await still_serves(it)

    run(main())


def test_a_preface_alone_is_waited_for_only_so_long(engine: str) -> None:
    async def main() -> None:
        limits = replace(LOCAL, handshake_timeout=LOCAL.drain_notice)
        async with pair(engine, limits=limits) as it, raw(it, preface=False) as client:
            goaway = await client.ended()
            assert goaway is not None
            assert goaway.error_code == ErrorCode.SETTINGS_TIMEOUT

    run(main())


def test_nothing_of_it_is_an_error_in_the_log(engine: str, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with pair(engine) as it, raw(it) as client:
            client.send(client.headers(1), f.DataFrame(1, b"\x07garbage"), f.DataFrame(1, b"more"))
            assert (await client.status())["grpc-status"] == "13"
            client.writer.transport.abort()
            await still_serves(it)

    with caplog.at_level(logging.WARNING):
        run(main())
    assert caplog.records == []
