"""Peers that do not take what is sent to them; time passes where a test has the server look."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

import pytest
from hyperframe import frame as f

from finial.rpc import LOCAL, Limits, MethodKind, Rate, StatusCode, server_stream
from finial.rpc.errorcode import ErrorCode
from finial.rpc.framing import frame
from finial.rpc.server import ServerConnection
from support.raw import Raw, raw
from support.rpc import CHAT, COUNT, ECHO, ENGINES, Call, Pair, eventually, method, pair, run

pytestmark = pytest.mark.parametrize("engine", ENGINES)

WATCHED = replace(LOCAL, send_timeout=timedelta(hours=1))
_WINDOW, _FIRST = 0x4, 65_535  # the setting, and what it is when nobody sets it


async def serving(it: Pair, streams: int) -> ServerConnection:
    """The server's half of the one connection that has so many calls."""
    await eventually(lambda: any(len(c.streams) == streams for c in it.server._connections))
    return next(c for c in it.server._connections if len(c.streams) == streams)


def ask(client: Raw, requests: Iterable[bytes], path: str = ECHO.path) -> None:
    for number, request in enumerate(requests):
        stream_id = 2 * number + 1
        body = f.DataFrame(stream_id, frame(request), flags=["END_STREAM"])
        client.send(client.headers(stream_id, path), body)


async def until_answered(client: Raw) -> None:
    """Let the connection move, by a PING."""
    client.send(f.PingFrame(0, b"12345678"))
    await client.frame(f.PingFrame)


def open_window(client: Raw, stream_id: int, size: int) -> None:
    client.send(f.WindowUpdateFrame(0, size), f.WindowUpdateFrame(stream_id, size))


def test_a_connection_on_which_nothing_moves_is_ended(engine: str) -> None:
    async def main() -> None:
        async with pair(engine, limits=WATCHED) as it, raw(it, settings={_WINDOW: 0}) as client:
            ask(client, [b"9:100000"], COUNT.path)
            connection = await serving(it, 1)
            await eventually(lambda: bool(connection.senders))
            connection._stalls.look()
            await client.frame(f.HeadersFrame)
            assert connection._stalls._timer is not None
            connection._stalls.look()
            goaway = await client.ended()
            assert goaway is not None
            assert goaway.error_code == ErrorCode.ENHANCE_YOUR_CALM
            assert goaway.additional_data == b"nothing that is sent is taken"
            await eventually(lambda: not it.server._tasks)

    run(main())


def test_a_call_that_does_not_move_is_ended_where_others_do(engine: str) -> None:
    async def main() -> None:
        cancelled = asyncio.Event()

        async def tell(request: bytes, call: Call) -> None:
            try:
                await call.send(bytes(200_000))
            except asyncio.CancelledError:
                assert call.failure is not None
                assert call.failure.code is StatusCode.UNAVAILABLE
                cancelled.set()
                raise

        sending = method("Sending", MethodKind.SERVER_STREAM)
        routes = [server_stream(sending, tell)]
        async with pair(engine, limits=WATCHED, routes=routes) as it, raw(it) as client:
            ask(client, [b"x"], sending.path)
            connection = await serving(it, 1)
            await eventually(lambda: bool(connection.senders))
            connection._stalls.look()
            await until_answered(client)
            connection._stalls.look()
            reset = await client.frame(f.RstStreamFrame)
            assert isinstance(reset, f.RstStreamFrame)
            assert reset.error_code == ErrorCode.ENHANCE_YOUR_CALM
            await cancelled.wait()
            assert not connection.streams
            client.send(f.WindowUpdateFrame(0, _FIRST), client.headers(3, ECHO.path))
            client.send(f.DataFrame(3, frame(b"alive"), flags=["END_STREAM"]))
            body = await client.frame(f.DataFrame)
            assert isinstance(body, f.DataFrame)
            assert body.data == frame(b"alive")

    run(main())


def test_answers_that_nobody_takes_are_not_kept(engine: str) -> None:
    """No handler waits for these: they have returned."""

    async def main() -> None:
        async with pair(engine, limits=WATCHED) as it, raw(it, settings={_WINDOW: 1}) as client:
            ask(client, [b"size:1000000", b"size:10"])
            connection = await serving(it, 2)
            connection._stalls.look()
            open_window(client, 3, 14)
            await client.frame(f.DataFrame)
            await until_answered(client)
            await serving(it, 1)  # the small one has gone out
            connection._stalls.look()
            reset = await client.frame(f.RstStreamFrame)
            assert isinstance(reset, f.RstStreamFrame)
            assert reset.stream_id == 1
            assert connection.engine.queued(1) == 0
            assert not connection.closed
            connection._stalls.look()
            assert connection._stalls._timer is None  # nothing is left to look at

    run(main())


def test_who_takes_enough_is_let_be_and_who_takes_drops_is_not(engine: str) -> None:
    async def main() -> None:
        async with pair(engine, limits=WATCHED) as it, raw(it) as client:
            ask(client, [b"size:300000"])
            connection = await serving(it, 1)
            connection._stalls.look()
            for _ in range(2):
                open_window(client, 1, WATCHED.send_high_water_bytes)
                await until_answered(client)
                connection._stalls.look()
                assert connection.streams
            open_window(client, 1, 10)
            await until_answered(client)
            connection._stalls.look()
            await client.frame(f.RstStreamFrame)
            assert not connection.streams

    run(main())


def test_a_slow_line_is_no_stall_and_a_dead_one_is(engine: str) -> None:
    async def main() -> None:
        wide = {_WINDOW: 2**31 - 1}
        async with pair(engine, limits=WATCHED) as it, raw(it, settings=wide) as client:
            client.send(f.WindowUpdateFrame(0, 2**30))
            ask(client, [b"size:4000000"] * 4)
            connection = await serving(it, 4)
            await eventually(lambda: connection.paused)
            connection._stalls.look()
            before = connection.written_bytes
            while connection.written_bytes - before < WATCHED.send_high_water_bytes or not connection.paused:
                await client.reader.read(1 << 16)
            connection._stalls.look()
            assert len(connection.streams) == 4
            await _until_still(connection)
            connection._stalls._written = connection.written_bytes
            connection._stalls.look()
            await eventually(lambda: connection not in it.server._connections)

    async def _until_still(connection: ServerConnection) -> None:
        seen = -1
        while seen != connection.written_bytes:
            seen = connection.written_bytes
            turn = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_later(0.01, turn.set_result, None)
            await turn

    run(main())


def test_stalled_calls_count_as_resets(engine: str) -> None:
    async def main() -> None:
        limits = replace(WATCHED, resets=Rate(2, 0.0))
        async with pair(engine, limits=limits) as it, raw(it, settings={_WINDOW: 0}) as client:
            ask(client, [b"x"] * 5)
            connection = await serving(it, 5)
            connection._stalls.look()
            await until_answered(client)
            connection._stalls.look()
            goaway = await client.ended()
            assert goaway is not None
            assert goaway.additional_data == b"too many streams reset"

    run(main())


def test_the_server_looks_by_itself(engine: str) -> None:
    async def main() -> None:
        limits = replace(LOCAL, send_timeout=timedelta(milliseconds=20))
        async with pair(engine, limits=limits) as it, raw(it, settings={_WINDOW: 0}) as client:
            ask(client, [b"x"])
            goaway = await client.ended()
            assert goaway is not None
            assert goaway.error_code == ErrorCode.ENHANCE_YOUR_CALM
            assert await it.channel.unary(ECHO, b"alive") == b"alive"

    run(main())


def test_a_local_reader_may_be_stopped_for_as_long_as_it_takes(engine: str) -> None:
    async def main() -> None:
        async with pair(engine) as it, it.channel.call(CHAT) as call:
            await call.send(b"x")
            assert await call.receive() == b"x"
            (connection,) = it.server._connections
            assert connection._stalls._timer is None
            assert Limits().send_timeout is not None

    run(main())
